"""Sequences of tokens: where they end, how they are drawn, and how far an answer is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from metarl.base.streams import Streams


def until_end(tokens: np.ndarray) -> np.ndarray:
    """Return sequences [..., length] with zeros from their first zero on: what stands behind it counts nowhere."""
    return np.where(np.logical_or.accumulate(tokens == 0, axis=-1), 0, tokens)


def are_equal(answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return whether each answer is the right one up to its end, bool [...]; both are [..., length]."""
    return (until_end(answers) == until_end(targets)).all(axis=-1)


def right_share(answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return which share of the tokens is right, float64 [...]: right places, of those of the longer sequence."""
    answers, targets = until_end(answers), until_end(targets)
    longer = np.maximum((answers != 0).sum(axis=-1), (targets != 0).sum(axis=-1))
    right = ((answers == targets) & (targets != 0)).sum(axis=-1)
    share: np.ndarray = np.where(longer > 0, right / np.maximum(longer, 1), 1.0)
    return share


def pack(sequences: Sequence[Sequence[str]], numbers: Mapping[str, int]) -> np.ndarray:
    """Return sequences of words as their numbers, with zeros behind, int64 [sequence, longest]."""
    packed = np.zeros((len(sequences), max(map(len, sequences))), dtype=np.int64)
    for row, words in enumerate(sequences):
        packed[row, : len(words)] = [numbers[word] for word in words]
    return packed


def draw_different(counts: np.ndarray, size: int, streams: Streams) -> np.ndarray:
    """Return `size` different numbers below each of `counts` [world] in random order, int64 [world, size].

    Floyd's algorithm (Bentley and Floyd, Programming Pearls, CACM 1987) draws as many numbers as it returns, and
    shuffles them by as many again; every count must be at least `size`.
    """
    draws = streams.uniform((2 * size,))
    chosen = np.full((len(counts), size), -1, dtype=np.int64)
    for place in range(size):
        last = counts - size + place
        drawn = np.floor(draws[:, place] * (last + 1)).astype(np.int64)
        taken = (chosen == drawn[:, None]).any(axis=1)
        chosen[:, place] = np.where(taken, last, drawn)
    return np.take_along_axis(chosen, np.argsort(draws[:, size:], axis=1), axis=1)


def draw_others(counts: np.ndarray, taken: np.ndarray, size: int, streams: Streams) -> np.ndarray:
    """Return `size` different numbers below each of `counts` [world] in random order, int64 [world, size].

    None is one of `taken` [world, some], which must differ from each other and leave as many.
    """
    others = draw_different(counts - taken.shape[1], size, streams)
    for each in np.sort(taken, axis=1).T:  # a number among those that are left is found by stepping over the taken ones
        others += others >= each[:, None]
    return others


def mean_over(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the mean of a round's marked `values` [time, task, replica] in each task; NaN where none is marked."""
    counts = mask.sum(axis=(0, 2))
    mean: np.ndarray = np.where(counts, np.where(mask, values, 0.0).sum(axis=(0, 2)) / np.maximum(counts, 1), np.nan)
    return mean
