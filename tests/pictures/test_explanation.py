"""The picture of an explanation has the bars of the examples, and the deletion curve."""

from __future__ import annotations

import numpy as np
import pytest

from metarl.evaluation.deletion import Deletion
from metarl.pictures.explanation import DOWN, UP, explanation_figure
from tests.report.test_explanation import INFLUENCE, explanation


def test_a_panel_has_a_bar_for_each_example_in_order_of_its_influence() -> None:
    figure = explanation_figure(explanation(INFLUENCE), answers=2)
    first, second = figure.axes
    assert [bar.get_width() for bar in first.patches] == [-1.5, 0.5, 0.75, 2.0]  # type: ignore[attr-defined]
    assert first.get_yticklabels()[0].get_text() == "film 1: 1 stars"
    assert first.get_title() == "asked 1: 4 stars, right 3 stars" and second.get_title().startswith("asked 0")
    colors = [bar.get_facecolor() for bar in first.patches]
    assert colors[0] != colors[1] and colors[1] == colors[3]
    assert UP != DOWN


@pytest.mark.parametrize("answers", [1, 2, 3])
def test_the_last_panel_has_the_deletion_curve(answers: int) -> None:
    deletion = Deletion(np.array([1, 2, 3]), np.array([[0.5, 0.75, 1.0]]), np.full((1, 4, 3), 0.25))
    figure = explanation_figure(explanation(INFLUENCE), deletion, answers=answers)
    curves = figure.axes[answers].lines
    assert [np.asarray(line.get_ydata()).tolist() for line in curves] == [[0.5, 0.75, 1.0], [0.25] * 3]
    assert all(not axes.axison for axes in figure.axes[answers + 1 :])
