"""Images by class, and how classes are shared out among the splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from metarl.base.errors import MetarlError

SplitBy = Literal["auto", "groups", "classes"]
"""What is kept whole when classes are shared out: groups, single classes, or groups where there are three or more."""

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Greyscale images of one size, those of a class behind each other."""

    origin: str
    """Where they come from, for messages."""
    images: np.ndarray
    """uint8 [image, size, size]"""
    counts: np.ndarray
    """Images of each class. int64 [class]"""
    classes: tuple[str, ...]
    """Name of each class, ascending."""
    groups: tuple[str, ...]
    """Group of each class, such as its alphabet; '' for none."""
    given: tuple[str, ...]
    """Split that the source puts each class into; '' where it names none."""

    @property
    def firsts(self) -> np.ndarray:
        """Place of each class's first image, int64 [class]."""
        return np.cumsum(self.counts) - self.counts

    @property
    def digest(self) -> str:
        """A word that changes with the classes, their groups and splits, and the number of their images."""
        told = json.dumps([self.classes, self.groups, self.given, self.counts.tolist()])
        return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


def share_out(images: ImageSet, split_by: SplitBy) -> Mapping[str, tuple[int, ...]]:
    """Return the classes of each split, by their places.

    Splits that the source names stay. Without any, a fifth of the groups, or of the classes, is for tests, and a fifth
    for validation; where only validation is not named, it is a fifth of training. A hash of names decides, so neither
    the order of files nor the machine does. Raises MetarlError for a split without classes.
    """
    shared = list(images.given)
    if not any(shared):
        _cut(images, shared, split_by, "", "test", 5)
        _cut(images, shared, split_by, "", "validation", 4)
        shared = [split or "train" for split in shared]
    elif "validation" not in shared:
        _cut(images, shared, split_by, "train", "validation", 5)
    found = {split: tuple(i for i, each in enumerate(shared) if each == split) for split in SPLITS}
    if empty := [split for split in SPLITS if not found[split]]:
        raise MetarlError(f"{images.origin} has no class for split {empty[0]!r}; add classes, or folders of that split")
    return found


def _cut(images: ImageSet, shared: list[str], split_by: SplitBy, source: str, target: str, parts: int) -> None:
    """Move one of `parts` parts of the names in split `source` to split `target`."""
    places = [i for i, split in enumerate(shared) if split == source]
    groups = {images.groups[i] for i in places}
    if split_by == "groups" and len(groups) < 3 and source == "":
        raise MetarlError(f"{images.origin} has {len(groups)} groups; split_by 'groups' needs 3, so take 'classes'")
    # The second cut finds a part fewer than the first, and takes from the same kind of names.
    whole = split_by == "groups" or (split_by == "auto" and len({*images.groups}) >= 3)
    names = [images.groups[i] if whole else images.classes[i] for i in places]
    ordered = sorted(set(names), key=_hash)
    moved = {*ordered[: max(1, round(len(ordered) / parts))]} if len(ordered) > 1 else set()
    for i, name in zip(places, names, strict=True):
        if name in moved:
            shared[i] = target


def _hash(name: str) -> bytes:
    return hashlib.blake2b(name.encode(errors="surrogateescape")).digest()


def require_images(images: ImageSet, split_classes: Mapping[str, Sequence[int]], ways: int, needed: int) -> None:
    """Raise MetarlError unless each split has `ways` classes and each class has `needed` images."""
    for split, classes in split_classes.items():
        if len(classes) < ways:
            raise MetarlError(
                f"ways is {ways}, and split {split!r} of {images.origin} has {len(classes)} classes; lower ways, add "
                "classes, or write split_by: classes"
            )
    few = int(np.argmin(images.counts))
    if images.counts[few] < needed:
        raise MetarlError(
            f"class {images.classes[few]!r} of {images.origin} has {images.counts[few]} images, and shots + queries "
            f"is {needed}; add images, or lower shots or queries"
        )
