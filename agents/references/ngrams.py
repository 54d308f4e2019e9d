"""Prototypes of character 3-grams: what counting alone can tell of a text. It reads no letter that training taught."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from gymnasium import spaces

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.trials.agent import Agent, AnsweringLearner, NoSettings
from metarl.trials.episodes import Episodes
from metarl.trials.registered import register_agent

from .common import require_family

SIZE = 3
"""Characters of a piece."""


@register_agent("3-gram")
class Ngrams(Agent):
    """Labels a text as the class whose examples have the most similar pieces of three characters, without training."""

    plays: ClassVar[tuple[str, ...]] = ("text-classes",)
    pools_replicas = False

    def __init__(self, config: NoSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        family = require_family(type(self), family)
        if family.reveal == "never":
            raise MetarlError("agent '3-gram' learns from labels, and family.reveal is 'never'; set it to round")
        assert isinstance(family.action_space, spaces.Discrete)
        self.ways = int(family.action_space.n)

    def begin(self, streams: Streams) -> NgramLearner:
        """Return a learner that has seen no example."""
        return NgramLearner(self.ways, streams.shape)


class NgramLearner(AnsweringLearner):
    """A prototype for each class of each task: the mean of its examples' counts, each scaled to length one."""

    def __init__(self, ways: int, shape: tuple[int, ...]) -> None:
        self.sums: dict[tuple[int, ...], list[dict[str, float]]] = {
            world: [{} for _ in range(ways)] for world in np.ndindex(shape)
        }
        """Sum of the scaled counts of each label's examples, by task and replica."""

    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Return the label whose prototype has the greatest cosine; the first of equals."""
        answers = np.zeros(observations.shape[:3], dtype=np.int64)
        norms = {world: [_norm(each) for each in classes] for world, classes in self.sums.items()}
        for at in np.ndindex(answers.shape):
            counts, world = count_pieces(observations[at]), at[1:]
            scores = [_dot(counts, each) / norm for each, norm in zip(self.sums[world], norms[world], strict=True)]
            answers[at] = int(np.argmax(scores))
        return answers

    def adapt(self, episodes: Episodes) -> None:
        """Add the examples of a round to the prototypes."""
        assert episodes.targets is not None  # the agent plays no family that hides them
        for at in np.ndindex(episodes.mask.shape):
            if not episodes.mask[at]:
                continue
            counts = count_pieces(episodes.observations[at])
            total, norm = self.sums[at[1:]][int(episodes.targets[at])], _norm(counts)
            for piece, count in counts.items():
                total[piece] = total.get(piece, 0.0) + count / norm


def count_pieces(tokens: np.ndarray) -> Counter[str]:
    """Return how often each piece of three characters stands in a text, with a space at its ends.

    `tokens` [length] are the bytes of its UTF-8, and zeros behind them.
    """
    text = f" {bytes(tokens[tokens != 0].astype(np.uint8)).decode(errors='replace')} "
    return Counter(text[start : start + SIZE] for start in range(len(text) - SIZE + 1))


def _dot(some: Mapping[str, float], others: Mapping[str, float]) -> float:
    return sum(count * others.get(piece, 0.0) for piece, count in some.items())


def _norm(counts: Mapping[str, float]) -> float:
    return float(np.sqrt(sum(count * count for count in counts.values()))) or 1.0
