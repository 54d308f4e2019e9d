"""One trial at a time, with its support shortened by hand: what the batched replays must agree with."""

from __future__ import annotations

import contextlib

import numpy as np

from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.trials.agent import Agent, AnsweringLearner, Learner
from metarl.trials.episodes import Episodes, TimeStep
from metarl.trials.plan import TrialPlan

Round = tuple[np.ndarray, np.ndarray]
"""Observations and right answers, [question, ...]."""


def asked(family: TaskFamily, number: int, seed: int = 0, split: str = "test") -> tuple[Round, Round]:
    """Return the examples and the queries of a task."""
    plan = TrialPlan(split=split, seed=seed)
    tasks = family.sample(split, number + 1, seed=seed)[number : number + 1]
    rounds = []
    with contextlib.closing(family.make_vec(tasks)) as envs:
        for which in range(2):
            envs.restart(seed=None if which else plan.trial_seed)
            questions = envs.asked()
            assert questions is not None
            rounds.append((questions.observations[:, 0], questions.targets[:, 0]))
            envs.answer(questions.targets, questions)
    return rounds[0], rounds[1]


def without(examples: Round, gone: set[int]) -> Round:
    """Return the examples but for those of some places."""
    kept = [place for place in range(len(examples[0])) if place not in gone]
    return examples[0][kept], examples[1][kept]


def answers(agent: Agent, family: TaskFamily, examples: Round, queries: Round) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the answers of a learner that is shown these examples alone, and how sure it was of them."""
    learner = agent.begin(Streams.of(0, np.zeros((1, 1), dtype=np.int64)))
    if isinstance(learner, AnsweringLearner):
        learner.adapt(_episodes(examples))
        found = learner.answer(queries[0][:, None, None], deterministic=True)
        return found[:, 0, 0], None if learner.confidences is None else learner.confidences[:, 0, 0]
    return _stepped(learner, family, examples, queries)


def _episodes(examples: Round) -> Episodes:
    seen, right = (each[:, None, None] for each in examples)
    ends = np.zeros((len(seen), 1, 1), dtype=bool)
    ends[-1] = True
    return Episodes(
        observations=seen,
        actions=np.zeros_like(right),
        rewards=np.zeros((len(seen), 1, 1)),
        terminations=ends,
        truncations=np.zeros_like(ends),
        mask=np.ones_like(ends),
        final_observations=seen[-1],
        successes=None,
        targets=right,
    )


def _stepped(
    learner: Learner, family: TaskFamily, examples: Round, queries: Round
) -> tuple[np.ndarray, np.ndarray | None]:
    """Show every question, then its right answer: a family that reveals by step."""
    found, sure = [], []
    before, reward, ended = np.zeros_like(examples[1][0]), 0.0, False
    action = np.zeros_like(before)
    for number, (seen, right) in enumerate((examples, queries)):
        for place, (observation, target) in enumerate(zip(seen, right, strict=True)):
            step = TimeStep(
                observations=observation[None, None],
                previous_actions=action[None, None],
                previous_rewards=np.full((1, 1), reward),
                previous_terminations=np.full((1, 1), ended),
                previous_truncations=np.zeros((1, 1), dtype=bool),
                active=np.ones((1, 1), dtype=bool),
                previous_targets=before[None, None],
            )
            action = learner.act(step, deterministic=True)[0, 0]
            before, ended = target, place == len(seen) - 1
            reward = float(-np.square(np.float64(action) - target).sum())
            if number:
                found.append(action)
                sure.append(None if learner.confidences is None else learner.confidences[0, 0])
        if not number:
            learner.adapt(_episodes(examples))
    return np.stack(found), None if sure[0] is None else np.array(sure)
