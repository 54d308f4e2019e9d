"""Nearest neighbour on raw inputs: what an observation says of its answer without any features."""

from __future__ import annotations

import numpy as np

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.families.spaces import limits
from metarl.trials.agent import Agent, AnsweringLearner, Learner, NoSettings
from metarl.trials.episodes import Episodes, TimeStep
from metarl.trials.registered import register_agent

from ..common.encoders import AutoEncoder, ObservationEncoder
from ..common.tokens import TokenSequence
from .common import Arrivals


@register_agent("nearest-neighbour")
class NearestNeighbour(Agent):
    """Answers with the right answer of the nearest example of the task, by the numbers of the observations alone."""

    pools_replicas = False

    def __init__(self, config: NoSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        if family.target_space is None:
            raise MetarlError(
                f"agent 'nearest-neighbour' keeps right answers, and family {family.name!r} knows none; take one that "
                "does, such as sinusoid"
            )
        if family.reveal == "never":
            raise MetarlError(
                "agent 'nearest-neighbour' keeps right answers, and family.reveal is 'never'; set it to round"
            )
        self.encoder = ObservationEncoder(AutoEncoder(), family.observation_space)
        if any(isinstance(each, TokenSequence) for each in self.encoder.encoded):
            raise MetarlError(
                f"agent 'nearest-neighbour' measures distances, and the tokens of family {family.name!r} have none; "
                "take an agent that reads them, such as 3-gram or copy"
            )
        self.steps = family.reveal == "step"
        low, high = limits(family.target_space)
        self.blind = np.asarray(np.clip(0, low, high), dtype=family.target_space.dtype)
        """Answer before there is an example: zero, or what is nearest to it. [*action]"""

    def begin(self, streams: Streams) -> Learner:
        """Return a learner without examples: one that learns from each step where the family reveals by step."""
        examples = Examples(self, streams.shape)
        return StepNeighbours(examples) if self.steps else RoundNeighbours(examples)

    def numbers(self, observations: np.ndarray) -> np.ndarray:
        """Return observations [..., *observation] as float64 [..., d]: discrete parts one-hot, images flattened."""
        seen = self.encoder.observe(observations)
        return np.concatenate([np.asarray(seen.numbers, dtype=np.float64), seen.raw], axis=-1)


class Examples:
    """All examples of every replica of every task. Each replica learns alone."""

    def __init__(self, agent: NearestNeighbour, shape: tuple[int, ...]) -> None:
        self.agent, self.shape = agent, shape
        self.kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        """Observations [time, task, replica, *observation], right answers [time, task, replica, *action], and whether
        each was asked, bool [time, task, replica]."""

    def nearest(self, observations: np.ndarray, where: np.ndarray) -> np.ndarray:
        """Return the answers of the nearest examples, [question, task, replica, *action].

        `observations` is [question, task, replica, ...]. Distances are Euclidean, and the first of equals counts. They
        are taken of one world after the other, and of each pair by itself: neither the worlds of a batch nor the other
        questions change a rounding, and the memory is that of one world. Worlds that `where` [task, replica] does not
        mark keep zeros.
        """
        from scipy.spatial.distance import cdist  # imported late: it takes longer than all else here

        agent = self.agent
        found = np.zeros((len(observations), *self.shape, *agent.blind.shape), dtype=agent.blind.dtype)
        known = [np.concatenate(parts) for parts in zip(*self.kept, strict=True)]
        for task, replica in zip(*np.nonzero(where), strict=True):
            seen, answers, asked = (each[:, task, replica] for each in known) if known else (found[:0],) * 3
            if not asked.any():
                found[:, task, replica] = agent.blind
                continue
            distances = cdist(agent.numbers(observations[:, task, replica]), agent.numbers(seen[asked]), "sqeuclidean")
            found[:, task, replica] = answers[asked][distances.argmin(axis=1)]
        return found


class RoundNeighbours(AnsweringLearner):
    """Takes the examples of a round when it is over."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples

    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Return the answers of the nearest examples, [question, task, replica, *action]."""
        return self.examples.nearest(observations, np.ones(self.examples.shape, dtype=bool))

    def adapt(self, episodes: Episodes) -> None:
        """Keep the right answers of a round."""
        assert episodes.targets is not None  # the agent plays no family that hides them
        self.examples.kept.append((episodes.observations, episodes.targets, episodes.mask))


class StepNeighbours(Learner):
    """Takes each example as soon as its answer is revealed, one step later."""

    def __init__(self, examples: Examples) -> None:
        self.examples, self.arrivals = examples, Arrivals(examples.shape)
        self.asked = examples.agent.encoder.layout.zeros(examples.shape)
        """Question of each world's step before. [task, replica, *observation]"""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the answers of the nearest examples of all steps before, [task, replica, *action]."""
        assert timestep.previous_targets is not None  # the family reveals them by step
        arrived, _ = self.arrivals(timestep)
        self.examples.kept.append((self.asked[None], timestep.previous_targets[None], arrived[None]))
        active = timestep.active.reshape(*timestep.active.shape, *(1,) * (self.asked.ndim - 2))
        self.asked = np.where(active, timestep.observations, self.asked)
        return self.examples.nearest(timestep.observations[None], timestep.active)[0]
