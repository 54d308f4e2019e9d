"""Reports: the table says the numbers, the picture shows them where they belong."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from metarl.base.errors import MetarlError
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.figure import adaptation_figure, plot
from metarl.evaluation.record import Evaluation
from metarl.evaluation.table import table
from metarl.families.load import load
from metarl.trials.registered import make_agent
from tests.families.asked import ACCURACY
from tests.scripted import Numbered, altered, evaluation_of, solved_numbers, solves


def _improving(agent: str = "scripted", *, num_tasks: int = 12, rounds: int = 3, seed: int = 0) -> Evaluation:
    returns = np.linspace(-20, 20, num_tasks)[:, None] + 100.0 * np.arange(rounds)
    return evaluation_of(returns, agent=agent, seed=seed)


def _axes(*evaluations: Evaluation) -> Axes:
    (axes,) = adaptation_figure(evaluations).axes
    return axes


def _curves(axes: Axes) -> dict[str, Line2D]:
    return {str(line.get_label()): line for line in axes.lines if not str(line.get_label()).startswith("_")}


# The table


def test_table_says_for_each_round_what_it_cost_and_what_it_gave() -> None:
    evaluation = _improving()
    title, header, *rows, gain, _, _, note = table([evaluation]).splitlines()
    assert title == "scripted on numbered, test split: 12 tasks, 1 replica, seed 0"
    assert "success" not in header
    for i, row in enumerate(rows):
        low, high = (f"{end:.1f}" for end in evaluation.interval[i])
        assert row.split() == [
            str(i + 1),
            str(200 * (i + 1)),
            f"{100 * i:.1f}",
            f"[{low},",
            f"{high}]",
            f"{100 * i:.1f}",
        ]
    assert len(rows) == 3
    assert gain == "gain (round 3 minus round 1, paired by task): 200.0, 95% interval [200.0, 200.0]"
    assert note == "Intervals are over tasks."


def test_table_says_what_the_intervals_are_over() -> None:
    untrained = _improving()
    trained = altered(untrained, trained={"seed": 1})
    assert table([trained]).splitlines()[-1] == (
        "Intervals are over the tasks of one training run; they say nothing of other training seeds."
    )
    assert table([untrained]).splitlines()[-1] == "Intervals are over tasks."
    for seen in (altered(untrained, unseen=False), altered(trained, unseen=False)):
        assert table([seen]).splitlines()[-1].endswith("intervals show the chance within episodes alone")


def test_table_of_scripted_agent_that_solves_4_of_20_says_0_20() -> None:
    agent = solves(solved_numbers(Numbered().sample("test", 20, seed=3), 4))
    _, header, *rows, _, _, _, _ = table([evaluate(agent, Numbered(), num_tasks=20, seed=3)]).splitlines()
    assert header.endswith("success rate")
    assert [row.split()[-1] for row in rows] == ["0.20", "0.20"]


def test_columns_of_the_table_line_up() -> None:
    _, *lines, _, _, _, _ = table([_improving(rounds=12)]).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_table_of_one_round_speaks_of_no_gain() -> None:
    assert "gain" not in table([_improving(rounds=1)])


def test_table_holds_every_evaluation() -> None:
    text = table([_improving("first"), _improving("second")])
    assert [block.split()[0] for block in text.split("\n\n")] == ["first", "second", "Intervals"]


def test_table_says_where_tasks_are_not_unseen_and_how_many_differ() -> None:
    family = load("half-cheetah-direction", horizon=2)
    text = table([evaluate(make_agent("random", family), family, num_tasks=8, seed=1)])
    assert "not unseen: 2 different tasks, met in training" in text


def test_one_task_has_no_interval_and_one_round_no_gain() -> None:
    evaluation = evaluation_of(np.array([[1.0, 2.0]]))
    assert table([evaluation]).splitlines()[2].split()[3] == "none"
    document = json.loads(evaluation.to_json())
    assert document["interval"] == [[None, None], [None, None]]
    assert json.loads(evaluation_of(np.ones((4, 1))).to_json())["gain"] == {"iqm": None, "interval": [None, None]}


@pytest.mark.parametrize(
    ("scale", "printed"), [(0.01, "0.010"), (1.0, "1.000"), (12.0, "12.00"), (1234.5, "1,234"), (2e6, "2,000,000")]
)
def test_decimals_follow_the_size_of_the_returns(scale: float, printed: str) -> None:
    assert table([evaluation_of(np.full((4, 1), scale))]).splitlines()[2].split()[2] == printed


def test_value_that_is_not_finite_is_called_so_and_minus_zero_is_zero() -> None:
    returns = np.full((4, 2), -1e-9)
    returns[0, 1] = np.nan
    *_, first, second, gain, _, _, _ = table([evaluation_of(returns)]).splitlines()
    assert "-0" not in first and "0.000" in first
    assert "not finite" in second and "not finite" in gain


def test_a_share_is_told_in_percent_with_the_margin_that_papers_print() -> None:
    returns = np.array([[0.2, 0.9], [0.2, 1.0], [0.3, 0.8], [0.3, 0.9]])
    evaluation = altered(evaluation_of(returns), measure=ACCURACY)
    _, header, first, last, gain, _, note = table([evaluation]).splitlines()
    assert header.split("  ")[-1].strip() == "mean ± 1.96 SE" and "accuracy (IQM, %)" in header
    margin = 1.96 * 100 * returns[:, 1].std(ddof=1) / 2
    assert last.endswith(f"90.00 ± {margin:.2f}") and first.split()[2] == "25.00"
    assert gain.startswith("gain (round 2 minus round 1, paired by task): 65.00, ")
    assert note == "Intervals are over tasks."  # a sum over rounds would mean nothing
    saved = json.loads(evaluation.to_json())
    assert saved["mean"] == [0.25, 0.9] and saved["mean_margin"][1] == pytest.approx(margin / 100)


def test_the_mean_of_one_task_has_no_margin() -> None:
    evaluation = altered(evaluation_of(np.array([[0.5, 1.0]])), measure=ACCURACY)
    assert [line.split("  ")[-1].strip() for line in table([evaluation]).splitlines()[2:4]] == [
        "50.00 ± none",
        "100.00 ± none",
    ]


def test_the_picture_of_a_share_is_in_percent() -> None:
    axes = _axes(altered(evaluation_of(np.array([[0.2, 0.9], [0.2, 0.9]])), measure=ACCURACY))
    assert axes.get_ylabel() == "Accuracy (%) of a round, mean over its steps"
    np.testing.assert_allclose(_curves(axes)["scripted"].get_ydata(), [20, 90])


# The picture


def test_curve_begins_before_anything_is_spent_and_shows_the_iqm() -> None:
    evaluation = _improving()
    curve = _curves(_axes(evaluation))["scripted"]
    np.testing.assert_array_equal(curve.get_xdata(), [0, 200, 400])
    np.testing.assert_array_equal(curve.get_ydata(), evaluation.iqm)


def test_every_task_has_its_own_line_at_its_own_steps() -> None:
    family = Numbered(horizon=7)
    agent = solves(solved_numbers(family.sample("test", 20, seed=3), 4))
    evaluation = evaluate(agent, family, num_tasks=20, rounds=3, seed=3)
    tasks = [line for line in _axes(evaluation).lines if str(line.get_label()).startswith("_")]
    assert len(tasks) == 20
    for line, returns in zip(tasks, evaluation.returns, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), returns)
        np.testing.assert_array_equal(line.get_xdata(), np.array([0, 1, 2]) * (1 if returns[0] else 7))


def test_band_is_the_interval() -> None:
    evaluation = _improving()
    (band,) = _axes(evaluation).collections
    corners = band.get_paths()[0].vertices
    for steps, (low, high) in zip((0, 200, 400), evaluation.interval, strict=True):
        heights = corners[corners[:, 0] == steps, 1]
        assert heights.min() == low and heights.max() == high


def test_one_round_still_shows_its_interval() -> None:
    evaluation = _improving(rounds=1)
    bar = _axes(evaluation).collections[-1].get_paths()[0].vertices
    assert bar[:, 1].tolist() == evaluation.interval[0].tolist()


def test_evaluations_are_told_apart_by_what_differs() -> None:
    labels = _curves(_axes(_improving("one", seed=0), _improving("two", seed=1, num_tasks=5))).keys()
    assert list(labels) == ["one, seed 0, 12 tasks", "two, seed 1, 5 tasks"]


def test_overlaid_curves_have_different_colours_and_markers_and_a_legend() -> None:
    evaluations = [_improving(name) for name in "abcdefg"]
    figure = adaptation_figure(evaluations)
    curves = _curves(figure.axes[0]).values()
    assert len({curve.get_color() for curve in curves}) == 7
    assert len({curve.get_marker() for curve in curves}) == 7
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list("abcdefg")
    assert "12 tasks" in legend.get_title().get_text()


def test_axes_say_what_they_show() -> None:
    axes = _axes(_improving())
    assert "numbered" in axes.get_title(loc="left") and "test" in axes.get_title(loc="left")
    assert "steps" in axes.get_xlabel() and "new task" in axes.get_xlabel()
    assert "return" in axes.get_ylabel()


def test_ticks_of_few_steps_are_whole_and_differ() -> None:
    axes = _axes(altered(_improving(rounds=2), env_steps_per_task=np.tile([4.0, 8.0], (12, 1))))
    axes.figure.canvas.draw()
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert len(set(labels)) == len(labels) > 2


def test_png_is_a_picture_with_the_curve_in_it(tmp_path: Path) -> None:
    plot([_improving()], tmp_path / "curve.png")
    picture = image.imread(tmp_path / "curve.png")
    assert picture.shape == (720, 1152, 4)
    blue = np.abs(picture[..., :3] - np.array([0x00, 0x72, 0xB2]) / 255).max(axis=-1) < 0.02
    assert blue.sum() > 500


def test_same_numbers_give_the_same_svg(tmp_path: Path) -> None:
    for name in ("first", "second"):
        plot([_improving("a"), _improving("b")], tmp_path / f"{name}.svg")
    first = (tmp_path / "first.svg").read_bytes()
    assert first == (tmp_path / "second.svg").read_bytes()
    assert ElementTree.fromstring(first).tag.endswith("svg")
    plot([_improving("a"), _improving("c")], tmp_path / "other.svg")
    assert first != (tmp_path / "other.svg").read_bytes()


@pytest.mark.parametrize("name", ["curve.pdf", "curve", "curve.jpeg"])
def test_other_suffix_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(MetarlError, match=f"'{Path(name).suffix}'.*png.*svg"):
        plot([_improving()], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_suffix_in_capitals_is_taken(tmp_path: Path) -> None:
    plot([_improving()], tmp_path / "curve.PNG")
    assert (tmp_path / "curve.PNG").read_bytes().startswith(b"\x89PNG")


def test_returns_that_are_not_finite_leave_a_gap_and_no_error(tmp_path: Path) -> None:
    returns = np.ones((4, 3))
    returns[:, 1] = np.nan
    plot([evaluation_of(returns)], tmp_path / "curve.png")
    assert (tmp_path / "curve.png").exists()


def test_no_evaluation_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match="no evaluation"):
        table([])
    with pytest.raises(MetarlError, match="no evaluation"):
        plot([], tmp_path / "curve.png")


def test_picture_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MetarlError, match=r"curve\.png"):
        plot([_improving()], tmp_path / "file" / "curve.png")
