"""Pictures of answered tasks: what they show is what an evaluation measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from matplotlib.figure import SubFigure
from PIL import Image

from metarl.cli.main import main
from metarl.evaluation.evaluate import evaluate
from metarl.families.load import load
from metarl.families.question_batch import Questions
from metarl.pictures.answers import answers_figure, draws_answers
from metarl.trials.plan import TrialPlan
from metarl.trials.registered import make_agent
from tests.families.asked import Bindings, Rote

DRAWN: list[tuple[Questions, Questions]] = []


@dataclass(frozen=True)
class Drawn(Bindings):
    """Keeps what it is asked to draw."""

    draws_tasks: ClassVar[bool] = True

    def draw_task(self, figure: SubFigure, task: Mapping[str, Any], support: Questions, queries: Questions) -> None:
        DRAWN.append((support, queries))


@pytest.mark.parametrize("rounds", [2, 3])
def test_a_picture_shows_the_examples_and_the_answers_of_the_last_round(rounds: int) -> None:
    DRAWN.clear()
    family, plan = Drawn(), TrialPlan(num_tasks=5, rounds=rounds, seed=3)
    agent = make_agent("prototypes", family, seed=1)
    figure = answers_figure(agent, family, plan, agent_name="prototypes")
    returns = evaluate(agent, family, plan).returns
    assert len(DRAWN) == 3
    for task, (support, queries) in enumerate(DRAWN):
        assert support.answers is None and len(support.targets) == 6
        assert queries.answers is not None and len(queries.targets) == 12
        assert (queries.answers == queries.targets).mean() == returns[task, -1]
        assert (
            figure.subfigs[task].get_suptitle().endswith(f"accuracy {100 * returns[task, -1]:.4g} % in what is asked")
        )


def test_a_picture_of_a_stream_shows_first_instances_and_all_later_ones() -> None:
    DRAWN.clear()
    family = Drawn(shots=4, reveal="step")
    answers_figure(Rote(), family, TrialPlan(num_tasks=2, rounds=1), agent_name="rote")
    for support, queries in DRAWN:
        assert support.answers is not None and queries.answers is not None
        assert sorted(support.targets) == [0, 1, 2] and len(queries.targets) == 9
        assert (support.answers == 0).all() and (queries.answers == queries.targets).all()


def test_a_picture_of_a_stream_that_asks_each_class_once_says_so() -> None:
    family = Drawn(shots=1, reveal="step")
    figure = answers_figure(Rote(), family, TrialPlan(num_tasks=1, rounds=1), agent_name="rote")
    assert figure.subfigs[0].get_suptitle() == "test task 0: nothing is asked twice"


def test_families_that_draw_no_tasks_have_no_picture_of_answers() -> None:
    assert not draws_answers(Bindings()) and not draws_answers(load("point-dense")) and draws_answers(Drawn())


def test_a_picture_of_a_curve_shows_the_guesses(tmp_path: Path) -> None:
    family, plan = load("sinusoid"), TrialPlan(num_tasks=2)
    figure = answers_figure(make_agent("random", family), family, plan, agent_name="random")
    for cell in figure.subfigs:
        (axes,) = cell.axes
        (guesses,) = [line for line in axes.lines if line.get_label() == "answer"]
        assert len(np.asarray(guesses.get_ydata())) == 10


def test_evaluate_draws_the_answers_to_images_green_where_they_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("METARL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for number in range(10):
        folder = tmp_path / "images" / f"c{number}"
        folder.mkdir(parents=True)
        for each in range(3):
            Image.fromarray(np.full((8, 8), 20 * number + each, dtype=np.uint8)).save(folder / f"{each}.png")
    words = ["--family", "image-classes", f"family.folder={tmp_path / 'images'}", "family.ways=2", "family.queries=2"]
    assert main(["evaluate", *words, "family.size=8", "--agent", "random", "--tasks", "2", "--quiet"]) == 0
    picture = Path("references/image-classes/tasks-random.png")
    assert f"tasks: {picture}" in capsys.readouterr().out
    assert picture.read_bytes().startswith(b"\x89PNG")
    family = load("image-classes", folder=str(tmp_path / "images"), ways=2, queries=2, size=8)
    agent = make_agent("random", family)
    figure = answers_figure(agent, family, TrialPlan(num_tasks=1), agent_name="random")
    _, axes = figure.subfigs[0].axes
    sheet = np.asarray(axes.images[0].get_array())
    frames = sheet[::12, ::12].reshape(-1, 3)
    right = evaluate(agent, family, num_tasks=1).returns[0, 1]
    assert (frames == (0, 158, 115)).all(axis=1).mean() == right
    assert ((frames == (0, 158, 115)) | (frames == (213, 94, 0))).all(axis=1).all() or right in (0, 1)


@dataclass(frozen=True)
class Undrawable(Drawn):
    """Cannot draw its tasks."""

    def draw_task(self, figure: SubFigure, task: Mapping[str, Any], support: Questions, queries: Questions) -> None:
        raise ZeroDivisionError("in the author's code")


def test_a_family_that_fails_to_draw_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    name = f"{Undrawable.__module__}:Undrawable"
    for words in (
        ["evaluate", "--family", name, "--agent", "random", "--tasks", "2", "--quiet"],
        ["families", name, "--plot", "F.png"],
    ):
        assert main(words) == 2
        told, errors = capsys.readouterr()
        (line,) = [line for line in errors.splitlines() if line.startswith("metarl: error:")]
        assert "draw_task: ZeroDivisionError: in the author's code" in line
        if words[0] == "evaluate":
            assert "accuracy (IQM, %)" in told and "numbers: references/" in told


def test_evaluate_refuses_a_picture_of_tasks_that_cannot_be_written_before_it_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "references/sinusoid/tasks-random.png").mkdir(parents=True)
    assert main(["evaluate", "--family", "sinusoid", "--agent", "random", "--tasks", "2", "--quiet"]) == 2
    assert "tasks-random.png is a folder" in capsys.readouterr().err
    assert not (tmp_path / "references/sinusoid/evaluation-random.json").exists()
