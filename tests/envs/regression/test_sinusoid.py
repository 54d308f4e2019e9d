"""Sinusoids and lines: right values, ranges of the splits, and pictures of the whole curve."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
from metarl.envs.regression.sinusoid import Sinusoid

from metarl.families.load import load
from metarl.families.questions import require_questions
from metarl.families.task import SPLITS, Tasks
from metarl.pictures.gallery import tasks_figure


def make(preset: str) -> Sinusoid:
    family = require_questions(load("sinusoid", preset=preset))
    assert isinstance(family, Sinusoid)
    return family


def rounds(family: Sinusoid, tasks: Tasks) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return x and the right y of both rounds, float64 [question, task]."""
    found = []
    with contextlib.closing(family.make_vec(tasks)) as envs:
        for number in range(2):
            envs.restart(seed=None if number else 0)
            asked = envs.asked()
            assert asked is not None
            found.append((asked.observations[..., 0].astype(float), asked.targets[..., 0].astype(float)))
            envs.answer(asked.targets, asked)
    return found


@pytest.mark.parametrize("preset", Sinusoid.presets)
@pytest.mark.parametrize("split", SPLITS)
def test_right_values_lie_on_the_curve_of_the_task_and_within_the_guesses(preset: str, split: str) -> None:
    family = make(preset)
    tasks = family.sample(split, 60, seed=0)
    for x, y in rounds(family, tasks):
        assert x.min() >= -5 and x.max() <= 5
        for place, task in enumerate(tasks):
            if task.get("curve") == 1:
                right = [task["slope"] * each + task["intercept"] for each in x[:, place]]
            else:
                right = [task["amplitude"] * math.sin(each - task["phase"]) for each in x[:, place]]
            np.testing.assert_allclose(y[:, place], right, atol=1e-5)
        assert (np.abs(y) < family.action_space.high).all()


def test_half_of_the_mixture_are_lines_and_all_of_its_extrapolation_lies_outside_training() -> None:
    family = make("sinusoid-or-line")
    train, beyond = (family.sample(split, 400, seed=0).values for split in ("train", "extrapolation"))
    assert 0.4 < train["curve"].mean() < 0.6 and 0.4 < beyond["curve"].mean() < 0.6
    assert set(train["curve"]) == {0.0, 1.0}
    line = beyond["curve"] == 1
    assert beyond["slope"][line].min() >= 3 > np.abs(train["slope"]).max()
    assert beyond["amplitude"][~line].min() >= 5 > train["amplitude"].max()


def test_a_picture_of_a_task_has_its_whole_curve_the_points_that_are_shown_and_those_that_are_asked() -> None:
    family = make("sinusoid-or-line")
    figure, tasks = tasks_figure(family, 2), family.sample("train", 2, seed=0)
    (sinusoid,), (line,) = figure.subfigs[0].axes, figure.subfigs[len(SPLITS)].axes
    assert {int(value) for value in tasks.values["curve"]} == {0, 1}
    assert sinusoid.get_title().startswith("amplitude") and line.get_title().startswith("slope")
    for axes in (sinusoid, line):
        whole, shown, asked = (np.stack(each.get_data(), axis=-1) for each in axes.lines)
        assert whole[0, 0] == -5 and whole[-1, 0] == 5 and (len(shown), len(asked)) == (10, 10)
        for x, y in (*shown.reshape(-1, 2), *asked.reshape(-1, 2)):
            assert abs(np.interp(x, *whole.T) - y) < 0.01
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["curve", "shown", "asked"]
