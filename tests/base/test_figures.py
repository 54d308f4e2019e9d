"""Figures as files."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from metarl.base.figures import save_figure

LABEL = "Validation exact match of whole commands (%) (IQM), last round; dashed: first"


@pytest.mark.parametrize("layout", ["constrained", None])
@pytest.mark.parametrize("rows", [1, 3])
def test_label_of_a_vertical_axis_is_no_longer_than_the_axis(rows: int, layout: str | None, tmp_path: Path) -> None:
    figure = Figure(figsize=(7.2, 4.5), layout=layout)
    for axes in figure.subplots(rows, 1, squeeze=False)[:, 0]:
        axes.set_ylabel(LABEL)
    save_figure(figure, tmp_path / "figure.png")
    first = (tmp_path / "figure.png").read_bytes()
    figure.draw_without_rendering()
    for axes in figure.axes:
        label = axes.yaxis.label
        assert label.get_text().replace("\n", " ") == LABEL
        assert label.get_window_extent().height <= 1.1 * axes.get_window_extent().height
    save_figure(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes() == first


def test_short_label_keeps_its_lines(tmp_path: Path) -> None:
    figure = Figure(layout="constrained")
    figure.subplots().set_ylabel("Return\nof a round")
    save_figure(figure, tmp_path / "figure.svg")
    assert figure.axes[0].get_ylabel() == "Return\nof a round"
