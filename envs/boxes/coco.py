"""Folders of images with the JSON of COCO: which categories they show, and where.

https://cocodataset.org/#format-data: `images` with `id` and `file_name`, `categories` with `id` and `name`, and
`annotations` with `image_id`, `category_id` and `bbox`, that is left, top, width and height in pixels.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metarl.base.errors import MetarlError, did_you_mean
from metarl.base.meter import Report, counted, ignore

from ..images.folders import MOST_PIXELS, to_grey, unreadable

SLACK = 1.0
"""Pixels by which a box may lie outside of its image: published ones do, by rounding. It is cut off."""


class Instance(NamedTuple):
    """A box in an image."""

    image: int
    """Place of the image."""
    category: int
    """Place of the category."""
    box: tuple[float, float, float, float]
    """Left, top, width and height in pixels."""
    crowd: bool
    """Whether it is around several things at once."""
    row: str
    """Where it stands, for messages."""


class Picture(NamedTuple):
    """An image's file, and its sides in pixels as the JSON has them, None where it has none."""

    file: Path
    sides: tuple[int, int] | None
    row: str
    """Where it stands, for messages."""


class Annotations(NamedTuple):
    """What the JSON of a folder says."""

    origin: str
    """Where it comes from, for messages."""
    categories: tuple[str, ...]
    """Names, ascending."""
    pictures: tuple[Picture, ...]
    instances: tuple[Instance, ...]


@dataclass(frozen=True, eq=False)
class BoxedImages:
    """Images, and the boxes of each category in them."""

    images: np.ndarray
    """uint8 [image, size, size]"""
    boxes: np.ndarray
    """Left, top, right and bottom of each box as shares of its image's sides. float32 [box, 4]"""


def find_annotations(folder: Path) -> Path:
    """Return the file of annotations in a folder. Raises MetarlError unless there is one."""
    if not folder.is_dir():
        raise MetarlError(f"folder {str(folder)!r} is not there; give the folder of a data set in COCO's format")
    places = [folder, folder / "annotations"]
    found = [path for place in places for path in sorted(place.glob("annotations*.json")) if path.is_file()]
    found += [path for place in places for path in sorted(place.glob("instances*.json")) if path.is_file()]
    if len(found) != 1:
        told = "no annotations.json or instances*.json" if not found else f"{found[0].name} and {found[1].name}"
        raise MetarlError(f"folder {str(folder)!r} has {told}; keep one file of annotations in it")
    return found[0]


def read_annotations(file: Path, folder: Path) -> Annotations:
    """Return what a file of annotations says. Raises MetarlError, which names file and row, where it breaks a rule."""
    rows = _Rows(file)
    categories: dict[int, str] = {}
    for row, each in rows.of("categories"):
        categories[rows.new_id(row, each, categories)] = rows.word(row, each, "name")
    if double := [name for name in categories.values() if list(categories.values()).count(name) > 1]:
        raise MetarlError(f"{file}: categories: two have the name {double[0]!r}; give each a name of its own")
    names = tuple(sorted(categories.values()))
    pictures: dict[int, Picture] = {}
    for row, each in rows.of("images"):
        number = rows.new_id(row, each, pictures)
        pictures[number] = Picture(
            _image_file(folder, rows.word(row, each, "file_name"), file, row), rows.sides(row, each), row
        )
    places = {number: place for place, number in enumerate(pictures)}
    instances = []
    for row, each in rows.of("annotations"):
        image, category = rows.known(row, each, "image_id", places), rows.known(row, each, "category_id", categories)
        box = rows.box(row, each, list(pictures.values())[places[image]].sides)
        crowd = bool(each.get("iscrowd", 0))
        instances.append(Instance(places[image], names.index(categories[category]), box, crowd, f"{file}: {row}"))
    return Annotations(f"folder {str(folder)!r}", names, tuple(pictures.values()), tuple(instances))


class _Rows:
    """Reads the rows of a file of annotations, with a line for each fault."""

    def __init__(self, file: Path) -> None:
        self.file = file
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, RecursionError, json.JSONDecodeError) as error:
            raise MetarlError(f"{file} is no JSON that can be read ({error}); repair or replace it") from None
        if not isinstance(document, dict):
            raise MetarlError(f"{file} holds a {type(document).__name__}; COCO's format is an object with lists")
        self.document: Mapping[str, Any] = document

    def fault(self, row: str, what: str) -> MetarlError:
        return MetarlError(f"{self.file}: {row} {what}")

    def of(self, key: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the rows of a list with their names."""
        rows = self.document.get(key)
        if not isinstance(rows, list) or not rows:
            raise MetarlError(f"{self.file} has no {key!r}; COCO's format has images, categories and annotations")
        for place, each in enumerate(rows):
            if not isinstance(each, dict):
                raise self.fault(f"{key}[{place}]", f"is {str(each)[:40]!r}; it must be an object")
        return [(f"{key}[{place}]", each) for place, each in enumerate(rows)]

    def new_id(self, row: str, each: Mapping[str, Any], known: Mapping[int, object]) -> int:
        """Return the id of a row. Raises MetarlError for one that is none, or is another row's."""
        number = each.get("id")
        if not isinstance(number, int) or isinstance(number, bool):
            raise self.fault(row, f"has id {number!r}; it must be a whole number")
        if number in known:
            raise self.fault(row, f"has id {number}, which an earlier row has; give each an id of its own")
        return number

    def word(self, row: str, each: Mapping[str, Any], key: str) -> str:
        found = each.get(key)
        if not isinstance(found, str) or not found:
            raise self.fault(row, f"has {key} {found!r}; it must be a text")
        return found

    def known(self, row: str, each: Mapping[str, Any], key: str, known: Mapping[int, object]) -> int:
        found = each.get(key)
        if not isinstance(found, int) or found not in known:
            raise self.fault(row, f"has {key} {found!r}, which no row has; {did_you_mean(str(found), map(str, known))}")
        return found

    def sides(self, row: str, each: Mapping[str, Any]) -> tuple[int, int] | None:
        """Return width and height where a row has both."""
        found = each.get("width"), each.get("height")
        if found == (None, None):
            return None
        if not all(isinstance(side, int) and side > 0 for side in found):
            raise self.fault(row, f"has width {found[0]!r} and height {found[1]!r}; they must be whole numbers above 0")
        return found  # type: ignore[return-value]

    def box(
        self, row: str, each: Mapping[str, Any], sides: tuple[int, int] | None
    ) -> tuple[float, float, float, float]:
        """Return a box. Raises MetarlError unless it has an area and lies in an image of these sides."""
        found = each.get("bbox")
        if not (isinstance(found, list) and len(found) == 4 and all(_is_finite(number) for number in found)):
            raise self.fault(row, f"has bbox {found!r}; it must be left, top, width and height in pixels")
        left, top, width, height = map(float, found)
        if width <= 0 or height <= 0:
            raise self.fault(row, f"has bbox {found}, which has no area; remove it, or give it a width and a height")
        if sides is not None:
            require_inside(f"{self.file}: {row}", (left, top, width, height), sides)
        return left, top, width, height


def require_inside(row: str, box: tuple[float, float, float, float], sides: tuple[int, int]) -> None:
    """Raise MetarlError unless a box lies in an image of these sides, but for `SLACK`."""
    left, top, width, height = box
    if min(left, top) < -SLACK or left + width > sides[0] + SLACK or top + height > sides[1] + SLACK:
        raise MetarlError(
            f"{row} has bbox {list(box)}, which lies outside of its image of {sides[0]} x {sides[1]} pixels; a bbox is "
            "left, top, width and height"
        )


def _is_finite(number: object) -> bool:
    return isinstance(number, (int, float)) and not isinstance(number, bool) and math.isfinite(number)


def _image_file(folder: Path, name: str, file: Path, row: str) -> Path:
    """Return the file of an image: in the folder, in `images`, or in the one that the annotations are named for."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise MetarlError(f"{file}: {row} has file_name {name!r}; it must lie in the folder")
    for place in (folder, folder / "images", folder / file.stem.rpartition("_")[2]):
        if (found := place / name).is_file():
            return found
    raise MetarlError(f"{file}: {row} has file_name {name!r}, which is not there; put it into {folder / 'images'}")


def share_images(
    found: Annotations, shared: Mapping[str, Sequence[int]], needed: int
) -> tuple[tuple[Instance, ...], ...]:
    """Return the boxes that tasks of each category ask for, one in each of its images.

    An image counts for a category where it has one box of it, none of them around a crowd, and no box of a later split:
    training never sees a category of validation or test. Raises MetarlError for a category with fewer than `needed`.
    """
    order = {category: place for place, split in enumerate(shared) for category in shared[split]}
    latest: dict[int, int] = defaultdict(int)
    by_image: dict[tuple[int, int], list[Instance]] = defaultdict(list)
    for each in found.instances:
        latest[each.image] = max(latest[each.image], order[each.category])
        by_image[each.category, each.image].append(each)
    kept: list[list[Instance]] = [[] for _ in found.categories]
    for (category, image), boxes in sorted(by_image.items()):
        if len(boxes) == 1 and not boxes[0].crowd and latest[image] == order[category]:
            kept[category].append(boxes[0])
    for name, boxes in zip(found.categories, kept, strict=True):
        if len(boxes) < needed:
            raise MetarlError(
                f"category {name!r} of {found.origin} has {len(boxes)} images with one box of it and none of a later "
                f"split, and shots + queries is {needed}; add images, remove the category, or lower shots or queries"
            )
    return tuple(map(tuple, kept))


def read_images(
    found: Annotations, asked: Sequence[Sequence[Instance]], size: int, report: Report = ignore
) -> BoxedImages:
    """Return the images of all boxes as greyscale squares, those of a category behind each other.

    Raises MetarlError for an image that cannot be read or has other sides than the JSON says, and for a box outside.
    """
    read: dict[int, tuple[np.ndarray, tuple[int, int]]] = {}
    instances = [each for boxes in asked for each in boxes]
    images, boxes = np.empty((len(instances), size, size), dtype=np.uint8), np.empty((len(instances), 4))
    for place, each in enumerate(counted(instances, report, len(instances))):
        if each.image not in read:
            read[each.image] = _read(found.pictures[each.image], size)
        images[place], sides = read[each.image]
        require_inside(each.row, each.box, sides)
        left, top, width, height = each.box
        corners = np.array([left, top, left + width, top + height]) / (*sides, *sides)
        boxes[place] = corners.clip(0, 1)
    return BoxedImages(images, boxes.astype(np.float32))


def _read(picture: Picture, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Return an image as a grey square, and its sides in pixels. What a tag of its file says of its turn is ignored."""
    from PIL import Image

    try:
        with Image.open(picture.file) as image:
            sides = image.width, image.height
            if sides[0] * sides[1] > MOST_PIXELS:
                raise MetarlError(f"image {str(picture.file)!r} has {sides[0]} x {sides[1]} pixels; make it smaller")
            if picture.sides not in (None, sides):
                raise MetarlError(
                    f"image {str(picture.file)!r} has {sides[0]} x {sides[1]} pixels, and {picture.row} says "
                    f"{picture.sides}; repair the one that is wrong"
                )
            return np.asarray(to_grey(image).resize((size, size), Image.Resampling.LANCZOS)), sides
    except MetarlError:
        raise
    except Exception as error:  # a decoder of a damaged file raises errors of many kinds
        raise unreadable(picture.file, f"{type(error).__name__}, {picture.row}") from None
