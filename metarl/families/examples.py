"""Few-shot classification: which examples of its classes a trial shows, which it asks for, and in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..base.errors import MetarlError
from ..base.streams import Streams
from .task import SPLITS


class Examples(NamedTuple):
    """The examples of a round, in the order in which they are asked."""

    places: np.ndarray
    """Place of each example among those of its class. int64 [world, question]"""
    labels: np.ndarray
    """Label of its class in the task. int64 [world, question]"""


def shuffle_places(counts: np.ndarray, most: int, streams: Streams) -> np.ndarray:
    """Return the places below each of `counts` [world, way] in random order, int64 [world, way, most].

    Places beyond a count stand behind those below it. `most` must be that of all classes, and not of the batch: a task
    alone draws as many numbers as in a batch.
    """
    draws = streams.uniform((counts.shape[1], most))
    return np.argsort(np.where(np.arange(most) < counts[..., None], draws, np.inf), axis=-1)


def draw_examples(
    order: np.ndarray, counts: np.ndarray, number: int, shots: int, queries: int, streams: Streams
) -> Examples:
    """Return the examples of round `number` of a trial, in random order, so that no place tells a label.

    `order` is that of `shuffle_places`, drawn once a trial. The first round has the first `shots` of each class; each
    later one has `queries` of the others, all different. `counts` [world, way] must be at least `shots + queries`.
    """
    if number:
        rest = shuffle_places(counts - shots, order.shape[-1] - shots, streams)[..., :queries] + shots
        chosen = np.take_along_axis(order, rest, axis=-1)
    else:
        chosen = order[..., :shots]
    places = chosen.reshape(len(chosen), -1)
    labels = np.broadcast_to(np.arange(chosen.shape[1])[:, None], chosen.shape).reshape(places.shape)
    shuffled = np.argsort(streams.uniform((places.shape[1],)), axis=-1)
    return Examples(np.take_along_axis(places, shuffled, axis=-1), np.take_along_axis(labels, shuffled, axis=-1))


def share_out(classes: Sequence[str], given: Sequence[str], origin: str) -> Mapping[str, tuple[int, ...]]:
    """Return the places of the classes of each split.

    Splits that are `given`, '' for none, stay. Without any, a fifth of the classes is for tests and a fifth for
    validation; where only validation is not given, it is a fifth of training. A hash of names decides, so that
    neither order nor machine does. Raises MetarlError, which calls the source `origin`, for a split without a class.
    """
    shared = list(given)
    if not any(shared):
        _move(classes, shared, "", "test", 5)
        _move(classes, shared, "", "validation", 4)
        shared = [split or "train" for split in shared]
    elif "validation" not in shared:
        _move(classes, shared, "train", "validation", 5)
    found = {split: tuple(i for i, each in enumerate(shared) if each == split) for split in SPLITS[:-1]}
    for split, places in found.items():
        if not places:
            raise MetarlError(f"{origin} has no class for split {split!r}; add classes, or name that split")
    return found


def _move(classes: Sequence[str], shared: list[str], source: str, target: str, parts: int) -> None:
    """Move one of `parts` parts of the classes in split `source` to split `target`."""
    places = [place for place, split in enumerate(shared) if split == source]
    places.sort(key=lambda place: hashlib.blake2b(classes[place].encode(errors="surrogateescape")).digest())
    for place in places[: max(1, round(len(places) / parts))] if len(places) > 1 else ():
        shared[place] = target


def require_examples(
    classes: Sequence[str], counts: np.ndarray, shared: Mapping[str, Sequence[int]], ways: int, needed: int, origin: str
) -> None:
    """Raise MetarlError unless each split has `ways` classes, and each class has `needed` examples."""
    for split, places in shared.items():
        if len(places) < ways:
            raise MetarlError(
                f"ways is {ways}, and split {split!r} of {origin} has {len(places)} classes; lower ways, or add classes"
            )
    few = int(np.argmin(counts))
    if counts[few] < needed:
        raise MetarlError(
            f"class {classes[few]!r} of {origin} has {counts[few]} examples, and shots + queries is {needed}; add "
            "examples, or lower shots or queries"
        )
