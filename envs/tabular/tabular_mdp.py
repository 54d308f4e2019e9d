"""The random tabular MDPs of the RL^2 paper."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from gymnasium import spaces
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
    """A Markov decision process of a few states, whose transitions and rewards are drawn at random.

    | observation | meaning |
    |---|---|
    | 0 .. S-1 | 1 in the state's place, else 0 |

    | action | meaning |
    |---|---|
    | 0 .. A-1 | action, of no meaning but in its state |

    Reward: R(s, a) + N(0, 1), s the state before the step. Never terminates; 10 steps, and 10 to 100 episodes a trial in
    the paper (`rounds`). Starts in state 0. Task: `transitions` [S, A, S], the chances P(s' | s, a), each row from
    Dirichlet(1) (rows need not sum to 1: they are divided by their sum); `rewards` [S, A], the means R, from N(1, 1); no
    unit, and no task lies outside these distributions. Preset `rl2`: S = 10 states, A = 5 actions.
    """

    source: ClassVar[str] = "Duan et al., RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning, 2016"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"rl2": {}}
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
    def observation_space(self) -> spaces.Box:
        """The state, one-hot."""
        return spaces.Box(0.0, 1.0, (self.num_states,), dtype=np.float32)

    @property
    def action_space(self) -> spaces.Discrete:
        """The actions."""
        return spaces.Discrete(self.num_actions)

    def initial(self, task: Values, streams: Streams) -> State:
        """Begin in state 0."""
        return {"state": np.zeros(streams.shape, dtype=np.int64), "payout": np.zeros(streams.shape)}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Draw the next state and the reward of each world."""
        here = np.arange(len(action)), state["state"], action
        below = np.cumsum(task["transitions"][here], axis=1)
        # Below the row's own sum, which rounding may leave short of 1: a state of chance 0 is never drawn.
        drawn = streams.uniform() * below[:, -1]
        following = (below <= drawn[:, None]).sum(axis=1)
        return {"state": following, "payout": task["rewards"][here] + streams.normal()}

    def observation(self, state: State) -> np.ndarray:
        """Return the state, one-hot."""
        return (state["state"][:, None] == np.arange(self.num_states)).astype(np.float32)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return what the action paid."""
        return after["payout"]

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw the mean rewards, and the state that the world is in."""
        now, payout = int(state["state"][world]), float(state["payout"][world])
        axes.imshow(task["rewards"][world], cmap="coolwarm", vmin=-2, vmax=4)
        axes.axhspan(now - 0.5, now + 0.5, fill=False, color="black", linewidth=3)
        axes.set(xlabel="action", ylabel="state", title=f"mean rewards; state {now}: paid {payout:.2f}")
