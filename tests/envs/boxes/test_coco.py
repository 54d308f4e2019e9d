"""Folders of images with COCO's JSON: which images are asked, and one line for each fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from metarl.envs.boxes.glyph_boxes import GlyphBoxes
from PIL import Image

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.checks.check import check_family
from metarl.families.load import load
from metarl.families.questions import require_questions

Document = dict[str, Any]
SMALL = {"size": 16, "shots": 1, "queries": 2}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METARL_CACHE", str(tmp_path / "cache"))


def document(categories: int = 5, images: int = 3) -> Document:
    """Return a document in which each image of 40 x 20 pixels has one bright box of one category."""
    rows: Document = {"images": [], "categories": [], "annotations": []}
    for category in range(categories):
        rows["categories"].append({"id": category + 10, "name": f"kind {category}"})
        for _ in range(images):
            number = len(rows["images"])
            rows["images"].append({"id": number, "file_name": f"{number}.png", "width": 40, "height": 20})
            box = [8 + number % 3, 5, 20, 10]
            rows["annotations"].append({"id": number, "image_id": number, "category_id": category + 10, "bbox": box})
    return rows


def write(folder: Path, rows: Document, name: str = "annotations.json") -> str:
    (folder / "images").mkdir(parents=True)
    for row in rows["images"]:
        image = np.zeros((20, 40), dtype=np.uint8)
        for each in rows["annotations"]:
            if each["image_id"] == row["id"]:
                left, top, width, height = each["bbox"]
                image[top : top + height, left : left + width] = 160 + 9 * (each["category_id"] - 10)
        Image.fromarray(image).save(folder / "images" / row["file_name"])
    (folder / name).write_text(json.dumps(rows))
    return str(folder)


def make(folder: str, **settings: Any) -> GlyphBoxes:
    family = require_questions(load("glyph-boxes", folder=folder, **{**SMALL, **settings}))
    assert isinstance(family, GlyphBoxes)
    return family


def test_boxes_are_shares_of_the_sides_and_stand_where_the_image_is_bright(tmp_path: Path) -> None:
    family = make(write(tmp_path / "data", document()))
    assert {split: len(places) for split, places in family.images.shared.items()} == {
        "train": 3,
        "validation": 1,
        "test": 1,
    }
    tasks = family.sample("train", 3, seed=0)
    streams = Streams.of(0, "x", np.arange(3))
    trial = family.prepare(tasks.values, streams)
    shown, asked = (family.ask(tasks.values, trial, number, streams) for number in (0, 1))
    for world in range(3):
        left = {round(float(40 * each[0])) for each in (*shown.targets[world], *asked.targets[world])}
        assert left == {8, 9, 10}  # all three images of the category, each once
        for image, (x0, y0, x1, y1, there) in zip(asked.observations[world], asked.targets[world], strict=True):
            np.testing.assert_allclose([x1 - x0, y0, y1, there], [0.5, 0.25, 0.75, 1.0])
            inside = image[5:11, round(16 * x0) + 1 : round(16 * x1) - 1, 0]
            assert inside.min() > 150


def test_it_keeps_every_rule_of_families(tmp_path: Path) -> None:
    assert check_family(make(write(tmp_path / "data", document(), "instances_val.json"))) == []


def names_of(family: GlyphBoxes, split: str) -> list[str]:
    return [family.images.kinds.classes[place] for place in family.images.shared[split]]


def test_an_image_with_several_boxes_a_crowd_or_a_later_split_is_left_out(tmp_path: Path) -> None:
    rows = document(images=6)
    family = make(write(tmp_path / "first", rows))
    train, test = (names_of(family, split)[0] for split in ("train", "test"))
    numbers = {each["name"]: each["id"] for each in rows["categories"]}
    of_train = [each for each in rows["annotations"] if each["category_id"] == numbers[train]]
    of_test = [each for each in rows["annotations"] if each["category_id"] == numbers[test]]
    added = [
        {**of_train[0], "id": 100},  # a second one of its kind
        {**of_train[1], "id": 101, "category_id": numbers[test]},  # something of the test split beside it
        {**of_test[0], "id": 102, "category_id": numbers[train]},  # an image of a test may show things of training
    ]
    of_train[2]["iscrowd"] = 1
    rows["annotations"] += added
    found = make(write(tmp_path / "second", rows))
    counts = dict(zip(found.images.kinds.classes, found.images.kinds.counts.tolist(), strict=True))
    assert counts[train] == 6 - 3
    assert counts[test] == 6 + 1


def _set(key: str, place: int, **values: Any) -> Callable[[Document], None]:
    return lambda rows: rows[key][place].update(values)


FAULTS: dict[str, tuple[Callable[[Document], None], str]] = {
    "no area": (_set("annotations", 4, bbox=[3, 3, 0, 5]), r"annotations\.json: annotations\[4\] has bbox .* no area"),
    "outside": (
        _set("annotations", 4, bbox=[30, 3, 20, 5]),
        r"annotations\[4\] has bbox .* outside of its image of 40 x",
    ),
    "no box": (_set("annotations", 2, bbox=[1, 2, 3]), r"annotations\[2\] has bbox \[1, 2, 3\]; it must be left, top"),
    "category": (_set("annotations", 0, category_id=99), r"annotations\[0\] has category_id 99, which no row has"),
    "image": (_set("annotations", 0, image_id=99), r"annotations\[0\] has image_id 99, which no row has"),
    "file": (_set("images", 1, file_name="gone.png"), r"images\[1\] has file_name 'gone\.png', which is not there"),
    "escape": (_set("images", 1, file_name="../x.png"), r"images\[1\] has file_name '\.\./x\.png'; it must lie in"),
    "twice": (_set("images", 1, id=0), r"images\[1\] has id 0, which an earlier row has"),
    "sides": (_set("images", 1, width=41), r"1\.png' has 40 x 20 pixels, and images\[1\] says \(41, 20\)"),
    "name": (_set("categories", 1, name="kind 0"), r"categories: two have the name 'kind 0'"),
    "list": (lambda rows: rows.update(annotations=[]), r"annotations\.json has no 'annotations'; COCO's format has"),
    "row": (lambda rows: rows["images"].append(3), r"images\[15\] is '3'; it must be an object"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_costs_one_line_that_names_file_and_row(fault: str, tmp_path: Path) -> None:
    rows = document()
    folder = write(tmp_path / "data", rows)
    change, message = FAULTS[fault]
    change(rows)
    (tmp_path / "data" / "annotations.json").write_text(json.dumps(rows))
    with pytest.raises(MetarlError, match=message) as caught:
        make(folder)
    assert "\n" not in str(caught.value)


def test_files_that_are_missing_or_broken_cost_one_line(tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match="is not there; give the folder of a data set"):
        make(str(tmp_path / "nowhere"))
    folder = write(tmp_path / "data", document())
    with pytest.raises(MetarlError, match=r"category 'kind 0' of folder .* has 3 images .* shots \+ queries is 7"):
        make(folder, queries=6)
    with pytest.raises(MetarlError, match=r"absent is 0\.2, and images of a folder all show their category"):
        make(folder, absent=0.2)
    (tmp_path / "data" / "images" / "7.png").write_bytes(b"no image")
    with pytest.raises(MetarlError, match=r"image '.*7\.png' cannot be read \(UnidentifiedImageError, images\[7\]\)"):
        make(folder)
    (tmp_path / "data" / "annotations.json").write_text("{")
    with pytest.raises(MetarlError, match=r"annotations\.json is no JSON that can be read"):
        make(folder)
    (tmp_path / "data" / "annotations.json").unlink()
    with pytest.raises(MetarlError, match=r"has no annotations\.json or instances\*\.json; keep one file"):
        make(folder)


def test_observed_files_are_the_images_that_questions_show(tmp_path: Path) -> None:
    family = make(folder := write(tmp_path / "data", document()))
    tasks = family.sample("test", 1, seed=0)
    streams = Streams.of(0, "x", np.arange(1))
    shown = family.ask(tasks.values, family.prepare(tasks.values, streams), 0, streams).observations[0]
    category = int(tasks.values["category"][0])
    assert family.images.kinds.classes[category] == f"kind {category}"
    files = [f"{folder}/images/{number}.png" for number in range(3 * category, 3 * category + 3)]
    assert any(np.array_equal(image, shown[0]) for image in family.observe(files))
