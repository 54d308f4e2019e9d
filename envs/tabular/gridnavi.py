"""GridNavi: the grid world of the VariBAD paper, searched for one hidden cell."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from gymnasium import spaces

from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.distributions import Choice
from metarl.families.family import register
from metarl.families.task import Horizon, Parameter, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = 5
"""Cells along each side."""
MOVES = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])
"""What each action adds to (x, y)."""
GOALS = tuple((float(x), float(y)) for x, y in itertools.product(range(SIZE), repeat=2) if max(x, y) > 1)
"""The 21 cells that are neither the start nor beside it."""


@register("gridnavi")
@dataclass(frozen=True)
class GridNavi(ArrayFamily):
    """An agent on a grid of 5 by 5 cells searches for a cell that pays, and goes back to it in later episodes.

    | observation | meaning |
    |---|---|
    | 0, 1 | cell x, y: 0 to 4 |

    | action | meaning |
    |---|---|
    | 0 | stay |
    | 1, 2, 3, 4 | up (y + 1), right (x + 1), down (y - 1), left (x - 1); a wall stops it |

    Reward: 1 on the goal after the move, else -0.1; being on it is a success. Never terminates; 15 steps, and 4 episodes
    a trial in the paper (`rounds: 4`). Starts at (0, 0). Task: `goal`, a cell, uniform on the 21 that are not (0, 0),
    (0, 1), (1, 1) or (1, 0): so few tasks that the validation and test splits hold the tasks of training.
    """

    source: ClassVar[str] = (
        "Zintgraf et al., VariBAD, ICLR 2020; github.com/lmzintgraf/varibad (environments/navigation/gridworld.py)"
    )
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"varibad": {}}
    horizon: Horizon = 15

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The goal."""
        return {"goal": Parameter(Choice(GOALS), unit="cells", meaning="the cell that pays")}

    @property
    def observation_space(self) -> spaces.Box:
        """Cell."""
        return spaces.Box(0.0, SIZE - 1.0, (2,), dtype=np.float32)

    @property
    def action_space(self) -> spaces.Discrete:
        """Stay, up, right, down, left."""
        return spaces.Discrete(len(MOVES))

    def initial(self, task: Values, streams: Streams) -> State:
        """Begin in the corner."""
        return {"cell": np.zeros((*streams.shape, 2))}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Move to the cell beside, or stay at a wall."""
        return {"cell": (state["cell"] + MOVES[action]).clip(0, SIZE - 1)}

    def observation(self, state: State) -> np.ndarray:
        """Return the cell."""
        return state["cell"]

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return 1 on the goal, else -0.1."""
        return np.where(self.success(after, task), 1.0, -0.1)

    def success(self, state: State, task: Values) -> np.ndarray:
        """Return whether the agent is on the goal."""
        same = state["cell"] == task["goal"]
        return same[:, 0] & same[:, 1]

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw the grid, the goal's cell and the agent."""
        from matplotlib.patches import Rectangle

        x, y = (float(number) for number in task["goal"][world])
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color="#0072b2", alpha=0.35))
        axes.plot(*state["cell"][world], "o", color="#d55e00", markersize=20)
        axes.set(xlim=(-0.5, SIZE - 0.5), ylim=(-0.5, SIZE - 0.5), aspect="equal")
        axes.set_xticks(np.arange(-0.5, SIZE), labels=[])
        axes.set_yticks(np.arange(-0.5, SIZE), labels=[])
        axes.grid(visible=True, color="0.5")
