"""Examples that cannot be learned from cost one line before any training, in a process of their own."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.small_runs import metarl

CLASSES = [f"c{number}" for number in range(10)]


def _images(*more: tuple[str, int], without: str = "", content: bytes | None = None) -> Callable[[Path], list[str]]:
    """Write two images of each of ten classes and of `more`; with `content` as that of one image."""

    def arguments(folder: Path) -> list[str]:
        for name, count in [*((name, 2) for name in CLASSES if without == ""), *more]:
            (folder / "data" / name).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                Image.new("L", (8, 8), number).save(folder / "data" / name / f"{number}.png")
        if content is not None:
            (folder / "data" / "c3" / "1.png").write_bytes(content)
        return ["image-classes", f"family.folder={folder / 'data'}", "family.queries=1", "family.ways=2"]

    return arguments


def _texts(content: str | bytes) -> Callable[[Path], list[str]]:
    def arguments(folder: Path) -> list[str]:
        (folder / "texts.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["text-classes", f"family.file={folder / 'texts.csv'}", "family.queries=1", "family.ways=2"]

    return arguments


def _ratings(content: str | bytes, *settings: str) -> Callable[[Path], list[str]]:
    def arguments(folder: Path) -> list[str]:
        (folder / "mine.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        return ["ratings", f"family.file={folder / 'mine.csv'}", *settings]

    return arguments


RATED = "user,item,rating\n" + "".join(f"u{user},i{item},{1 + user % 5}\n" for user in range(30) for item in range(15))
ROWS = "".join(f"text {number},c{label}\n" for label in range(10) for number in range(2))

BAD: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "few images": (_images(("few", 1)), "class 'few' of folder '.*data' has 1 image, and shots [+] queries is 2; add"),
    "one class of images": (_images(("one", 3), without="others"), "has 1 class; put images of several into a folder"),
    "no image": (_images(without="others"), "folder '.*data' is not there; give the folder"),
    "unreadable image": (_images(content=b"no image"), r"image '.*1.png' cannot be read \(UnidentifiedImageError\)"),
    "empty image": (_images(content=b""), r"image '.*1.png' cannot be read \(it is empty\); replace the file, or rem"),
    "class of images in two splits": (
        _images(("train/a", 2), ("test/a", 2), without="others"),
        "class 'a' of folder '.*' is in split 'test' and in 'train'; keep it in one",
    ),
    "too few classes": (_images(("train/a", 2), ("test/b", 2), without="others"), "has no class for split 'validation"),
    "text in another encoding": (
        _texts("text,label\nÇad,a\n".encode("cp1252")),
        "file 'texts.csv' is not UTF-8 at byte 11; save it as UTF-8",
    ),
    "few texts": (_texts(f"text,label\n{ROWS}x,few\n"), "class 'few' of file 'texts.csv' has 1 text, and shots [+] q"),
    "texts that begin alike": (
        _texts(f"text,label\n{ROWS}{'x' * 40}1,few\n{'x' * 40}2,few\n"),
        "class 'few' of file 'texts.csv' has 1 text, and shots [+] queries is 2; add texts",
    ),
    "one class of texts": (_texts("text,label\nx,a\ny,a\n"), "file 'texts.csv' has 1 label; give texts of several"),
    "no text": (_texts("text,label\n"), "file 'texts.csv' has 0 labels; give texts of several"),
    "class of texts in two splits": (
        _texts("text,label,split\nx,a,train\ny,a,test\n"),
        "label 'a' of file 'texts.csv' is in split 'train' and, in line 3, in 'test'; keep it in one",
    ),
    "a rating outside the scale": (
        _ratings(f"{RATED}u1,i99,7\n", "family.scale=[1,5]"),
        "file 'mine.csv' has rating 7 in line 452, outside the scale from 1 to 5; correct it, or give the scale",
    ),
    "a rating twice": (
        _ratings(f"{RATED}u1,i3,2\n"),
        "file 'mine.csv' has item 'i3' of user 'u1' in line 452 again, after line 20; keep one of both ratings",
    ),
    "users with one rating": (
        _ratings("user,item,rating\n" + "".join(f"u{user},i1,{1 + user % 5}\n" for user in range(30))),
        "none of the 24 users in split 'train' of file 'mine.csv' has 15 ratings; lower shots or queries, or add users",
    ),
    "no ratings": (_ratings("user,item,rating\n"), "file 'mine.csv' has no ratings; give a user, an item and a rating"),
    "an empty file of ratings": (_ratings(""), "file 'mine.csv' has no column 'user' in line 1, but none; add it"),
    "ratings in another encoding": (
        _ratings("user,item,rating\nÇad,x,1\n".encode("cp1252")),
        "file 'mine.csv' is not UTF-8 at byte 17, in line 2; save it as UTF-8",
    ),
    "ratings without times in their order": (
        _ratings(RATED, "family.order=time"),
        "order is 'time', and the ratings of file 'mine.csv' have no times; add a column timestamp, or take order: ra",
    ),
}
"""Name of the mistake to what makes the family's settings, and what the line says."""


@pytest.mark.parametrize("name", BAD)
def test_bad_examples_are_told_in_one_line_before_training(name: str, tmp_path: Path) -> None:
    arguments, words = BAD[name]
    family, *settings = arguments(tmp_path)
    run, cache = tmp_path / "run", str(tmp_path / "cache")
    options = ["--family", family, "--agent", "prototypes", "num_updates=1", *settings, "--run-dir", run]
    done = metarl("train", *options, METARL_CACHE=cache)
    assert done.returncode == 2
    assert done.stdout == "" and not run.exists()
    (line,) = done.stderr.splitlines()
    assert re.search(words, line), line
