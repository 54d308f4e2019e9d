"""Folders of images: layouts, splits, images of every mode, and one line for each fault."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from metarl.envs.images.image_classes import ImageClasses
from PIL import Image

from metarl.base.errors import MetarlError
from metarl.families.load import load
from metarl.families.questions import require_questions

SMALL = {"ways": 2, "shots": 1, "queries": 1, "size": 8}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METARL_CACHE", str(tmp_path / "cache"))


def write(folder: Path, classes: Mapping[str, int]) -> str:
    """Write as many images of each class as it says, each of a grey of its own."""
    grey = 0
    for name, count in classes.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new("L", (8, 8), grey % 256).save(folder / name / f"{number}.png")
            grey += 1
    return str(folder)


def splits(folder: str, **settings: object) -> dict[str, set[str]]:
    """Return the names of the classes of each split."""
    family = require_questions(load("image-classes", folder=folder, **{**SMALL, **settings}))
    names = family.images.classes  # type: ignore[attr-defined]
    parameter = family.parameters["classes"]
    return {
        split: {names[int(value)] for value in parameter.of(split).values}  # type: ignore[attr-defined]
        for split in ("train", "validation", "test")
    }


def group(name: str) -> str:
    return name.rpartition("/")[0]


def test_classes_of_a_flat_folder_are_shared_out_60_20_20(tmp_path: Path) -> None:
    found = splits(write(tmp_path / "data", {f"class {n}": 2 for n in range(10)}))
    assert {split: len(names) for split, names in found.items()} == {"train": 6, "validation": 2, "test": 2}
    assert len(set().union(*found.values())) == 10


def test_groups_are_kept_whole_unless_classes_are_to_be_split(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", {f"group {g}/class {n}": 2 for g in range(5) for n in range(3)})
    groups = {split: {group(name) for name in names} for split, names in splits(folder).items()}
    assert {split: len(each) for split, each in groups.items()} == {"train": 3, "validation": 1, "test": 1}
    by_class = {split: {group(name) for name in names} for split, names in splits(folder, split_by="classes").items()}
    assert by_class["train"] & by_class["test"]


def test_more_classes_leave_most_of_the_splits_as_they_are(tmp_path: Path) -> None:
    before = splits(write(tmp_path / "data", {f"class {n:02}": 2 for n in range(20)}))
    after = splits(write(tmp_path / "data", {"class 00a": 2}))
    assert len(before["train"] & after["train"]) >= 11


def test_folders_of_splits_are_kept_and_validation_is_cut_from_training_where_it_is_missing(tmp_path: Path) -> None:
    whole = {f"{split}/class {split} {n}": 2 for split in ("train", "val", "test") for n in range(2)}
    assert splits(write(tmp_path / "whole", whole)) == {
        "train": {"class train 0", "class train 1"},
        "validation": {"class val 0", "class val 1"},
        "test": {"class test 0", "class test 1"},
    }
    part = {f"train/{n}": 2 for n in range(10)} | {"test/a": 2, "test/b": 2}
    found = splits(write(tmp_path / "part", part))
    assert (len(found["train"]), len(found["validation"]), found["test"]) == (8, 2, {"a", "b"})


def test_omniglots_layout_has_alphabets_for_groups_and_its_evaluation_set_for_tests(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "omniglot",
        {f"images_background/Alphabet {a}/character{c:02}": 2 for a in range(5) for c in range(2)}
        | {f"images_evaluation/Script {a}/character{c:02}": 2 for a in range(2) for c in range(2)},
    )
    found = splits(folder)
    assert found["test"] == {f"Script {a}/character{c:02}" for a in range(2) for c in range(2)}
    assert {group(name) for name in found["train"]}.isdisjoint({group(name) for name in found["validation"]})
    assert (len(found["train"]), len(found["validation"])) == (8, 2)
    (tmp_path / "omniglot" / "images_evaluation").rename(tmp_path / "elsewhere")
    assert {len(names) for names in splits(folder).values()} == {6, 2}


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", {"train": 2, **TEN})
    assert "train" in set().union(*splits(folder).values())


def test_images_of_every_mode_and_size_become_grey_squares(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    write(folder, dict.fromkeys("abcdefghij", 2))
    half = np.full((20, 10), 32896, dtype=np.uint16)
    made = [
        Image.new("RGB", (30, 9), (128, 128, 128)),
        Image.new("RGBA", (9, 30), (0, 0, 0, 127)),
        Image.new("LA", (5, 5), (128, 255)),
        Image.new("L", (8, 8), 128).convert("P"),
        Image.fromarray(half),
        Image.fromarray(half.astype(np.int32)),
    ]
    for number, image in enumerate(made):
        image.save(folder / "a" / f"m{number}{'.tif' if image.mode == 'I' else '.png'}")
    family = load("image-classes", folder=str(folder), **SMALL)
    images = require_questions(family).images  # type: ignore[attr-defined]
    assert images.counts[0] == 8
    np.testing.assert_allclose(images.images[2:8].astype(int), 128, atol=1)


def test_a_changed_image_is_read_again_and_an_unchanged_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "data", dict.fromkeys("abcdefghij", 2))

    def first() -> int:
        family = load("image-classes", folder=folder, **SMALL)
        return int(require_questions(family).images.images[0, 0, 0])  # type: ignore[attr-defined]

    assert first() == 0
    Image.new("L", (8, 8), 77).save(tmp_path / "data" / "a" / "0.png")
    os.utime(tmp_path / "data" / "a" / "0.png", ns=(1, 1))
    assert first() == 77
    monkeypatch.setattr("metarl.envs.images.stored.STORE.made", {})
    monkeypatch.setattr("metarl.envs.images.image_classes.read_classes", lambda *arguments: pytest.fail("read again"))
    assert first() == 77
    for file in (tmp_path / "cache" / "images").iterdir():
        file.write_bytes(file.read_bytes()[:50])
    monkeypatch.undo()
    monkeypatch.setenv("METARL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("metarl.envs.images.stored.STORE.made", {})
    assert first() == 77


TEN = {f"c{n}": 2 for n in range(10)}


@pytest.mark.parametrize(
    ("classes", "settings", "words"),
    [
        ({**TEN, "few": 1}, {}, "class 'few' of folder .* has 1 image, and shots [+] queries is 2; add images"),
        ({"one": 5}, {}, "has 1 class; put images of several into a folder each"),
        (TEN, {"ways": 3}, "ways is 3, and split 'validation' of folder .* has 2 classes; lower ways"),
        ({"train/a": 2, "test/a": 2}, {}, "class 'a' of folder .* is in split 'test' and in 'train'; keep it in one"),
        ({"train/a": 2, "val/b": 2}, {}, "has train, val, but no test; add that folder"),
        ({"train/a": 2, "test/b": 2, "cats/c": 2}, {}, "and others, such as 'cats'; put every class into a split"),
        ({".": 1, **TEN}, {}, "holds images of no class; put each class into a folder"),
        ({"a/x": 2, "b/x": 2, "a/y": 2}, {"split_by": "groups"}, "has 2 groups; split_by 'groups' needs 3"),
        ({"a": 2, "b": 2}, {}, "has no class for split 'validation'; add classes"),
    ],
)
def test_what_is_wrong_with_a_folder_is_told_in_one_line(
    tmp_path: Path, classes: dict[str, int], settings: dict[str, object], words: str
) -> None:
    with pytest.raises(MetarlError, match=words) as caught:
        load("image-classes", folder=write(tmp_path / "data", classes), **{**SMALL, **settings})
    assert "\n" not in str(caught.value)


def test_a_missing_folder_and_unreadable_images_are_told_in_one_line(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", TEN)
    with pytest.raises(MetarlError, match=r"nowhere' is not there; give the folder that holds the folders of classes"):
        load("image-classes", folder=str(tmp_path / "nowhere"), **SMALL)
    damaged = tmp_path / "data" / "c3" / "1.png"
    whole = damaged.read_bytes()
    for data, why in (
        (b"", "it is empty"),
        (b"no image", "UnidentifiedImageError"),
        (whole[:-25], "OSError|SyntaxError"),
    ):
        damaged.write_bytes(data)
        with pytest.raises(MetarlError, match=rf"image '.*1.png' cannot be read \(({why})\); replace the file"):
            load("image-classes", folder=folder, **SMALL)


def test_more_images_than_memory_holds_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "data", TEN)
    monkeypatch.setattr("metarl.envs.images.folders.available_memory", lambda: 2 * 20 * 64 - 1)
    with pytest.raises(MetarlError, match=r"has 20 images, which take 0.0 GiB at size 8; .* are free: lower size"):
        load("image-classes", folder=folder, **SMALL)


def test_links_that_lead_nowhere_streams_and_closed_folders_are_told_and_circles_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, data = write(tmp_path / "data", TEN), tmp_path / "data"
    (data / "c1" / "again").symlink_to(data)
    assert sum(map(len, splits(folder).values())) == 10
    for make, words in (
        (lambda path: path.symlink_to(tmp_path / "gone"), "x.png' cannot be read .No such file or directory."),
        (os.mkfifo, "x.png is a FIFO; give the path of a file"),
    ):
        make(data / "c2" / "x.png")
        with pytest.raises(MetarlError, match=words):
            load("image-classes", folder=folder, **SMALL)
        (data / "c2" / "x.png").unlink()
    scan = os.scandir

    def closed(path: str) -> object:
        if str(path).endswith("c3"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr("os.scandir", closed)
    with pytest.raises(MetarlError, match=r"folder '.*c3' cannot be read .Permission denied."):
        load("image-classes", folder=folder, **SMALL)


def test_observed_files_are_the_images_that_the_folder_has(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", {f"class {n}": 2 for n in range(10)})
    family = load("image-classes", folder=folder, **SMALL)
    assert isinstance(family, ImageClasses)
    place = family.images.classes.index("class 3")
    held = family.images.images[family.images.firsts[place] :][:2]
    files = [f"{folder}/class 3/{n}.png" for n in range(2)]
    np.testing.assert_array_equal(family.observe(files)[..., 0], held)
    assert family.observe([]).shape == (0, *family.observation_space.shape)
    with pytest.raises(MetarlError, match=r"image .*none\.png' cannot be read \(there is no such file\)"):
        family.observe([files[0], tmp_path / "none.png"])
