"""Pairs of phrases by language, as tokens, with the languages of each split."""

from __future__ import annotations

import hashlib
import itertools
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from metarl.base.errors import MetarlError
from metarl.base.text import with_noun
from metarl.families.examples import share_out

from .catalogues import Pair
from .vocabularies import Kind, Vocabulary, make_vocabulary

Direction = Literal["from-english", "to-english"]
"""Which side of a pair is asked for."""
PARTS = 10
"""One of so many parts of the languages is for tests, and one for validation."""
ALIKE = 0.5
"""Languages that share this share of their translations are related."""


class Rule(NamedTuple):
    """How pairs become tokens."""

    direction: Direction
    length: int
    """Most tokens of a side."""
    vocabulary: Kind
    vocabulary_size: int


class Languages(NamedTuple):
    """Languages to be shared out."""

    origin: str
    counts: np.ndarray
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    given: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PairSet:
    """Pairs as tokens, those of a language behind each other."""

    origin: str
    """Where they come from, for messages."""
    languages: tuple[str, ...]
    """Code of each language, ascending."""
    shared: Mapping[str, tuple[int, ...]]
    """Places of the languages of each split."""
    counts: np.ndarray
    """Pairs of each language. int64 [language]"""
    sources: np.ndarray
    """Tokens of what is asked, zeros behind them. [pair, length]"""
    targets: np.ndarray
    """Tokens of the right translation, zeros behind them. [pair, length]"""
    vocabulary: Vocabulary
    """Maps tokens to texts."""

    @property
    def firsts(self) -> np.ndarray:
        """Place of each language's first pair, int64 [language]."""
        return np.cumsum(self.counts) - self.counts

    @property
    def digest(self) -> str:
        """A word that changes with the languages, their splits, their pairs and the vocabulary."""
        told = hashlib.blake2b(digest_size=8)
        told.update(json.dumps([self.languages, dict(self.shared), self.counts.tolist()]).encode())
        for content in (self.sources.tobytes(), self.targets.tobytes(), self.vocabulary.content()):
            told.update(content)
        return told.hexdigest()


def make_pair_set(origin: str, pairs: Mapping[str, Sequence[Pair]], rule: Rule) -> PairSet:
    """Return pairs as tokens, without those that a side of more than `length` tokens has.

    Languages that are related stay in one split, and the vocabulary is learned from those of training. Raises
    MetarlError for languages of fewer than three kinds.
    """
    clean = {language: _different(pairs[language], rule.direction) for language in sorted(pairs)}
    groups = related(clean)
    if len({*groups}) < 3:
        raise MetarlError(
            f"{origin} has {with_noun(len({*groups}), 'unrelated language')}, and each of three splits needs one; add "
            "languages"
        )
    names, counts = tuple(clean), np.array([len(found) for found in clean.values()])
    found = Languages(origin, counts, names, groups, ("",) * len(names))
    shared = share_out(found, "groups", PARTS)
    texts = [text for place in shared["train"] for pair in clean[names[place]] for text in pair]
    vocabulary = make_vocabulary(rule.vocabulary, texts, rule.vocabulary_size)
    coded = [_coded(clean[name], vocabulary, rule.length) for name in names]
    sources, targets = (np.concatenate([each[side] for each in coded]) for side in (0, 1))
    return PairSet(origin, names, shared, np.array([len(each[0]) for each in coded]), sources, targets, vocabulary)


def _different(pairs: Sequence[Pair], direction: Direction) -> list[Pair]:
    """Return pairs of composed characters in a direction; a source that comes again keeps its first translation.

    So no query is in the support.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        one, other = (unicodedata.normalize("NFC", text) for text in pair)
        source, target = (one, other) if direction == "from-english" else (other, one)
        found.setdefault(source, target)
    return list(found.items())


def related(pairs: Mapping[str, Sequence[Pair]]) -> tuple[str, ...]:
    """Return the group of each language: the first code of those that it is related to.

    Related are locales of one language, such as pt and pt_BR, and languages that share half of their translations,
    such as nb and no; translations that equal their source tell nothing of a language and do not count.
    """
    names = list(pairs)
    own = [{pair for pair in pairs[name] if pair[0].casefold() != pair[1].casefold()} for name in names]
    groups = list(range(len(names)))
    for one, other in itertools.combinations(range(len(names)), 2):
        fewer = min(len(own[one]), len(own[other]))
        alike = fewer and len(own[one] & own[other]) >= ALIKE * fewer
        if alike or names[one].split("_")[0] == names[other].split("_")[0]:
            low, high = sorted((groups[one], groups[other]))
            groups = [low if group == high else group for group in groups]
    return tuple(names[group] for group in groups)


def _coded(pairs: Sequence[Pair], vocabulary: Vocabulary, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return both sides of the pairs that fit, each [pair, length]; of sources with equal tokens the first."""
    sides = [vocabulary.encode([pair[side] for pair in pairs]) for side in (0, 1)]
    fitting = {
        tuple(source): target
        for source, target in reversed(list(zip(*sides, strict=True)))
        if 0 < len(source) <= length and 0 < len(target) <= length
    }
    dtype = np.min_scalar_type(-vocabulary.size)
    sources, targets = np.zeros((2, len(fitting), length), dtype=dtype)
    for row, (source, target) in enumerate(reversed(fitting.items())):
        sources[row, : len(source)] = source
        targets[row, : len(target)] = target
    return sources, targets
