"""Rounds of questions, whose answers change nothing of what is asked: answered at once, or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import numpy as np
from gymnasium import spaces

from ..base.errors import AUTHOR_ERRORS, MetarlError, told_at, user_code
from ..base.stopwatch import Stopwatch
from ..base.streams import Streams
from ..families.question_batch import Asked
from ..families.vector import BatchedEnv
from .actions import raise_at, read_actions, read_confidences
from .agent import AnsweringLearner, begin_learner
from .episodes import Episodes, select_tasks
from .teaching import Teaching, begin_teachers, join_outputs, require_told


def answer_round(
    envs: BatchedEnv,
    learner: AnsweringLearner,
    asked: Asked,
    stopwatch: Stopwatch,
    title: str,
    deterministic: bool,
    with_confidences: bool,
) -> Episodes:
    """Return a round whose questions are all answered at once."""
    lead, confidences = (len(asked.mask), *envs.shape), None
    observations = asked.observations.reshape(*lead, *asked.observations.shape[2:])
    with stopwatch.part("inference"):
        try:
            actions = _read(learner.answer(observations, deterministic=deterministic), envs, asked.mask)
            if with_confidences and learner.confidences is not None:
                confidences = read_confidences(learner.confidences, asked.mask.reshape(lead))
        except AUTHOR_ERRORS as error:
            raise_at(f"{title}, answers", error)
    bounds = envs.single_action_space
    clipped = actions.clip(bounds.low, bounds.high) if isinstance(bounds, spaces.Box) else actions
    with stopwatch.part("simulation"):
        rewards = envs.answer(clipped.reshape(len(asked.mask), -1, *envs.action_shape), asked)
    return replace(_asked_episodes(envs, asked, actions, rewards), confidences=confidences)


def _read(actions: object, envs: BatchedEnv, asked: np.ndarray) -> np.ndarray:
    """Return the answers to the questions that `asked` [question, ...] marks.

    Raises MetarlError unless they are an array with an answer to each question that the family takes.
    """
    if not isinstance(actions, np.ndarray):
        raise MetarlError(f"answer returned {type(actions).__name__}; it must return a NumPy array")
    if len(actions) != len(asked):
        raise MetarlError(f"answer returned shape {actions.shape} for {len(asked)} questions; give one for each")
    rows = zip(actions, asked, strict=True)
    return np.stack([read_actions(each, envs, mask.reshape(envs.shape)) for each, mask in rows])


def _asked_episodes(
    envs: BatchedEnv, asked: Asked, actions: np.ndarray | None = None, rewards: np.ndarray | None = None
) -> Episodes:
    """Return a round of questions as episodes. Without answers its actions and rewards are zero."""
    lead, action = (len(asked.mask), *envs.shape), envs.single_action_space
    mask = asked.mask.reshape(lead)
    last = mask & ~np.concatenate([mask[1:], np.zeros_like(mask[:1])])
    observations = asked.observations.reshape(*lead, *asked.observations.shape[2:])
    ends = np.argmax(last, axis=0)[None].reshape(1, *envs.shape, *(1,) * (observations.ndim - 3))
    return Episodes(
        observations=observations,
        actions=np.zeros((*lead, *envs.action_shape), action.dtype) if actions is None else actions,
        rewards=np.zeros(lead) if rewards is None else rewards.reshape(lead),
        terminations=last,
        truncations=np.zeros(lead, dtype=bool),
        mask=mask,
        final_observations=np.take_along_axis(observations, ends, axis=0)[0],
        successes=None,
        targets=asked.targets.reshape(*lead, *asked.targets.shape[2:]),
    )


def ask_rounds(envs: BatchedEnv, rounds: int, seed: int, stopwatch: Stopwatch) -> tuple[Episodes, ...] | None:
    """Return the rounds of a trial without answers; None where steps depend on the actions before them."""
    episodes = []
    with stopwatch.part("simulation"):
        for number in range(rounds):
            envs.restart(seed=None if number else seed)
            if (asked := envs.asked()) is None:
                return None
            episodes.append(_asked_episodes(envs, asked))
    return tuple(episodes)


def advised_rounds(
    teaching: Teaching, envs: BatchedEnv, rounds: Sequence[Episodes], seed: int, title: str
) -> tuple[Episodes, ...] | None:
    """Return rounds without answers, with what the teachers would answer; they adapt between the rounds.

    None where a teacher plays step by step: it must see what the student does.
    """
    with user_code(f"{title}, teacher, begin"):
        # All of them, as the tasks of one process or thread may be those of some.
        streams = Streams.of(seed, "teacher", envs.tasks.index[:1, None], np.arange(envs.replicas))
        if not all(
            isinstance(begin_learner(each, envs.tasks[:1], streams), AnsweringLearner) for each in teaching.teachers
        ):
            return None
        parts = begin_teachers(teaching.teachers, envs.tasks, seed, np.arange(envs.replicas))
    order = np.argsort(np.concatenate([rows for rows, _ in parts]))
    teachers = [(rows, cast(AnsweringLearner, learner)) for rows, learner in parts]
    advised = []
    for number, episodes in enumerate(rounds, start=1):
        answers, outputs = [], []
        for rows, teacher in teachers:
            own = select_tasks(episodes, rows)
            with told_at(f"{title}, round {number}, the teacher's answers"):
                answers.append(teacher.answer(own.observations, deterministic=teaching.learns != "sample"))
                told = teacher.outputs if teaching.learns == "distribution" else None
                outputs.append(require_told(told, own.mask))
            if number < len(rounds):
                shown = own if envs.family.reveal != "never" else replace(own, targets=None)
                with told_at(f"{title}, the teacher adapts to round {number}"):
                    teacher.adapt(shown)
        with told_at(f"{title}, round {number}, the teacher's answers"):
            actions = _read(np.concatenate(answers, axis=1)[:, order], envs, episodes.mask)
            joined = join_outputs(outputs, [(len(each), *each.shape[1:3]) for each in answers], axis=1)
        distributions = None if joined is None else joined[:, order]
        advised.append(replace(episodes, advised=actions, advised_outputs=distributions))
    return tuple(advised)
