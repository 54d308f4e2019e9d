"""Many questions to a policy at once, where its family asks questions: examples to learn from, answers to give."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base.errors import MetarlError
from ..families.actions import ActionRange
from ..families.family import TaskFamily
from ..families.layout import layout_of
from ..families.questions import QuestionFamily, require_questions
from ..families.spaces import shape_of
from .agent import AnsweringLearner
from .lone import LoneTrial, clip_action
from .shown import require_answers, reveals_targets


def learn_all(family: TaskFamily, trial: LoneTrial, observations: Any, targets: Any, *, deterministic: bool) -> None:
    """Play an episode of questions [question, *observation] whose right answers are shown, [question, *target].

    Raises MetarlError for a family that asks no questions or shows no right answers, in mid-episode, and for arrays
    that do not fit.
    """
    questions = require_questions(family)
    if not reveals_targets(family):
        raise MetarlError(f"family {family.name!r} reveals no right answers, so there is nothing to learn from")
    if not trial.at_start:
        raise MetarlError("learn begins an episode, and one is under way; call end_episode first")
    asked = _questions(family, observations)
    space = questions.target_space
    shape, known, rows = (len(asked), *shape_of(space)), ActionRange(space), np.asarray(targets)
    if rows.shape != shape or not known.can_store(rows):
        raise MetarlError(
            f"targets has shape {rows.shape} and type {rows.dtype}; it must be {shape} and {known.dtype}, an answer to "
            "each question"
        )
    require_answers("targets has", rows, space)
    _play(questions, trial, asked, rows.astype(space.dtype), deterministic=deterministic)


def _play(
    family: QuestionFamily, trial: LoneTrial, asked: np.ndarray, targets: np.ndarray, *, deterministic: bool
) -> None:
    """Act on each question, and show its answer with the reward that the agent's own answer has."""
    if isinstance(trial.learner, AnsweringLearner):  # all in one pass: no answer depends on another
        actions = _answers(trial.learner, trial.replicas, asked, deterministic=deterministic)
        rewards = family.score(clip_action(actions, family.action_space), targets)
        trial.add_steps(asked, actions, rewards, targets)
        trial.end_episode(asked[-1], float(rewards[-1]), targets[-1], terminated=False, truncated=True)
        return
    reward, shown = 0.0, None
    for observation, target in zip(asked, targets, strict=True):
        action = trial.act(observation, reward, shown, deterministic=deterministic, limited=False)
        answer = clip_action(action, family.action_space)
        reward, shown = float(family.score(answer[None], target[None])[0]), target
    trial.end_episode(asked[-1], reward, shown, terminated=False, truncated=True)


def answer_all(family: TaskFamily, trial: LoneTrial, observations: Any, *, deterministic: bool) -> np.ndarray:
    """Return answers [question, *action] to questions [question, *observation]; the learner stays as it is.

    Raises MetarlError for a family that asks no questions, for an agent whose answers change what it knows, and for an
    array that does not fit.
    """
    require_questions(family)
    asked = _questions(family, observations)
    if not isinstance(trial.learner, AnsweringLearner):
        raise MetarlError(
            f"{type(trial.learner).__name__} takes one question after the other, as each changes its memory; call act, "
            "or take an agent that answers all at once, such as neural-process"
        )
    answers = _answers(trial.learner, trial.replicas, asked, deterministic=deterministic)
    return clip_action(answers.astype(family.action_space.dtype), family.action_space)


def _answers(learner: AnsweringLearner, replicas: int, asked: np.ndarray, *, deterministic: bool) -> np.ndarray:
    """Return answers to questions [question, ...] in the task of a learner, [question, *action]."""
    every = np.repeat(asked[:, None, None], replicas, axis=2)
    return learner.answer(every, deterministic=deterministic)[:, 0, 0]


def _questions(family: TaskFamily, observations: Any) -> np.ndarray:
    """Return questions as an array. Raises MetarlError where they do not fit, or there is none."""
    layout = layout_of(family.observation_space, family.name)
    if layout.composed:
        rows = [layout.flatten(observation, ()) for observation in observations]
        asked = np.stack(rows) if rows else np.zeros((0, *layout.shape))
    else:
        asked = np.asarray(observations)
    if asked.ndim == 0 or not len(asked) or asked.shape[1:] != layout.shape:
        raise MetarlError(
            f"observations has shape {asked.shape}; it must be {('questions', *layout.shape)}, with at least one "
            f"question of family {family.name!r}"
        )
    if np.issubdtype(asked.dtype, np.floating) and not np.isfinite(asked).all():
        raise MetarlError("observations holds a number that is not finite; leave that question out")
    return asked.astype(layout.dtype)
