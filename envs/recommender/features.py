"""Features of items, users and contexts: numbers, kinds and sets of words, as columns of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from metarl.base.errors import MetarlError

MOST_KINDS = 50
"""Most different words of a feature; each is a column."""
SEPARATOR = "|"
"""Between the words of a set, such as genres."""

Kind = Literal["auto", "words"]
"""Whether a feature may be a number, or its cells are words though they look like numbers."""


class Features(NamedTuple):
    """Features of items, users or ratings."""

    names: tuple[str, ...]
    """Name of each column."""
    values: np.ndarray
    """Numbers have mean zero and variance one; a word is one where it holds, else zero. float32 [entity, column]"""


def no_features(count: int) -> Features:
    """Return no features of `count` entities."""
    return Features((), np.zeros((count, 0), dtype=np.float32))


def join(features: Sequence[Features], count: int) -> Features:
    """Return several features of `count` entities as one."""
    found = [no_features(count), *features]
    return Features(sum((each.names for each in found), ()), np.concatenate([each.values for each in found], axis=1))


def encode_feature(origin: str, name: str, words: Sequence[str], kind: Kind = "auto") -> Features:
    """Return a feature of each entity from its words, '' where it is not known.

    Numbers are scaled to mean zero and variance one over the entities that have one, and zero for others. Words become
    a column each, also those of sets that '|' separates. A feature that is the same everywhere has no column. Raises
    MetarlError for more than `MOST_KINDS` words.
    """
    numbers = None if kind == "words" else _numbers(words)
    if numbers is not None:
        return _scaled(name, numbers)
    different, places = np.unique(np.array(words, dtype=object).astype(str), return_inverse=True)
    sets = [{part.strip() for part in word.split(SEPARATOR)} - {""} for word in different.tolist()]
    kinds = sorted(set().union(*sets))
    if len(kinds) > MOST_KINDS:
        raise MetarlError(
            f"{origin} has {len(kinds):,} different words in column {name!r}; at most {MOST_KINDS} are taken, so call "
            "rare ones 'other', or leave the column out"
        )
    held = np.array([[each in words_of for each in kinds] for words_of in sets], dtype=np.float32)
    held = held.reshape(len(sets), len(kinds))[places]
    telling = held.min(axis=0, initial=1) < held.max(axis=0, initial=0)
    return Features(
        tuple(f"{name} {each}" for each, tells in zip(kinds, telling, strict=True) if tells), held[:, telling]
    )


def _numbers(words: Sequence[str]) -> np.ndarray | None:
    """Return words as finite numbers, NaN for ''; None where one is no number, or none is there."""
    try:
        found = np.array([word or "nan" for word in words], dtype=np.float64)
    except ValueError:
        return None
    known = np.array([word != "" for word in words], dtype=bool)
    return found if known.any() and np.isfinite(found[known]).all() else None


def _scaled(name: str, numbers: np.ndarray) -> Features:
    known = np.isfinite(numbers)
    mean, std = numbers[known].mean(), numbers[known].std()
    if std <= 1e-12 * max(1.0, abs(mean)):
        return no_features(len(numbers))
    scaled = np.where(known, (np.nan_to_num(numbers) - mean) / std, 0.0)
    return Features((name,), scaled[:, None].astype(np.float32))
