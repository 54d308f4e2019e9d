"""Translations of a phrase by related training languages, as further questions to read: several sources at a time.

Multi-source translation (Zoph and Knight, NAACL 2016), with sources that are looked up: a training language is related
if its translations of the pairs that a task has shown are more like the right ones than the phrases themselves.

    likeness(a, b) = 2 sum_g min(n_g(a), n_g(b)) / sum_g (n_g(a) + n_g(b))    n_g: how often tokens g stand side by side
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from metarl.base.errors import MetarlError
from metarl.families.family import TaskFamily
from metarl.trials.episodes import Episodes

BUCKETS = 512
"""Counts of a phrase: two neighbours share one with few others."""


class Phrases(Protocol):
    """Pairs of phrases by language, as tokens, those of a language behind each other; see the family."""

    @property
    def shared(self) -> Mapping[str, Sequence[int]]:
        """Places of the languages of each split."""
        ...

    @property
    def firsts(self) -> np.ndarray:
        """Place of each language's first pair, int64 [language]."""
        ...

    @property
    def counts(self) -> np.ndarray:
        """Pairs of each language, int64 [language]."""
        ...

    @property
    def sources(self) -> np.ndarray:
        """Tokens of what is asked, zeros behind them. [pair, length]"""
        ...

    @property
    def targets(self) -> np.ndarray:
        """Tokens of the right translation, zeros behind them. [pair, length]"""
        ...


@runtime_checkable
class HasPhrases(Protocol):
    """What looking up needs of a family."""

    @property
    def pairs(self) -> Phrases:
        """The pairs of all languages."""
        ...


class Related:
    """Looks phrases up in the training languages that are most like the pairs of a task.

    A language that has translated every pair exactly so is the task's own, as in training: it is left out, and so are
    its relatives, which share half of its translations or more. No language of a test has such relatives in training.
    """

    ALIKE = 0.5
    """Share of equal translations that makes languages relatives: that by which the family keeps them in one split."""

    def __init__(self, agent: str, family: TaskFamily, count: int) -> None:
        """Take `count` languages. Raises MetarlError for a family that has no phrases by language."""
        if not isinstance(family, HasPhrases):
            raise MetarlError(
                f"{agent} looks phrases up in training languages, and family {family.name!r} has none; "
                "take family phrases, or leave network.related at 0"
            )
        self.count, pairs = count, family.pairs
        keys: dict[bytes, int] = {}
        rows = []
        for language in pairs.shared["train"]:
            first = pairs.firsts[language]
            own = range(first, first + pairs.counts[language])
            rows.append({keys.setdefault(_key(pairs.sources[row]), len(keys)): row for row in own})
        self.keys = keys
        """Number of each phrase that a training language has."""
        self.rows = np.full((len(rows), len(keys) + 1), -1, dtype=np.int64)
        """Pair of each phrase in each training language, -1 where it lacks it. [language, phrase]"""
        for number, each in enumerate(rows):
            self.rows[number, list(each)] = list(each.values())
        self.targets = pairs.targets
        self.grams = grams(self.targets)
        """Counts of each translation. [pair, bucket]"""
        self.relatives = self._relatives()
        """Whether languages share half of their translations or more, bool [language, language]."""

    def widen(self, observations: np.ndarray, seen: Sequence[Episodes]) -> np.ndarray:
        """Return phrases [time, task, replica, length] with their translations behind them, by the nearest first.

        Each has `length` places; where too few related languages have a phrase, zeros stand. [..., (1 + count) length]
        Languages are chosen anew for every task, by the pairs of all its replicas in the rounds `seen`.
        """
        lead, length = observations.shape[:-1], observations.shape[-1]
        found = np.zeros((*lead, 1 + self.count, length), dtype=observations.dtype)
        found[..., 0, :] = observations
        for task in range(lead[1]):
            order = self.order(*_pairs_of(seen, task))
            for at in np.ndindex(lead[0], lead[2]) if len(order) else ():
                place = (at[0], task, at[1])
                rows = self.rows[order, self.keys.get(_key(observations[place]), -1)]
                rows = rows[rows >= 0][: self.count]
                found[(*place, slice(1, 1 + len(rows)))] = self.targets[rows]
        return found.reshape(*lead, -1)

    def order(self, phrases: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return training languages that are nearer than the phrases themselves, the nearest first. int64 [language]

        Phrases and right translations are tokens [pair, length]. A language that lacks a phrase is taken to copy it. Of
        equals the first in the order of codes comes first.
        """
        if not len(phrases):
            return np.zeros(0, dtype=np.int64)
        rows = self.rows[:, [self.keys.get(_key(phrase), -1) for phrase in phrases]]
        asked, wanted, lacks = grams(phrases), grams(right), rows < 0
        told = np.where(lacks[..., None], asked, self.grams[rows])
        # Rounded, so that no order hangs on the last bits of equals.
        likeness, floor = (likenesses(each, wanted).mean(-1).round(9) for each in (told, asked))
        own = (~lacks & (self.targets[rows] == right).all(-1)).all(-1)
        left_out = self.relatives[own].any(0)
        order = np.argsort(-likeness, kind="stable")
        return order[(likeness[order] > floor) & ~left_out[order]]

    def _relatives(self) -> np.ndarray:
        """Return which training languages are relatives of each other, and of themselves, bool [language, language]."""
        found = np.zeros((len(self.rows), len(self.rows)), dtype=bool)
        there = self.rows >= 0
        # Equal translations have one number: that of the first.
        _, numbers = np.unique(self.targets, axis=0, return_inverse=True)
        told = np.where(there, numbers.reshape(-1)[self.rows], -1)
        for number, own in enumerate(told):
            both = there & there[number]
            share = ((told == own) & both).sum(-1) / np.maximum(1, both.sum(-1))
            found[number] = share >= self.ALIKE
            found[number, number] = True
        return found


def grams(phrases: np.ndarray) -> np.ndarray:
    """Return how often each two tokens stand side by side, in buckets, uint8 [..., bucket], of [..., length].

    The beginning and the end are tokens as well.
    """
    flat = phrases.reshape(-1, phrases.shape[-1]).astype(np.int64)
    edged = np.pad(flat, ((0, 0), (1, 1)))
    pairs, there = edged[:, :-1] * 263 + edged[:, 1:], (edged[:, :-1] != 0) | (edged[:, 1:] != 0)
    found = np.zeros((len(flat), BUCKETS), dtype=np.uint8)
    row, place = np.nonzero(there)
    np.add.at(found, (row, pairs[row, place] % BUCKETS), 1)
    return found.reshape(*phrases.shape[:-1], BUCKETS)


def likenesses(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the likeness of counts, from 0 to 1, [...]; both are [..., bucket]."""
    common = np.minimum(some, others).sum(-1, dtype=np.int64)
    total = some.sum(-1, dtype=np.int64) + others.sum(-1, dtype=np.int64)
    return 2 * common / np.maximum(1, total)


def _key(phrase: np.ndarray) -> bytes:
    return phrase.astype(np.int64).tobytes()


def _pairs_of(seen: Sequence[Episodes], task: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the phrases and right translations that a task has shown, [pair, length] each."""
    asked, right = [], []
    for episodes in seen:
        assert episodes.targets is not None  # agents that adapt play no family that hides them
        there = episodes.mask[:, task]
        asked.append(episodes.observations[:, task][there])
        right.append(episodes.targets[:, task][there])
    return (np.concatenate(asked), np.concatenate(right)) if asked else (np.zeros((0, 1)), np.zeros((0, 1)))
