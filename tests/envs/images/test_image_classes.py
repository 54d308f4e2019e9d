"""N-way K-shot tasks of images: what is shown, what is asked, and which label is right."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager
from metarl.envs.images.image_classes import ImageClasses

from metarl.base.errors import MetarlError
from metarl.checks.check import check_family
from metarl.cli.main import main
from metarl.families.load import load
from metarl.families.question_batch import Asked
from metarl.families.questions import require_questions
from metarl.families.task import Tasks
from metarl.pictures.gallery import tasks_figure


def ask(family: ImageClasses, tasks: Tasks, rounds: int = 2) -> list[Asked]:
    """Return the questions of the first rounds."""
    asked = []
    with contextlib.closing(family.make_vec(tasks)) as envs:
        for number in range(rounds):
            envs.restart(seed=None if number else 0)
            found = envs.asked()
            assert found is not None
            asked.append(found)
            envs.answer(np.zeros_like(found.targets), found)
    return asked


def make(**settings: object) -> ImageClasses:
    """Return the family with the fonts that every machine has, unless the settings say otherwise."""
    family = require_questions(load("image-classes", **{"fonts": "matplotlib", **settings}))
    assert isinstance(family, ImageClasses)
    return family


def rows(images: np.ndarray) -> list[bytes]:
    return [image.tobytes() for image in images]


@pytest.mark.parametrize("preset", ImageClasses.presets)
def test_a_trial_shows_each_class_equally_often_and_never_the_same_image_again(preset: str) -> None:
    family = make(preset=preset)
    tasks = family.sample("test", 3, seed=0)
    support, queries, later = ask(family, tasks, 3)
    for world in range(3):
        for asked, count in ((support, family.shots), (queries, family.queries), (later, family.queries)):
            assert np.bincount(asked.targets[:, world]).tolist() == [count] * family.ways
            assert len(set(rows(asked.observations[:, world]))) == count * family.ways
        shown = set(rows(support.observations[:, world]))
        assert shown.isdisjoint(rows(queries.observations[:, world]))
        assert shown.isdisjoint(rows(later.observations[:, world]))


@pytest.mark.parametrize("rotations", ["none", "different", "all"])
def test_the_place_of_a_class_in_the_task_is_the_label_of_its_images(rotations: str) -> None:
    family = make(rotations=rotations)
    tasks = family.sample("train", 20, seed=0)
    images, number = family.images, len(family.images.classes)
    support, _ = ask(family, tasks)
    for world, classes in enumerate(tasks.values["classes"].astype(int)):
        for image, label in zip(support.observations[:, world, ..., 0], support.targets[:, world], strict=True):
            turns, place = divmod(classes[label], number)
            first = images.firsts[place]
            own = images.images[first : first + images.counts[place]]
            assert image.tobytes() in rows(np.rot90(own, turns, axes=(1, 2)))
    assert bool((tasks.values["classes"] >= number).any()) == (rotations != "none")


def test_places_of_questions_do_not_tell_their_labels() -> None:
    family = make()
    support, queries = ask(family, family.sample("train", 400, seed=0))
    for asked in (support, queries):
        chances = [np.bincount(labels, minlength=5) / 400 for labels in asked.targets]
        np.testing.assert_allclose(chances, 0.2, atol=0.1)


def test_splits_share_no_script_and_turned_classes_stay_in_the_split_of_their_class() -> None:
    family = make(rotations="all")
    number, parameter = len(family.images.classes), family.parameters["classes"]
    values = {split: parameter.of(split).values for split in family.splits}  # type: ignore[attr-defined]
    scripts = {split: {family.images.groups[int(v) % number] for v in values[split]} for split in values}
    assert sum(map(len, scripts.values())) == len(set(family.images.groups))
    assert set().union(*scripts.values()) == set(family.images.groups)
    for split in values:
        assert {(v + number) % (4 * number) for v in values[split]} == set(values[split])


def test_no_task_has_two_turns_of_a_letter_that_looks_the_same_both_ways_unless_all_are_asked_for() -> None:
    numbers = {}
    for rotations in ("none", "different", "all"):
        family = make(rotations=rotations)
        count, parameters = len(family.images.classes), family.parameters["classes"]
        values = [int(v) for split in family.splits for v in parameters.of(split).values]  # type: ignore[attr-defined]
        numbers[rotations] = np.bincount([value % count for value in values], minlength=count)
    ring = family.images.classes.index("latin/latin small letter o")
    assert numbers["all"][ring] == 4 and numbers["different"][ring] <= 2
    assert set(numbers["none"]) == {1} and set(numbers["all"]) == {4} and set(numbers["different"]) == {1, 2, 4}
    assert 3 * count < numbers["different"].sum() < 4 * count


def test_the_raw_pixels_of_the_nearest_example_are_better_than_chance_and_far_from_right() -> None:
    family = make(shots=5)
    support, queries = (asked._replace(observations=asked.observations / 255) for asked in ask(family, _tests(family)))
    right = []
    for world in range(support.targets.shape[1]):
        shown, asked = (each.observations[:, world].reshape(len(each.targets), -1) for each in (support, queries))
        distance = ((asked[:, None] - shown) ** 2).sum(axis=-1)
        right.append(support.targets[distance.argmin(axis=1), world] == queries.targets[:, world])
    assert 0.35 < np.mean(right) < 0.75


def _tests(family: ImageClasses) -> Tasks:
    return family.sample("test", 30, seed=0)


def test_a_family_of_images_keeps_every_rule_and_pickles_without_them() -> None:
    family = load("image-classes")
    assert check_family(family) == []
    assert family.is_unseen("test") and family.is_unseen("validation")
    data = pickle.dumps(family)
    assert len(data) < 1000
    assert pickle.loads(data) == family


def test_a_run_is_not_played_with_other_classes_than_those_that_it_was_trained_on() -> None:
    settings = make(ways=3).settings
    assert make(**settings) == make(ways=3)
    with pytest.raises(MetarlError, match=r"classes of the glyphs of fonts have '.*'; restore the fonts or files"):
        make(**{**settings, "digest": "0123456789abcdef"})


@pytest.mark.parametrize("classes", [[0, 1, 1], [0, 1, 10**6], [0, 1, -1], [0, 1, 2.5]])
def test_classes_that_are_not_there_are_refused(classes: list[float]) -> None:
    family = make(ways=3)
    with pytest.raises(MetarlError, match="are no task; they must be different whole numbers from 0 to"):
        family.make_vec(family.tasks({"classes": classes}))


def test_a_picture_of_tasks_shows_examples_and_what_is_asked(tmp_path: Path) -> None:
    figure = tasks_figure(make(ways=10, queries=2), 1)
    texts = {axes.get_title() for cell in figure.subfigs for axes in cell.axes}
    assert texts == {"examples (8 of 10 labels)", "asked"}
    assert figure.get_suptitle() == "Tasks of image-classes"  # and not that no task is unseen
    sheet = figure.subfigs[0].axes[0].images[0].get_array()
    assert sheet is not None and sheet.shape == (8 * 32, 32, 3)
    assert main(["families", "image-classes", "--render", str(tmp_path / "worlds.png"), "--tasks", "1"]) == 0


def test_families_are_listed_without_fonts() -> None:
    code = "import sys; from metarl.cli.main import main; main(['families']); "
    code += "print({'PIL', 'matplotlib'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"
    assert "image-classes" in done.stdout


def test_with_the_fonts_of_matplotlib_alone_no_other_font_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    own = make(fonts="matplotlib").digest
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda *_, **__: [])
    assert make(fonts="matplotlib").digest == make(fonts="system").digest == own
