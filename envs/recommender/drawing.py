"""Pictures of the simulated recommender: its shelf, seen by one user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from metarl.families.batch import State
from metarl.families.task import Values

from .catalogue import Catalogue, decode_context

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLICKED, CONVERTED, IGNORED = "#d55e00", "#009e73", "0.25"
"""Colours of the frames of items that were clicked, clicked and bought, or neither."""


class Shelf(Protocol):
    """The part of the family that its pictures need."""

    @property
    def catalogue(self) -> Catalogue:
        """The items."""
        ...

    @property
    def horizon(self) -> int:
        """Steps of an episode."""
        ...


def draw_shelf(axes: Axes, family: Shelf, state: State, task: Values, world: int) -> None:
    """Draw a row of items for each category, in the colour of what each is worth to the user in the context of now.

    Frames show the last slate: its place, whether it was clicked (orange) or bought (green), and its stars.
    """
    catalogue, context = family.catalogue, state["context"][world]
    expected = catalogue.expected_outcomes(task["taste"][world], context, np.arange(catalogue.num_items))
    worth = expected @ state["weights"][world]
    rows, columns = catalogue.categories, _places(catalogue.categories)
    grid = np.full((rows.max() + 1, columns.max() + 1), np.nan)
    grid[rows, columns] = worth
    axes.imshow(grid, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    outcomes, slate = state["outcomes"][world], state["slate"][world]
    for place, item in enumerate(slate):
        if item >= 0 and item not in slate[:place]:
            _frame(axes, columns[item], rows[item], place, outcomes[place])
    best = int(np.argmax(worth))
    axes.plot(columns[best] + 0.36, rows[best] - 0.36, "*", color="#e69f00", markersize=9)
    axes.set_xticks([])
    axes.set_yticks(range(len(grid)), [str(number + 1) for number in range(len(grid))])
    weights = ", ".join(f"{weight:.2f}" for weight in state["weights"][world])
    told = f"a row a category; darker: worth more; star: best now\nweights of click, sale, satisfaction: {weights}"
    axes.set_xlabel(told)
    axes.set_title(f"step {int(state['steps'][world])} of {family.horizon}{_in_words(context)}", fontsize=10)


def _frame(axes: Axes, column: int, row: int, place: int, outcome: np.ndarray) -> None:
    from matplotlib.patches import Rectangle  # imported late, as all of matplotlib

    clicked, converted, satisfaction = outcome
    color = CONVERTED if converted else CLICKED if clicked else IGNORED
    axes.add_patch(Rectangle((column - 0.46, row - 0.46), 0.92, 0.92, fill=False, edgecolor=color, linewidth=2.5))
    label = f"{round(4 * satisfaction)}/4" if clicked else f"{place + 1}"
    axes.text(column, row, label, ha="center", va="center", fontsize=8, color=color, weight="bold")


def _places(categories: np.ndarray) -> np.ndarray:
    """Return the place of each item among those of its category."""
    return np.array([int((categories[:item] == kind).sum()) for item, kind in enumerate(categories)])


def _in_words(context: np.ndarray) -> str:
    if not len(context):
        return ""
    hour, phone = decode_context(context)
    return f", next at {int(hour)}:00 on a {'phone' if phone else 'computer'}"
