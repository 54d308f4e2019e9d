"""Where images with boxes come from: drawn as they are asked for, or read from a folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from metarl.base.files import require_regular
from metarl.base.meter import meter
from metarl.base.stored import Store
from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.examples import draw_examples, share_out, shuffle_places
from metarl.families.question_batch import Questions

from ..images.image_set import ImageSet
from .coco import Annotations, BoxedImages, find_annotations, read_annotations, read_images, share_images
from .scenes import Scenes

STORE: Store[BoxedImages] = Store(
    "boxes",
    "images with boxes",
    lambda found: {"images": found.images, "boxes": found.boxes},
    lambda arrays: BoxedImages(arrays["images"], arrays["boxes"]),
)
"""Every folder of images with boxes that this process has read."""


class Source(Protocol):
    """Images by what is to be found in them."""

    @property
    def kinds(self) -> ImageSet:
        """What there is to find: its names, counts and splits."""
        ...

    @property
    def shared(self) -> Mapping[str, Sequence[int]]:
        """Places of the kinds of each split."""
        ...

    def prepare(self, kinds: np.ndarray, streams: Streams) -> State:
        """Return what a trial draws once, for the kind of each world, int64 [world]."""
        ...

    def ask(self, kinds: np.ndarray, trial: State, number: int, streams: Streams) -> Questions:
        """Return the images of a round, and the right boxes."""
        ...


class GlyphSource:
    """Draws new images in every round."""

    def __init__(self, scenes: Scenes, shared: Mapping[str, Sequence[int]], counts: tuple[int, int], absent: float):
        self.scenes, self.shared, self.counts, self.absent = scenes, shared, counts, absent
        self.kinds = scenes.glyphs

    def prepare(self, kinds: np.ndarray, streams: Streams) -> State:
        """Return nothing."""
        return {}

    def ask(self, kinds: np.ndarray, trial: State, number: int, streams: Streams) -> Questions:
        """Draw images; the examples of the first round all have their target."""
        count, absent = self.counts[min(number, 1)], self.absent if number else 0.0
        scene = self.scenes.draw(kinds, count, streams, absent)
        return Questions(scene.images[..., None], scene.boxes)


class FolderSource:
    """The images of a folder with COCO's JSON. A trial's examples are asked in no later round of it."""

    def __init__(self, folder: Path, size: int, counts: tuple[int, int]) -> None:
        self.counts = counts
        file = find_annotations(folder)
        found = read_annotations(file, folder)
        listed = ImageSet(
            found.origin, np.zeros(0), np.zeros(0), found.categories, *[("",) * len(found.categories)] * 2
        )
        self.shared = share_out(listed)
        asked = share_images(found, self.shared, sum(counts))
        self.boxed = STORE.get(_key(file, found, size), lambda: _measured(found, asked, size))
        self.kinds = ImageSet(
            found.origin,
            self.boxed.images,
            np.array(list(map(len, asked))),
            found.categories,
            listed.groups,
            listed.given,
        )

    def prepare(self, kinds: np.ndarray, streams: Streams) -> State:
        """Return an order of each world's images; the first ones are the examples."""
        counts = self.kinds.counts
        return {"order": shuffle_places(counts[kinds][:, None], int(counts.max()), streams)}

    def ask(self, kinds: np.ndarray, trial: State, number: int, streams: Streams) -> Questions:
        """Return the first images of each world's order, or some of its other ones."""
        counts = self.kinds.counts[kinds][:, None]
        drawn = draw_examples(trial["order"], counts, number, *self.counts, streams)
        places = self.kinds.firsts[kinds][:, None] + drawn.places
        there = np.ones((*places.shape, 1), dtype=np.float32)
        boxes = np.concatenate([self.boxed.boxes[places], there], axis=-1)
        return Questions(self.boxed.images[places][..., None], boxes)


def _measured(found: Annotations, asked: Sequence[Sequence[Any]], size: int) -> BoxedImages:
    with meter("images") as report:
        return read_images(found, asked, size, report)


def _key(file: Path, found: Annotations, size: int) -> list[object]:
    """Return names, sizes and times of all files: they change with the images and their boxes."""
    stats = []
    for path in (file, *(each.file for each in found.pictures)):
        require_regular(path)
        stats.append([path.as_posix(), path.stat().st_size, path.stat().st_mtime_ns])
    # The boxes of a category are asked in an order that follows from the file alone.
    return ["boxes", size, stats]
