"""Bandits: Bernoulli arms, as in the RL^2 paper, and Gaussian arms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete
from pydantic import Field

from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.distributions import Normal, Uniform
from metarl.families.family import register
from metarl.families.task import Horizon, Parameter, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NumArms = Annotated[int, Field(ge=2, strict=True)]
"""Number of arms k."""


class Bandit(ArrayFamily):
    """A bandit of k arms, pulled n times."""

    shared_doc = """
        The n-th pull terminates the episode, because nothing follows it. No task lies outside the training range.

        | observation | meaning |
        |---|---|
        | 0 | always 0: only rewards tell of the task |

        | action | meaning |
        |---|---|
        | 0 .. k-1 | arm to pull |
        """
    observation_space = Box(0.0, 1.0, (1,), dtype=np.float32)
    axis: ClassVar[tuple[float, float, str]]
    """Lower end, upper end and label of the arms' axis in pictures."""
    num_arms: NumArms

    @property
    def action_space(self) -> Discrete:
        """The arms."""
        return Discrete(self.num_arms)

    @abstractmethod
    def payout(self, arms: np.ndarray, task: Values, streams: Streams) -> np.ndarray:
        """Return the payout of the pulled arm in each world, [world]."""

    def initial(self, task: Values, streams: Streams) -> State:
        """Begin before the first pull."""
        worlds = streams.shape
        return {"pulls": np.zeros(worlds, dtype=np.int64), "payout": np.zeros(worlds)}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Pull one arm of each bandit."""
        return {"pulls": state["pulls"] + 1, "payout": self.payout(action, task, streams)}

    def observation(self, state: State) -> np.ndarray:
        """Return zeros."""
        return np.zeros((len(state["pulls"]), 1), dtype=np.float32)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return the payout."""
        return after["payout"]

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether all pulls are used up."""
        return state["pulls"] >= self.horizon

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw a bar for each arm."""
        (arms,), (low, high, label) = task.values(), self.axis
        axes.bar(np.arange(self.num_arms), arms[world], color="#0072b2")
        pulls, payout = int(state["pulls"][world]), float(state["payout"][world])
        axes.set(ylim=(low, high), xlabel="arm", ylabel=label, title=f"pull {pulls} of {self.horizon}: {payout:.3g}")


@register("bernoulli-bandit")
@dataclass(frozen=True)
class BernoulliBandit(Bandit):
    """A bandit of k arms with unknown chances, pulled n times.

    Reward: 1 with chance p of the pulled arm, else 0. Task: `chances`, k numbers p, uniform on (0, 1). Presets
    `n10-k5` to `n500-k50` are the rows of the paper's table: n = 10, 100, 500 pulls of k = 5, 10, 50 arms.
    """

    source = "Duan et al., RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning, 2016"
    presets = {f"n{n}-k{k}": {"horizon": n, "num_arms": k} for n in (10, 100, 500) for k in (5, 10, 50)}
    axis = (0.0, 1.0, "chance")
    num_arms: NumArms = 5
    horizon: Horizon = 10

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The arms' chances."""
        return {"chances": Parameter(Uniform(0.0, 1.0, (self.num_arms,)), meaning="chance that each arm pays 1")}

    def payout(self, arms: np.ndarray, task: Values, streams: Streams) -> np.ndarray:
        """Return 1 with the arm's chance, else 0."""
        chance = task["chances"][np.arange(len(arms)), arms]
        return (streams.uniform() < chance).astype(np.float64)


@register("gaussian-bandit")
@dataclass(frozen=True)
class GaussianBandit(Bandit):
    """A bandit of k arms that pay normal numbers of unknown mean, pulled n times.

    Reward: m + N(0, 1), with m the mean of the pulled arm. Task: `means`, k numbers m from N(0, 1). Presets:
    `n1000-k10`, the book's testbed of 1,000 pulls of 10 arms; `n10-k5`, `n100-k10` and `n500-k50`, three sizes of
    `bernoulli-bandit`.
    """

    source = "Sutton and Barto, Reinforcement Learning: An Introduction, 2nd edition, 2018, section 2.3"
    presets = {f"n{n}-k{k}": {"horizon": n, "num_arms": k} for n, k in ((1000, 10), (10, 5), (100, 10), (500, 50))}
    axis = (-4.0, 4.0, "mean")
    num_arms: NumArms = 10
    horizon: Horizon = 1000

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The arms' means."""
        return {"means": Parameter(Normal(0.0, 1.0, (self.num_arms,)), meaning="mean of what each arm pays")}

    def payout(self, arms: np.ndarray, task: Values, streams: Streams) -> np.ndarray:
        """Return the arm's mean plus unit noise."""
        return task["means"][np.arange(len(arms)), arms] + streams.normal()
