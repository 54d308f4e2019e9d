"""Bandits: of Bernoulli arms, as in the RL^2 paper, and of Gaussian ones."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from gymnasium import spaces
from pydantic import Field

from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.distributions import Normal, Uniform
from metarl.families.family import register
from metarl.families.task import Horizon, Parameter, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Bandit(ArrayFamily):
    """A bandit of k arms, pulled n times; what an arm pays is left open."""

    num_arms: Annotated[int, Field(ge=2, strict=True)] = 10
    horizon: Horizon = 100

    @property
    def observation_space(self) -> spaces.Box:
        """One zero."""
        return spaces.Box(0.0, 1.0, (1,), dtype=np.float32)

    @property
    def action_space(self) -> spaces.Discrete:
        """The arms."""
        return spaces.Discrete(self.num_arms)

    @abstractmethod
    def payout(self, arms: np.ndarray, task: Values, streams: Streams) -> np.ndarray:
        """Return what the arm pulled pays, [world]."""

    def initial(self, task: Values, streams: Streams) -> State:
        """Begin with no arm pulled."""
        worlds = streams.shape
        return {"pulls": np.zeros(worlds, dtype=np.int64), "payout": np.zeros(worlds)}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Pull an arm of each bandit."""
        return {"pulls": state["pulls"] + 1, "payout": self.payout(action, task, streams)}

    def observation(self, state: State) -> np.ndarray:
        """Return zeros."""
        return np.zeros((len(state["pulls"]), 1), dtype=np.float32)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return what the arm paid."""
        return after["payout"]

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the pulls are used up."""
        return state["pulls"] >= self.horizon


@register("bernoulli-bandit")
@dataclass(frozen=True)
class BernoulliBandit(Bandit):
    """A bandit of k arms whose chances are unknown, pulled n times.

    | observation | meaning |
    |---|---|
    | 0 | always 0: nothing but rewards tells of the task |

    | action | meaning |
    |---|---|
    | 0 .. k-1 | arm to pull |

    Reward: 1 with chance p of the arm pulled, else 0. Ends by termination with the n-th pull: nothing follows the last
    one. Task: `chances`, k numbers uniform on (0, 1), no unit; no task lies outside that range. Presets `n10-k5` to
    `n500-k50` are the rows of the paper's table: n = 10, 100, 500 pulls of k = 5, 10, 50 arms.
    """

    source: ClassVar[str] = "Duan et al., RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning, 2016"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        f"n{n}-k{k}": {"horizon": n, "num_arms": k} for n in (10, 100, 500) for k in (5, 10, 50)
    }
    num_arms: Annotated[int, Field(ge=2, strict=True)] = 5
    horizon: Horizon = 10

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The arms' chances."""
        return {"chances": Parameter(Uniform(0.0, 1.0, (self.num_arms,)), meaning="chance that each arm pays 1")}

    def payout(self, arms: np.ndarray, task: Values, streams: Streams) -> np.ndarray:
        """Return 1 with the arm's chance, else 0."""
        chance = task["chances"][np.arange(len(arms)), arms]
        return (streams.uniform() < chance).astype(np.float64)

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw the arms' chances."""
        axes.bar(np.arange(self.num_arms), task["chances"][world], color="#0072b2")
        pulls, payout = int(state["pulls"][world]), float(state["payout"][world])
        axes.set(ylim=(0, 1), xlabel="arm", ylabel="chance", title=f"pull {pulls} of {self.horizon}: paid {payout:g}")


@register("gaussian-bandit")
@dataclass(frozen=True)
class GaussianBandit(Bandit):
    """A bandit of k arms that pay normal numbers of unknown mean, pulled n times.

    | observation | meaning |
    |---|---|
    | 0 | always 0: nothing but rewards tells of the task |

    | action | meaning |
    |---|---|
    | 0 .. k-1 | arm to pull |

    Reward: m + N(0, 1), m the mean of the arm pulled. Ends by termination with the n-th pull: nothing follows the last
    one. Task: `means`, k numbers from N(0, 1), no unit; no task lies outside that distribution. Presets: `n1000-k10`,
    the book's testbed of 1,000 pulls of 10 arms; `n10-k5`, `n100-k10` and `n500-k50`, the sizes of `bernoulli-bandit`.
    """

    source: ClassVar[str] = "Sutton and Barto, Reinforcement Learning: An Introduction, 2nd edition, 2018, section 2.3"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        f"n{n}-k{k}": {"horizon": n, "num_arms": k} for n, k in ((1000, 10), (10, 5), (100, 10), (500, 50))
    }
    horizon: Horizon = 1000

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The arms' means."""
        return {"means": Parameter(Normal(0.0, 1.0, (self.num_arms,)), meaning="mean of what each arm pays")}

    def payout(self, arms: np.ndarray, task: Values, streams: Streams) -> np.ndarray:
        """Return the arm's mean and unit noise."""
        return task["means"][np.arange(len(arms)), arms] + streams.normal()

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw the arms' means."""
        axes.bar(np.arange(self.num_arms), task["means"][world], color="#0072b2")
        pulls, payout = int(state["pulls"][world]), float(state["payout"][world])
        axes.set(ylim=(-4, 4), xlabel="arm", ylabel="mean", title=f"pull {pulls} of {self.horizon}: paid {payout:.2f}")
