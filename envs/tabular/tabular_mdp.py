"""The random tabular MDPs of the RL^2 paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from gymnasium.spaces import Box, Discrete
from pydantic import Field

from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.distributions import Dirichlet, Normal
from metarl.families.family import register
from metarl.families.task import Horizon, Parameter, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@register("tabular-mdp")
@dataclass(frozen=True)
class TabularMDP(ArrayFamily):
    """A Markov decision process of a few states, with random transitions and rewards.

    Reward: R(s, a) + N(0, 1), with s the state before the step. Never terminates. 10 steps; the paper has 10 to 100
    episodes a trial (`rounds`). Starts in state 0. Task: `transitions` [S, A, S], the chances P(s' | s, a), each row
    from Dirichlet(1); `rewards` [S, A], the means R, from N(1, 1). Rows of `transitions` are divided by their sum. No
    task lies outside the training range. Preset `rl2`: S = 10 states, A = 5 actions.

    | observation | meaning |
    |---|---|
    | 0 .. S-1 | 1 in the place of the state, else 0 |

    | action | meaning |
    |---|---|
    | 0 .. A-1 | action; its effect depends on the state |
    """

    source = "Duan et al., RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning, 2016"
    presets = {"rl2": {}}
    num_states: Annotated[int, Field(ge=2, strict=True)] = 10
    num_actions: Annotated[int, Field(ge=2, strict=True)] = 5
    horizon: Horizon = 10

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """Transitions and rewards."""
        states, actions = self.num_states, self.num_actions
        return {
            "transitions": Parameter(Dirichlet(1.0, (states, actions, states)), meaning="chance of each next state"),
            "rewards": Parameter(Normal(1.0, 1.0, (states, actions)), meaning="mean reward of each state and action"),
        }

    @property
    def observation_space(self) -> Box:
        """The state, one-hot."""
        return Box(0.0, 1.0, (self.num_states,), dtype=np.float32)

    @property
    def action_space(self) -> Discrete:
        """The actions."""
        return Discrete(self.num_actions)

    def initial(self, task: Values, streams: Streams) -> State:
        """Begin in state 0."""
        return {"state": np.zeros(streams.shape, dtype=np.int64), "payout": np.zeros(streams.shape)}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Draw the next state and the reward of each world."""
        here = np.arange(len(action)), state["state"], action
        below = np.cumsum(task["transitions"][here], axis=1)
        # Rounding may leave the sum of a row below 1. Drawn below that sum, a state of chance 0 never comes up.
        drawn = streams.uniform() * below[:, -1]
        following = (below <= drawn[:, None]).sum(axis=1)
        return {"state": following, "payout": task["rewards"][here] + streams.normal()}

    def observation(self, state: State) -> np.ndarray:
        """Return the state, one-hot."""
        return (state["state"][:, None] == np.arange(self.num_states)).astype(np.float32)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return the payout of the action."""
        return after["payout"]

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw the mean rewards and the current state."""
        now, payout = int(state["state"][world]), float(state["payout"][world])
        axes.imshow(task["rewards"][world], cmap="coolwarm", vmin=-2, vmax=4)
        axes.axhspan(now - 0.5, now + 0.5, fill=False, color="black", linewidth=3)
        axes.set(xlabel="action", ylabel="state", title=f"mean rewards; state {now}: paid {payout:.2f}")
