"""Glyphs on clutter: whose glyphs are drawn, where the right box is, and who is shown it."""

from __future__ import annotations

import contextlib
import pickle
from typing import Any

import numpy as np
import pytest
from metarl.envs.boxes.glyph_boxes import GlyphBoxes
from metarl.envs.boxes.pictures import draw_rounds
from metarl.envs.boxes.scenes import Clutter, Scenes

from metarl import MetarlError, make_agent, run_trial
from metarl.base.streams import Streams
from metarl.families.load import load
from metarl.families.question_batch import Questions
from metarl.families.questions import require_questions
from metarl.families.task import Values


def make(**settings: Any) -> GlyphBoxes:
    family = require_questions(load("glyph-boxes", fonts="matplotlib", **settings))
    assert isinstance(family, GlyphBoxes)
    return family


def ask(family: GlyphBoxes, split: str = "train", number: int = 1, num_tasks: int = 4) -> Questions:
    tasks = family.sample(split, num_tasks, seed=0)
    return family.ask(tasks.values, {}, number, Streams.of(0, "ask", np.arange(num_tasks)))


PLAIN: dict[str, Any] = {"distractors": 0, "strokes": 0, "noise": 0.0, "occlusion": 0.0}


def test_the_right_box_is_around_the_ink() -> None:
    asked = ask(make(**PLAIN))
    for image, target in zip(asked.observations.reshape(-1, 48, 48), asked.targets.reshape(-1, 5), strict=True):
        rows, columns = (np.flatnonzero((image > 20).any(axis=axis)) for axis in (1, 0))
        ink = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        np.testing.assert_allclose(48 * target[:4], ink, atol=2.0)
        assert target[4] == 1


def test_glyphs_have_the_sizes_that_scale_says() -> None:
    targets = ask(make(scale=(0.3, 0.4), **PLAIN)).targets.reshape(-1, 5)
    longer = (targets[:, 2:4] - targets[:, :2]).max(axis=1)
    assert 0.3 <= longer.min() < 0.31 and 0.39 < longer.max() <= 0.4 + 1e-6
    assert targets[:, :4].min() >= 0 and targets[:, :4].max() <= 1


def drawn_classes(family: GlyphBoxes, split: str, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Return the classes of all glyphs in the images of some tasks of a split."""
    seen: set[int] = set()
    scenes = family.images.scenes  # type: ignore[attr-defined]
    layer = Scenes._layer

    def watched(self: Scenes, drawings: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        classes = np.searchsorted(scenes.glyphs.firsts, drawings, side="right") - 1
        seen.update(classes.tolist())
        return layer(self, drawings, boxes)

    monkeypatch.setattr(Scenes, "_layer", watched)
    ask(family, split, num_tasks=40)
    return seen


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_no_glyph_of_another_split_is_in_an_image(split: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = make(distractors=4)
    shared = family.images.shared
    assert not set(shared["train"]) & set(shared["test"])
    assert drawn_classes(family, split, monkeypatch) <= set(shared[split])


def test_a_target_is_no_distractor_and_is_left_out_of_absent_images(monkeypatch: pytest.MonkeyPatch) -> None:
    family = make(absent=0.5)
    asked = ask(family, num_tasks=30)
    there = asked.targets[..., 4] == 1
    assert 0.4 < there.mean() < 0.6
    assert not asked.targets[~there].any()
    assert ask(family, number=0).targets[..., 4].all()
    scenes = family.images.scenes  # type: ignore[attr-defined]
    targets = np.repeat(np.array(family.images.shared["train"]), 50)
    others = scenes._others(targets, np.random.default_rng(0).uniform(size=(len(targets), 1)))[:, 0]
    assert (others != targets).all()
    assert set(others.tolist()) == set(targets.tolist())


def test_every_part_of_the_clutter_changes_an_image_and_no_box() -> None:
    plain = ask(make(**PLAIN))
    for change in ({"strokes": 2}, {"noise": 0.1}, {"occlusion": 1.0}):
        other = ask(make(**{**PLAIN, **change}))
        assert (other.observations != plain.observations).any(axis=(2, 3, 4)).all(), change
        np.testing.assert_array_equal(other.targets, plain.targets)


def test_queries_never_repeat_an_example() -> None:
    family = make()
    tasks, streams = family.sample("train", 4, seed=0), Streams.of(0, "ask", np.arange(4))
    shown, asked = (family.ask(tasks.values, {}, number, streams) for number in (0, 1))
    images = {image.tobytes() for image in shown.observations.reshape(-1, 48, 48)}
    assert images.isdisjoint(image.tobytes() for image in asked.observations.reshape(-1, 48, 48))


class Wrong(GlyphBoxes):
    """The same family with other right boxes of queries."""

    def ask(self, task: Values, trial: Any, number: int, streams: Streams) -> Questions:
        asked = super().ask(task, trial, number, streams)
        return asked._replace(targets=1 - asked.targets) if number else asked


@pytest.mark.parametrize("name", ["leo", "maml", "prototypes", "from-scratch", "nearest-neighbour"])
def test_right_boxes_of_queries_reach_no_learner(name: str) -> None:
    settings: dict[str, Any] = {"encoder": {"name": "cells", "channels": [4], "strides": [4]}}
    settings = {} if name == "nearest-neighbour" else settings
    settings |= {"num_steps": 2} if name == "from-scratch" else {}
    answers = []
    for family in (make(queries=4), Wrong(fonts="matplotlib", queries=4)):
        agent = make_agent(name, family, settings, seed=0)
        with contextlib.closing(family.make_vec(family.sample("test", 2, seed=0))) as envs:
            answers.append(run_trial(agent, envs, 2, seed=0).rounds[1].actions)
    np.testing.assert_array_equal(*answers)


def test_a_pickled_family_draws_the_same_images() -> None:
    family = make(queries=2)
    again = pickle.loads(pickle.dumps(family))
    assert again == family
    np.testing.assert_array_equal(ask(again).observations, ask(family).observations)


def test_bad_settings_cost_one_line() -> None:
    for settings, message in (
        ({"scale": (0.4, 0.2)}, r"scale is \[0.4, 0.2\]; it must be two shares"),
        ({"scale": (0.05, 0.2)}, "glyphs must have 4 at least: raise scale or size"),
        ({"digest": "0000"}, "digest is '0000', and the categories .* restore the fonts or files"),
    ):
        with pytest.raises(MetarlError, match=message):
            make(**settings)
    family = make()
    with pytest.raises(MetarlError, match=r"category 1e\+06 is no task; it must be a whole number from 0 to"):
        family.make_vec(family.tasks({"category": 1e6}))
    glyphs = family.images.kinds
    with pytest.raises(MetarlError, match="have one class for split 'test'"):
        Scenes(glyphs, {"train": (0, 1), "test": (2,)}, Clutter(48, 1, 0, 0.0, (0.3, 0.4), 0.0))


def test_a_long_name_makes_no_image_smaller() -> None:
    from matplotlib.figure import Figure

    family, heights = make(queries=3), []
    questions = (ask(family, number=number, num_tasks=1) for number in (0, 1))
    support, queries = (Questions(each.observations[0], each.targets[0]) for each in questions)
    for name in ("a", "letters/ethiopic syllable sza"):
        figure = Figure(figsize=(6, 3), layout="constrained")
        draw_rounds(figure, name, support, queries)  # type: ignore[arg-type]
        figure.draw_without_rendering()
        heights.append([round(axes.get_position().height, 6) for axes in figure.axes])
    assert heights[0] == heights[1]
    assert min(heights[0]) > 0.2


def test_a_task_and_a_question_are_drawn_with_their_boxes() -> None:
    from matplotlib.figure import Figure

    family = make(queries=3)
    shown, asked = ask(family, number=0, num_tasks=1), ask(family, num_tasks=1)
    figure = Figure()
    support, queries = (Questions(each.observations[0], each.targets[0]) for each in (shown, asked))
    task = family.sample("train", 1, seed=0)[0]
    family.draw_task(figure, task, support, queries._replace(answers=queries.targets))  # type: ignore[arg-type]
    assert sum(len(axes.patches) for axes in figure.axes) == 5 + 2 * 3
    assert [axes.get_title() for axes in figure.axes[7:10]] == ["IoU 1.00"] * 3
    with contextlib.closing(family.make_vec(family.sample("train", 1, seed=0))) as envs:
        assert envs.reset(seed=0)[0].shape[-3:] == (48, 48, 1)
    assert family.tell_answer(np.array([0.1, 0.2, 0.5, 0.75, 0.9])) == "0.10 to 0.50 across, 0.20 to 0.75 down (90%)"
