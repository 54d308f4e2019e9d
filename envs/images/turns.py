"""Classes that look the same when their images are turned, and would be the same class twice."""

from __future__ import annotations

import functools
from typing import Literal

import numpy as np

from .glyphs import SHAPE, shape_of
from .image_set import ImageSet

Rotations = Literal["none", "different", "all"]
"""Turned classes: none; those that look like no other turn of their class; or all of them."""

ALIKE = {1: 0.82, 2: 0.87}
"""Correlation of a class's shapes with those turned by a quarter, and by a half, from which on both are one class.

They part the glyphs with a symmetry, such as O and + for quarters and N, S and Z for halves, from most others. A
quarter turn changes how a sheared image is sheared, and a half turn does not.
"""
COMPARED = 20
"""Most images of a class that are compared."""
INK = 64
"""Difference from the border of an image from which on a pixel is ink."""


def turns_of(images: ImageSet, rotations: Rotations) -> tuple[tuple[int, ...], ...]:
    """Return the turns of each class, in quarters, that are classes of a task. 0 is always among them."""
    count = len(images.classes)
    if rotations == "none":
        return ((0,),) * count
    return ((0, 1, 2, 3),) * count if rotations == "all" else different_turns(images)


@functools.lru_cache(maxsize=4)
def different_turns(images: ImageSet) -> tuple[tuple[int, ...], ...]:
    """Return the turns of each class without those that look like an earlier turn of it.

    A class looks the same when it is turned where, for the median image, the most alike of its turned images correlates
    with it by `ALIKE` or more. Images are compared as shapes: the ink alone, scaled and blurred.
    """
    found = []
    for first, count in zip(images.firsts, images.counts, strict=True):
        shapes = np.stack([_shape(image) for image in images.images[first : first + min(count, COMPARED)]])
        quarter, half = (_likeness(shapes, quarters) >= least for quarters, least in ALIKE.items())
        found.append((0,) if quarter else (0, 1) if half else (0, 1, 2, 3))
    return tuple(found)


def _shape(image: np.ndarray) -> np.ndarray:
    """Return the shape of what an image shows, float32 [SHAPE, SHAPE], of mean 0 and length 1; zeros for nothing."""
    from PIL import Image

    border = np.median(np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]))
    ink = np.abs(image.astype(np.int16) - int(border)).astype(np.uint8)
    box = Image.fromarray(255 * (ink >= INK).astype(np.uint8)).getbbox()
    if box is None:
        return np.zeros((SHAPE, SHAPE), dtype=np.float32)
    shape = shape_of(Image.fromarray(ink).crop(box)).reshape(SHAPE, SHAPE)
    centred: np.ndarray = shape - shape.mean()
    # Ink that fills its box has a shape too, that of the box: the margins are not ink.
    return centred / np.linalg.norm(centred)


def _likeness(shapes: np.ndarray, quarters: int) -> float:
    """Return how alike shapes [image, SHAPE, SHAPE] and the same ones turned are, from -1 to 1."""
    if not shapes.any():  # blank images look the same whichever way they are turned
        return 1.0
    turned = np.rot90(shapes, quarters, axes=(1, 2)).reshape(len(shapes), -1)
    return float(np.median((shapes.reshape(len(shapes), -1) @ turned.T).max(axis=1)))
