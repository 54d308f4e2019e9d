"""Rounds of questions, whose answers change nothing of what is asked: answered at once, or not at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from gymnasium import spaces

from ..base.errors import AUTHOR_ERRORS, MetarlError
from ..base.stopwatch import Stopwatch
from ..families.question_batch import Asked
from ..families.vector import BatchedEnv
from .actions import raise_at, read_actions, read_confidences
from .agent import AnsweringLearner
from .episodes import Episodes


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
            actions = learner.answer(observations, deterministic=deterministic)
            rows = zip(_rows(actions, len(asked.mask)), asked.mask, strict=True)
            actions = np.stack([read_actions(each, envs, mask.reshape(envs.shape)) for each, mask in rows])
            if with_confidences and learner.confidences is not None:
                confidences = read_confidences(learner.confidences, asked.mask.reshape(lead))
        except AUTHOR_ERRORS as error:
            raise_at(f"{title}, answers", error)
    bounds = envs.single_action_space
    clipped = actions.clip(bounds.low, bounds.high) if isinstance(bounds, spaces.Box) else actions
    with stopwatch.part("simulation"):
        rewards = envs.answer(clipped.reshape(len(asked.mask), -1, *envs.action_shape), asked)
    return replace(_asked_episodes(envs, asked, actions, rewards), confidences=confidences)


def _rows(actions: object, count: int) -> np.ndarray:
    """Return the answers. Raises MetarlError unless they are an array with an answer to each question."""
    if not isinstance(actions, np.ndarray):
        raise MetarlError(f"answer returned {type(actions).__name__}; it must return a NumPy array")
    if len(actions) != count:
        raise MetarlError(f"answer returned shape {actions.shape} for {count} questions; give one for each")
    return actions


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
