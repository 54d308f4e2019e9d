"""Pictures of ratings: a user's stars, and the list that is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from metarl.families.question_batch import Questions

from .movielens import YEAR
from .table import Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

MOST_ROWS = (8, 10)
"""Most ratings in the picture of a task: shown, and asked."""
MOST_LETTERS = 30
"""Most letters of a title."""
STARS, ANSWERS = "goldenrod", "tab:red"


def draw_rating(axes: Axes, scale: Scale, mean: float, answer: np.ndarray | None, target: np.ndarray) -> None:
    """Draw one rating on its scale: the right one, the item's mean, and the answer where there is one."""
    axes.axvline(mean, color="0.7", label="item's mean")
    axes.plot(target, [0.0], "*", color=STARS, markersize=24, label="rating")
    if answer is not None:
        axes.plot(np.clip(answer, *scale), [0.0], "x", color=ANSWERS, markersize=14, markeredgewidth=3, label="answer")
    axes.set(xlim=_limits(scale), ylim=(-1, 1), yticks=[], xlabel="rating")
    axes.legend(loc="upper left")


def draw_lists(
    figure: SubFigure, user: str, scale: Scale, rounds: tuple[Questions, Questions], titles: Sequence[Sequence[str]]
) -> None:
    """Draw what a user rated, above what is asked: sorted by the answers, or by the right ratings without any."""
    counts = [min(len(asked.targets), most) for asked, most in zip(rounds, MOST_ROWS, strict=True)]
    both = figure.subplots(2, 1, sharex=True, height_ratios=[count + 1 for count in counts])
    words = (f"user {user[:20]} rated", "asked" if rounds[1].answers is None else "asked, in the order of the answers")
    for axes, asked, names, count, told in zip(both, rounds, titles, counts, words, strict=True):
        some = f" (first {count} of {len(names)})" if count < len(names) else ""
        _draw_list(axes, asked, names, count, scale)
        axes.set_title(_plain(f"{told}{some}"), size=8, loc="left")
    both[1].set_xlabel("rating", size=8)


def _draw_list(axes: Axes, asked: Questions, titles: Sequence[str], count: int, scale: Scale) -> None:
    right = asked.targets[:count, 0].astype(np.float64)
    answers = None if asked.answers is None else np.clip(asked.answers[:count, 0].astype(np.float64), *scale)
    order = np.argsort(-(right if answers is None else answers), kind="stable")
    places = np.arange(count)
    axes.hlines(places, *scale, color="0.92", linewidth=0.8, zorder=0)
    axes.plot(right[order], places, "*", color=STARS, markersize=8, label="rating", clip_on=False)
    if answers is not None:
        axes.hlines(places, right[order], answers[order], color=ANSWERS, linewidth=1, alpha=0.5)
        axes.plot(answers[order], places, "x", color=ANSWERS, markersize=5, markeredgewidth=1.5, label="answer")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=6, frameon=False, handletextpad=0.1)
    axes.set_yticks(places, [_short(titles[at]) for at in order], size=6.5)
    axes.set(xlim=_limits(scale), ylim=(count - 0.4, -0.6))
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _limits(scale: Scale) -> tuple[float, float]:
    margin = 0.03 * (scale[1] - scale[0])
    return scale[0] - margin, scale[1] + margin


def _short(title: str) -> str:
    """Return a title of at most `MOST_LETTERS`, which keeps a year at its end."""
    if len(title) > MOST_LETTERS:
        year = title[-7:] if YEAR.search(title) else ""
        title = f"{title[: MOST_LETTERS - 1 - len(year)].rstrip()}…{year}"
    return _plain(title)


def _plain(text: str) -> str:
    """Return a text in which no dollar begins a formula."""
    return text.replace("$", r"\$")
