"""Images in folders: each folder that holds images is a class."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from metarl.base.errors import MetarlError
from metarl.base.files import require_regular
from metarl.base.memory import available_memory
from metarl.base.meter import Report, counted, ignore
from metarl.base.text import with_noun

from .image_set import ImageSet

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Endings of the files that are read; others are left alone."""
SPLIT_FOLDERS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
    "images_background": "train",
    "images_evaluation": "test",
}
"""Split by the name of a top folder; the last two are Omniglot's."""
MOST_PIXELS = 10**8
"""Most pixels of an image file."""


class Folder(NamedTuple):
    """A class: its name, its group, its split ('' where no folder names one), and its files."""

    name: str
    group: str
    split: str
    files: tuple[Path, ...]


def find_classes(folder: Path) -> list[Folder]:
    """Return the classes in a folder, by name. Raises MetarlError where it holds none, or one in two splits."""
    if not folder.is_dir():
        raise MetarlError(f"folder {str(folder)!r} is not there; give the folder that holds the folders of classes")
    found = [(Path(os.path.relpath(parent, folder)), files) for parent, files in _walk(folder)]
    named = _split_folders(folder, [place for place, _ in found])
    classes: dict[str, Folder] = {}
    for place, files in sorted(found):
        split = SPLIT_FOLDERS[place.parts[0].lower()] if named else ""
        inner = Path(*place.parts[1:]) if named else place
        if not inner.parts:
            raise MetarlError(f"folder {str(folder / place)!r} holds images of no class; put each class into a folder")
        name = inner.as_posix()
        if name in classes:
            raise MetarlError(
                f"class {name!r} of folder {str(folder)!r} is in split {classes[name].split!r} and in {split!r}; "
                "keep it in one"
            )
        classes[name] = Folder(name, inner.parent.as_posix() if len(inner.parts) > 1 else "", split, files)
    if len(classes) < 2:
        raise MetarlError(
            f"folder {str(folder)!r} has {with_noun(len(classes), 'class')}; put images of several into a folder each"
        )
    return [classes[name] for name in sorted(classes)]


def _walk(folder: Path) -> Iterator[tuple[str, tuple[Path, ...]]]:
    """Yield each folder that holds images, with its images by name; links are followed, but into no circle."""
    seen = set()
    for parent, folders, names in os.walk(folder, onerror=_refuse, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        kept = (Path(parent, name) for name in sorted(names) if not name.startswith("."))
        if files := tuple(path for path in kept if path.suffix.lower() in SUFFIXES and not path.is_dir()):
            yield parent, files


def _split_folders(folder: Path, places: Sequence[Path]) -> set[str]:
    """Return the top folders that are splits. Raises MetarlError where they are not those of all classes."""
    tops = {place.parts[0] for place in places if place.parts}
    # A folder `train` of images may be a class, beside `bus` and `car`.
    named = {top for top in tops if top.lower() in SPLIT_FOLDERS and Path(top) not in places}
    if not named or named == {"images_background"}:
        return set()
    if others := sorted(tops - named):
        raise MetarlError(
            f"folder {str(folder)!r} has folders of splits, {', '.join(sorted(named))}, and others, such as "
            f"{others[0]!r}; put every class into a split, or none"
        )
    splits = {SPLIT_FOLDERS[top.lower()] for top in named}
    for split in ("train", "test"):
        if split not in splits:
            raise MetarlError(f"folder {str(folder)!r} has {', '.join(sorted(named))}, but no {split}; add that folder")
    return named


def fingerprint(classes: Sequence[Folder]) -> list[list[object]]:
    """Return names, sizes and times of all files: they change with the images."""
    return [[file.as_posix(), *_stat(file)] for each in classes for file in each.files]


def _stat(file: Path) -> tuple[int, int]:
    try:
        require_regular(file)
        found = file.stat()
    except OSError as error:  # a link that leads nowhere, say
        raise unreadable(file, str(error.strerror)) from None
    return found.st_size, found.st_mtime_ns


def _refuse(error: OSError) -> None:
    raise MetarlError(f"folder {str(error.filename)!r} cannot be read ({error.strerror}); let it be read, or remove it")


def unreadable(file: Path, why: str) -> MetarlError:
    """Return the error for an image that cannot be read."""
    return MetarlError(f"image {str(file)!r} cannot be read ({why}); replace the file, or remove it")


def read_classes(folder: Path, classes: Sequence[Folder], size: int, report: Report = ignore) -> ImageSet:
    """Return the images of all classes as greyscale squares.

    Raises MetarlError for one that cannot be read, and for more than memory holds.
    """
    files = [file for each in classes for file in each.files]
    # Once as they are, and once more when they are written to the cache.
    needed, free = 2 * len(files) * size**2, available_memory()
    if free is not None and needed > free:
        raise MetarlError(
            f"folder {str(folder)!r} has {len(files):,} images, which take {needed / 2**30:.1f} GiB at size {size}; "
            f"{free / 2**30:.1f} GiB are free: lower size"
        )
    images = np.empty((len(files), size, size), dtype=np.uint8)
    for place, file in enumerate(counted(files, report, len(files))):
        images[place] = read_image(file, size)
    return ImageSet(
        f"folder {str(folder)!r}",
        images,
        np.array([len(each.files) for each in classes]),
        tuple(each.name for each in classes),
        tuple(each.group for each in classes),
        tuple(each.split for each in classes),
    )


def read_image(file: Path, size: int, *, upright: bool = True) -> np.ndarray:
    """Return an image as a grey square, uint8 [size, size].

    `upright` turns it as a tag of its file says; boxes are told of images as they lie. Raises MetarlError for a file
    that cannot be read, or has too many pixels.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as image:
            if image.width * image.height > MOST_PIXELS:
                raise MetarlError(f"image {str(file)!r} has {image.width} x {image.height} pixels; make it smaller")
            grey = to_grey(ImageOps.exif_transpose(image) if upright else image)
            return np.asarray(grey.resize((size, size), Image.Resampling.LANCZOS))
    except MetarlError:
        raise
    except Exception as error:  # a decoder of a damaged file raises errors of many kinds
        raise unreadable(file, _why(file, error)) from None


def _why(file: Path, error: Exception) -> str:
    if not file.is_file():
        return "there is no such file"
    return "it is empty" if file.stat().st_size == 0 else type(error).__name__


def observe_files(files: Sequence[str | Path], size: int, *, upright: bool = True) -> np.ndarray:
    """Return images as grey squares, uint8 [file, size, size, 1]. Raises MetarlError as `read_image` does."""
    images = [read_image(Path(file), size, upright=upright) for file in files]
    return np.stack(images)[..., None] if images else np.zeros((0, size, size, 1), dtype=np.uint8)


def to_grey(image: Image.Image) -> Image.Image:
    """Return an image of any mode in 8-bit grey, what is transparent in it white."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):  # more than 8 bits, which `convert` would cut off
        values = np.asarray(image, dtype=np.float64)
        top = 65535.0 if image.mode.startswith("I") else max(1.0, float(values.max()))
        return Image.fromarray(np.clip(255 * values / top, 0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        colors = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(paper, colors).convert("L")
    return image.convert("L")
