"""Glyphs on clutter: a target with its box among other glyphs, strokes and noise."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams

from ..images.glyphs import VERSION, Fonts, draw_glyphs, font_files
from ..images.image_set import ImageSet
from ..images.stored import stored
from .resample import resample

GLYPH_SIDE = 28
"""Side of the drawing of a glyph, in pixels, before it is scaled: that of `image-classes`, so that both share a set."""
INK = 64
"""Brightness from which on a pixel of a drawing is ink."""
STRETCH = 0.2
"""Largest logarithm by which a glyph is made wider or narrower."""
FAINTEST = 0.6
"""Least brightness of a glyph, 1 being the brightest."""
PLACES = 6
"""Places that are tried for each glyph; the one that hides the least of the others is taken."""
TEXTURES = 256
"""Different sheets of strokes and of noise; each is turned over and shifted by any number of pixels."""
STROKE = 0.7
"""Brightness of strokes."""
PER_GLYPH, PER_IMAGE = 5 + 2 * PLACES, 12
"""Random numbers of each glyph, and of each image."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A share of something, or a chance."""
Few = Annotated[int, Field(ge=0, le=50, strict=True)]
"""A number of things in an image."""


class Scene(NamedTuple):
    """Images with the boxes of their targets; the leading axes are those of who asked for them."""

    images: np.ndarray
    """uint8 [..., size, size]"""
    boxes: np.ndarray
    """Left, top, right and bottom as shares of the image's sides, then 1; five zeros without a target. float32 [...,
    5]"""


@dataclass(frozen=True)
class Clutter:
    """What an image holds beside its target, and how large glyphs are."""

    size: int
    """Side of an image in pixels."""
    distractors: int
    """Glyphs of other classes."""
    strokes: int
    """Strokes of a pen."""
    noise: float
    """Deviation of the noise of a pixel, as a share of the brightest."""
    scale: tuple[float, float]
    """Least and greatest longer side of a glyph, as a share of the image's."""
    occlusion: float
    """Chance that a part of the target is hidden."""

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0 < low <= high <= 1:
            raise MetarlError(f"scale is {list(self.scale)}; it must be two shares of the image, such as [0.25, 0.45]")
        if low * self.size < 4:
            raise MetarlError(
                f"scale begins at {low:g}, {low * self.size:.2g} pixels of {self.size}; glyphs must have 4 at least: "
                "raise scale or size"
            )


def glyph_set(fonts: Fonts) -> ImageSet:
    """Return the drawings of all glyphs, those of `image-classes`."""
    paths, digest = font_files(fonts)
    return stored(
        ["glyphs", VERSION, digest, GLYPH_SIDE, True, 1],
        lambda report: draw_glyphs(paths, GLYPH_SIDE, affine=True, enough=1, report=report),
    )


class Scenes:
    """Draws images. Other glyphs of an image are of the target's split, so training never sees a test class."""

    def __init__(self, glyphs: ImageSet, shared: Mapping[str, Sequence[int]], clutter: Clutter) -> None:
        self.glyphs, self.clutter = glyphs, clutter
        members = list(shared.values())
        if few := [split for split, places in shared.items() if len(places) < 2]:
            raise MetarlError(
                f"{glyphs.origin} have one class for split {few[0]!r}; take fonts that have more: distractors are of "
                "other classes"
            )
        self.members = np.zeros((len(members), max(map(len, members))), dtype=np.int64)
        """Classes of each split, [split, place]; zeros behind the last."""
        self.sizes = np.array([len(places) for places in members])
        """Classes of each split, [split]."""
        self.split, self.place = np.zeros((2, len(glyphs.classes)), dtype=np.int64)
        """Split of each class, and its place there, [class]."""
        for split, places in enumerate(members):
            self.members[split, : len(places)] = places
            self.split[list(places)], self.place[list(places)] = split, np.arange(len(places))
        self.ink = _ink_boxes(glyphs.images)

    def draw(self, classes: np.ndarray, count: int, streams: Streams, absent: float = 0.0) -> Scene:
        """Return `count` images for each of `classes` [world], [world, count, ...]; `absent` of them have no target."""
        num_glyphs, size = 1 + self.clutter.distractors, self.clutter.size
        per_image = num_glyphs * PER_GLYPH + PER_IMAGE
        drawn = streams.uniform((count, per_image)).reshape(len(classes) * count, per_image)
        of_glyphs = drawn[:, :-PER_IMAGE].reshape(len(drawn), num_glyphs, PER_GLYPH)
        of_image = drawn[:, -PER_IMAGE:]
        there = of_image[:, 0] >= absent
        targets = np.repeat(classes, count)
        kinds = self._others(targets, of_glyphs[..., 0])
        kinds[:, 0] = np.where(there, targets, kinds[:, 0])
        drawings = self.glyphs.firsts[kinds] + (of_glyphs[..., 1] * self.glyphs.counts[kinds]).astype(np.int64)
        boxes = self._place(self.ink[drawings], of_glyphs)
        canvas = np.zeros((len(drawn), size, size), dtype=np.float32)
        for glyph in range(num_glyphs):
            bright = (FAINTEST + (1 - FAINTEST) * of_glyphs[:, glyph, 4]) / 255
            layer = self._layer(drawings[:, glyph], boxes[:, glyph])
            np.maximum(canvas, layer * bright[:, None, None].astype(np.float32), out=canvas)
        self._hide(canvas, boxes[:, 0], of_image[:, 1:4])
        images = self._behind(canvas, of_image[:, 4:])
        right = np.concatenate([boxes[:, 0] / size, np.ones((len(drawn), 1))], axis=1) * there[:, None]
        lead = (len(classes), count)
        return Scene(images.reshape(*lead, size, size), right.reshape(*lead, 5).astype(np.float32))

    def _others(self, targets: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Return classes of the targets' splits that are not the targets, int64 [image, glyph]."""
        split = self.split[targets][:, None]
        place = (draws * (self.sizes[split] - 1)).astype(np.int64)
        return self.members[split, place + (place >= self.place[targets][:, None])]

    def _place(self, ink: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Return the boxes of glyphs in pixels, float64 [image, glyph, 4], of the boxes of their ink."""
        low, high = self.clutter.scale
        stretch = np.exp(STRETCH * (2 * draws[..., 3] - 1))
        sides = (ink[..., 2:] - ink[..., :2]) * np.stack([stretch, 1 / stretch], axis=-1)
        longer = self.clutter.size * (low + (high - low) * draws[..., 2])
        sides *= (longer / sides.max(axis=-1))[..., None]
        tried = draws[..., 5:].reshape(*draws.shape[:2], PLACES, 2) * (self.clutter.size - sides)[..., None, :]
        boxes = np.zeros((*draws.shape[:2], 4))
        for glyph in range(draws.shape[1]):
            corners = np.concatenate([tried[:, glyph], tried[:, glyph] + sides[:, glyph, None]], axis=-1)
            hidden = np.zeros(corners.shape[:2])
            for earlier in range(glyph):
                hidden += _shared_area(corners, boxes[:, earlier, None])
            best = hidden.argmin(axis=1)
            boxes[:, glyph] = corners[np.arange(len(corners)), best]
        return boxes

    def _layer(self, drawings: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return images with one glyph each, float32 [image, size, size] from 0 to 255."""
        size, ink = self.clutter.size, self.ink[drawings]
        step = (ink[:, 2:] - ink[:, :2]) / (boxes[:, 2:] - boxes[:, :2])
        corner = ink[:, :2] - boxes[:, :2] * step
        regions = np.concatenate([corner, corner + size * step], axis=1)
        return resample(self.glyphs.images[drawings], regions, (size, size))

    def _hide(self, canvas: np.ndarray, boxes: np.ndarray, draws: np.ndarray) -> None:
        """Blacken a quarter to two fifths of some of the boxes, from one of their four sides."""
        hidden = np.flatnonzero(draws[:, 0] < self.clutter.occlusion)
        side, share = (4 * draws[hidden, 1]).astype(np.int64), 0.25 + 0.15 * draws[hidden, 2]
        parts = boxes[hidden].copy()
        axis, far = side % 2, side // 2
        rows = np.arange(len(hidden))
        extent = parts[rows, axis + 2] - parts[rows, axis]
        # From a near side the far edge moves in, and from a far side the near edge.
        edge = np.where(far == 0, parts[rows, axis] + share * extent, parts[rows, axis + 2] - share * extent)
        parts[rows, axis + 2 * (1 - far)] = edge
        middles = np.arange(self.clutter.size) + 0.5
        across, down = (np.logical_and(middles >= parts[:, a, None], middles < parts[:, a + 2, None]) for a in (0, 1))
        canvas[hidden] *= np.logical_not(np.logical_and(down[:, :, None], across[:, None]))

    def _behind(self, canvas: np.ndarray, draws: np.ndarray) -> np.ndarray:
        """Return glyphs on strokes and under noise, uint8 [image, size, size]."""
        clutter = self.clutter
        if clutter.strokes:
            sheets = _shifted(stroke_sheets(clutter.size, clutter.strokes), draws[:, :4])
            np.maximum(canvas, sheets, out=canvas)
        if clutter.noise:
            canvas = canvas + np.float32(clutter.noise) * _shifted(noise_sheets(clutter.size), draws[:, 4:])
        return np.rint(255 * canvas.clip(0, 1)).astype(np.uint8)


def _ink_boxes(images: np.ndarray) -> np.ndarray:
    """Return left, top, right and bottom of the ink of drawings, float64 [drawing, 4]; the whole of those without."""
    ink = images >= INK
    edges = []
    for axis in (1, 2):
        along: np.ndarray = np.any(ink, axis=axis)
        edges.append((along.argmax(axis=1), along.shape[1] - along[:, ::-1].argmax(axis=1)))
    (left, right), (top, bottom) = edges
    return np.stack([left, top, right, bottom], axis=1).astype(np.float64)


def _shared_area(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the area that boxes [..., 4] share, [...]."""
    sides = np.minimum(ours[..., 2:], theirs[..., 2:]) - np.maximum(ours[..., :2], theirs[..., :2])
    sides = np.maximum(sides, 0)
    return sides[..., 0] * sides[..., 1]


def _shifted(sheets: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return a sheet for each image, shifted around and in one of four turns over, float32 [image, size, size]."""
    size = sheets.shape[1]
    sheet, over = (draws[:, 0] * len(sheets)).astype(np.int64), (4 * draws[:, 1]).astype(np.int64)
    places = []
    for axis in (0, 1):
        place = (np.arange(size) + (draws[:, 2 + axis, None] * size).astype(np.int64)) % size
        places.append(np.where((over // (1 + axis) % 2 == 1)[:, None], size - 1 - place, place))
    return sheets[sheet[:, None, None], places[0][:, :, None], places[1][:, None, :]]


@functools.lru_cache(maxsize=4)
def stroke_sheets(size: int, strokes: int) -> np.ndarray:
    """Return sheets of straight strokes, float32 [sheet, size, size]."""
    from PIL import Image, ImageDraw

    draws = Streams.of(0, "strokes", np.arange(TEXTURES)).uniform((strokes, 6))
    sheets = []
    for each in draws:
        sheet = Image.new("L", (4 * size, 4 * size))
        for x, y, angle, length, width, bright in each.tolist():
            reach = 4 * size * (0.1 + 0.3 * length)
            end = (
                4 * size * x + reach * math.cos(2 * math.pi * angle),
                4 * size * y + reach * math.sin(2 * math.pi * angle),
            )
            grey = round(255 * STROKE * (0.6 + 0.4 * bright))
            ImageDraw.Draw(sheet).line((4 * size * x, 4 * size * y, *end), fill=grey, width=round(4 + 4 * width))
        sheets.append(np.asarray(sheet.reduce(4), dtype=np.float32) / 255)
    return np.stack(sheets)


@functools.lru_cache(maxsize=4)
def noise_sheets(size: int) -> np.ndarray:
    """Return sheets of standard normal numbers, float32 [sheet, size, size]."""
    return Streams.of(0, "noise", np.arange(TEXTURES)).normal((size, size)).astype(np.float32)
