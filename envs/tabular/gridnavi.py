"""GridNavi, the grid world of the VariBAD paper with one hidden cell."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.spaces import Box, Discrete

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
"""Change of (x, y) by each action."""
GOALS = tuple((float(x), float(y)) for x, y in itertools.product(range(SIZE), repeat=2) if max(x, y) > 1)
"""The 21 cells that are neither the start nor next to it."""


@register("gridnavi")
@dataclass(frozen=True)
class GridNavi(ArrayFamily):
    """An agent searches a grid of 5 by 5 cells for the cell that pays, and returns to it in later episodes.

    Reward: 1 on the goal after the move, which is a success, else -0.1. Never terminates. 15 steps; the paper has 4
    episodes a trial (`rounds: 4`). Starts at (0, 0). Task: `goal`, a cell, uniform on the 21 cells other than (0, 0),
    (0, 1), (1, 1) and (1, 0). There are so few tasks that the validation and test splits repeat those of training.

    | observation | meaning |
    |---|---|
    | 0, 1 | cell x, y: 0 to 4 |

    | action | meaning |
    |---|---|
    | 0 | stay |
    | 1, 2, 3, 4 | up (y + 1), right (x + 1), down (y - 1), left (x - 1); walls stop the agent |
    """

    source = "Zintgraf et al., VariBAD, ICLR 2020; github.com/lmzintgraf/varibad (environments/navigation/gridworld.py)"
    presets = {"varibad": {}}
    parameters = {"goal": Parameter(Choice(GOALS), unit="cells", meaning="the cell that pays")}
    observation_space = Box(0.0, SIZE - 1.0, (2,), dtype=np.float32)
    action_space = Discrete(len(MOVES))
    horizon: Horizon = 15

    def initial(self, task: Values, streams: Streams) -> State:
        """Begin in the corner (0, 0)."""
        return {"cell": np.zeros((*streams.shape, 2))}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Move to the next cell, or stay at a wall."""
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
