"""References for Bernoulli bandits: the index and posterior-sampling policies of the RL^2 paper's comparison.

Each arm has the posterior Beta(1 + successes, 1 + failures). It is exact, as the family draws chances uniformly. Duan
et al., RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning, 2016, table 1.
"""

from __future__ import annotations

import functools
import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, ClassVar, Generic, TypeVar

import numpy as np
from gymnasium import spaces
from pydantic import Field

from metarl.base.settings import Count, Fraction, Settings
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.trials.agent import Agent, Learner, NoSettings
from metarl.trials.episodes import TimeStep
from metarl.trials.registered import register_agent

from .common import Arrivals, require_family

Index = Callable[[np.ndarray, np.ndarray, Streams], np.ndarray]
"""Returns each arm's index from successes and failures, int64 [task, replica, arm], and the worlds' streams."""

TABLED_PULLS = 500
"""Pulls of an arm up to which Gittins indices are tabled. Beyond them an approximation is as good."""
LOOK_AHEAD = 500
"""Pulls beyond the table at which backward induction starts."""
RETIREMENTS = 800
"""Intervals of the grid of retirement rewards in which indices are interpolated."""


class BanditLearner(Learner):
    """Counts the successes and failures of each arm, and pulls the arm with the highest index."""

    def __init__(self, index: Index, num_arms: int, streams: Streams) -> None:
        self.index, self.streams = index, streams
        self.arrivals = Arrivals(streams.shape)
        self.successes = np.zeros((*streams.shape, num_arms), dtype=np.int64)
        """Pulls of each arm that paid. [task, replica, arm]"""
        self.failures = np.zeros_like(self.successes)
        """Pulls of each arm that did not. [task, replica, arm]"""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the arms with the highest index, int64 [task, replica], also with `deterministic`.

        The first of equal arms is pulled, as in the paper's code: an arm pulled before rather than a new one.
        """
        arrived, _ = self.arrivals(timestep)
        task, replica = np.nonzero(arrived)
        pulled = task, replica, timestep.previous_actions[arrived]
        paid = timestep.previous_rewards[arrived] > 0
        self.successes[pulled] += paid
        self.failures[pulled] += ~paid
        indices = self.index(self.successes, self.failures, self.streams.where(timestep.active))
        return indices.argmax(axis=-1)


C = TypeVar("C", bound=Settings)


class BanditReference(Agent, Generic[C]):
    """An agent that pulls the arm with the highest index, computed from the arm's own successes and failures."""

    plays: ClassVar[tuple[str, ...]] = ("bernoulli-bandit",)
    pools_replicas = False

    def __init__(self, config: C, family: TaskFamily, *, seed: int, device: str) -> None:
        family = require_family(type(self), family)
        assert isinstance(family.action_space, spaces.Discrete)
        self.config, self.horizon, self.num_arms = config, family.horizon, int(family.action_space.n)

    def begin(self, streams: Streams) -> BanditLearner:
        """Return a learner that has pulled no arm."""
        return BanditLearner(self.index, self.num_arms, streams)

    @abstractmethod
    def index(self, successes: np.ndarray, failures: np.ndarray, streams: Streams) -> np.ndarray:
        """Return each arm's index, float64, from its successes and failures, all [task, replica, arm]."""


def posterior_means(successes: np.ndarray, failures: np.ndarray) -> np.ndarray:
    """Return the mean of Beta(1 + successes, 1 + failures), elementwise."""
    return (1 + successes) / (2 + successes + failures)


@register_agent("greedy")
class Greedy(BanditReference[NoSettings]):
    """Pulls the arm with the highest posterior mean. It never explores on purpose."""

    def index(self, successes: np.ndarray, failures: np.ndarray, streams: Streams) -> np.ndarray:
        """Return posterior means."""
        return posterior_means(successes, failures)


class EpsilonGreedyConfig(Settings):
    """Settings of the epsilon-greedy agent."""

    epsilon: Fraction = 0.1
    """Chance of pulling a random arm."""


@register_agent("epsilon-greedy")
class EpsilonGreedy(BanditReference[EpsilonGreedyConfig]):
    """Pulls the arm with the highest posterior mean, or with chance `epsilon` a random arm."""

    Config: ClassVar[type[Settings]] = EpsilonGreedyConfig

    def index(self, successes: np.ndarray, failures: np.ndarray, streams: Streams) -> np.ndarray:
        """Return posterior means, or random numbers where it explores."""
        explores = streams.uniform((1,)) < self.config.epsilon
        return np.where(explores, streams.uniform(successes.shape[-1:]), posterior_means(successes, failures))


class UCB1Config(Settings):
    """Settings of UCB1."""

    exploration: Annotated[float, Field(ge=0)] = 0.2
    """Weight of the confidence radius, 1 in Auer et al.; 0.2 is best in the RL^2 paper's search over 0, 0.1, ..., 1."""


@register_agent("ucb1")
class UCB1(BanditReference[UCB1Config]):
    """Pulls the arm with the highest upper confidence bound.

    Auer, Cesa-Bianchi and Fischer, Finite-time Analysis of the Multiarmed Bandit Problem, 2002. As in the RL^2 paper,
    mean and count are the posterior's, not the sample's.
    """

    Config: ClassVar[type[Settings]] = UCB1Config

    def index(self, successes: np.ndarray, failures: np.ndarray, streams: Streams) -> np.ndarray:
        """Return upper confidence bounds."""
        return upper_confidence_bounds(successes, failures, self.config.exploration)


def upper_confidence_bounds(successes: np.ndarray, failures: np.ndarray, exploration: float) -> np.ndarray:
    """Return `mean + exploration * sqrt(2 log t / n)` of every arm, from `successes` and `failures` [..., arm].

    `mean` is the posterior mean, `n` the arm's pulls plus the prior's two, and `t` the number of the next pull, from 1.
    """
    pulls = successes + failures
    time = 1 + pulls.sum(axis=-1, keepdims=True)
    return posterior_means(successes, failures) + exploration * np.sqrt(2 * np.log(time) / (2 + pulls))


class ThompsonConfig(Settings):
    """Settings of Thompson sampling."""

    optimistic: bool = False
    """Whether a sample below the posterior mean is replaced by the mean (May et al., 2012)."""


@register_agent("thompson")
class Thompson(BanditReference[ThompsonConfig]):
    """Pulls the best arm of a bandit drawn from the posterior, so each arm with its chance of being the best.

    Thompson, On the Likelihood that One Unknown Probability Exceeds Another in View of the Evidence of Two Samples,
    1933. The optimistic variant is by May, Korda, Lee and Leslie, Optimistic Bayesian Sampling in
    Contextual-Bandit Problems, 2012.
    """

    Config: ClassVar[type[Settings]] = ThompsonConfig

    def index(self, successes: np.ndarray, failures: np.ndarray, streams: Streams) -> np.ndarray:
        """Return posterior samples."""
        samples = posterior_samples(successes, failures, streams)
        return np.maximum(samples, posterior_means(successes, failures)) if self.config.optimistic else samples


def posterior_samples(successes: np.ndarray, failures: np.ndarray, streams: Streams) -> np.ndarray:
    """Return a draw from each Beta(1 + successes, 1 + failures), by inversion, [*streams.shape, arm]."""
    from scipy.special import betaincinv  # imported late: the import takes longer than all else here

    return betaincinv(1 + successes, 1 + failures, streams.uniform(successes.shape[-1:]))


class GittinsConfig(Settings):
    """Settings of the Gittins index."""

    discount: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Discount of the index. None takes 1 - 1/n for a trial of n pulls, which looks n pulls ahead."""
    rounds: Count = 1
    """Rounds of a trial. An arm keeps its chance through all of them."""


@register_agent("gittins")
class Gittins(BanditReference[GittinsConfig]):
    """Pulls the arm with the highest Gittins index, which is Bayes-optimal for an infinite discounted sum of rewards.

    Gittins, Bandit Processes and Dynamic Allocation Indices, 1979; Gittins, Glazebrook and Weber, Multi-armed Bandit
    Allocation Indices, 2nd edition, 2011. It is close to optimal for the undiscounted return of finitely many pulls.
    The RL^2 paper reports the best of the discounts 0.9, 0.99, 0.999 and 0.9999.
    """

    Config: ClassVar[type[Settings]] = GittinsConfig
    rounds_setting: ClassVar[str] = "rounds"

    @property
    def pulls(self) -> int:
        """Pulls of a trial."""
        return self.horizon * self.config.rounds

    @property
    def discount(self) -> float:
        """The discount in force; one half for trials of a single pull."""
        return self.config.discount or 1 - 1 / max(self.pulls, 2)

    def index(self, successes: np.ndarray, failures: np.ndarray, streams: Streams) -> np.ndarray:
        """Return Gittins indices."""
        table = gittins_indices(min(self.pulls, TABLED_PULLS), self.discount)
        pulls = successes + failures
        beyond = pulls >= len(table)
        if not beyond.any():
            return table[pulls, successes]
        approximate = approximate_gittins_indices(successes, failures, self.discount)
        return np.where(beyond, approximate, table[np.where(beyond, 0, pulls), np.where(beyond, 0, successes)])


@functools.cache
def gittins_indices(pulls: int, discount: float) -> np.ndarray:
    """Return the Gittins index of a Bernoulli arm of prior Beta(1, 1), [pulls so far, successes so far], 0 to `pulls`.

    The index is the reward a pull at which retiring for good is as good as pulling on. It is the root of `c(r) = r`,
    where `c` is the value of pulling once more and then retiring at the best time, in units of `1 / (1 - discount)`
    (calibration; Chakravorty and Mahajan, Multi-Armed Bandits, Gittins Index, and Its Calculation, 2014). Values are
    computed for a grid of retirement rewards r by backward induction. It starts `LOOK_AHEAD` pulls beyond the table,
    as if the arm's chance were known there. A finer grid and a longer look-ahead change no index by more than 4e-4.
    Entries are NaN where successes exceed pulls.
    """
    # The grid is finer near 0 and 1, where arms have smaller standard deviations.
    retirement = np.sin(np.linspace(0.0, np.pi / 2, RETIREMENTS + 1)) ** 2
    last = pulls + LOOK_AHEAD
    values = np.maximum(retirement, posterior_means(np.arange(last + 1), last - np.arange(last + 1))[:, None])
    table = np.full((pulls + 1, pulls + 1), np.nan)
    for pulled in range(last - 1, -1, -1):
        successes = np.arange(pulled + 1)
        mean = posterior_means(successes, pulled - successes)[:, None]
        values = mean * (1 - discount + discount * values[1:]) + (1 - mean) * discount * values[:-1]
        if pulled <= pulls:
            table[pulled, : pulled + 1] = _roots(retirement, values - retirement)
        np.maximum(values, retirement, out=values)
    table.setflags(write=False)  # the cache returns this same array again
    return table


def _roots(grid: np.ndarray, heights: np.ndarray) -> np.ndarray:
    """Return where each row of `heights` [row, grid] crosses zero from above, by interpolation on the grid, [row]."""
    left = (heights > 0).sum(axis=1) - 1
    row = np.arange(len(heights))
    above, below = heights[row, left], heights[row, left + 1]
    return grid[left] + (grid[left + 1] - grid[left]) * above / (above - below)


def approximate_gittins_indices(successes: np.ndarray, failures: np.ndarray, discount: float) -> np.ndarray:
    """Return approximate Gittins indices, elementwise, of arms with prior Beta(1, 1) that were pulled often.

    With a normal posterior and Brownian motion in place of pulls, the index is `mean + sigma * sqrt(c) * b(1 / (n *
    c))`. Here `c = log(1 / discount)`, sigma is the standard deviation of a reward, n the posterior's count and b the
    boundary of optimal stopping, as fitted by Chick and Gans, Economic Analysis of Simulation Selection Problems,
    2009.
    """
    mean, count = posterior_means(successes, failures), 2 + successes + failures
    rate = math.log(1 / discount)
    scale = 1 / (count * rate)
    log_scale = np.log(np.maximum(scale, 1 / 7))
    fitted = np.exp(-0.02645 * log_scale**2 + 0.89106 * log_scale - 0.4873)
    boundary = np.where(scale <= 1 / 7, scale / math.sqrt(2), fitted)
    return mean + np.sqrt(mean * (1 - mean) * rate) * boundary


def bayes_optimal_return(pulls: int, num_arms: int) -> float:
    """Return the highest expected return of any agent in `pulls` pulls of arms with prior Beta(1, 1).

    It is exact, by dynamic programming. A state is the sorted list of the successes and failures of all arms pulled so
    far, as arms are interchangeable. There are 4,435 states for 10 pulls, and too many from 20 on.
    """

    @functools.cache
    def value(known: tuple[tuple[int, int], ...], left: int) -> float:
        if left == 0:
            return 0.0
        fresh = [(0, 0)] if len(known) < num_arms else []
        return max(pull(known, arm, left) for arm in (*dict.fromkeys(known), *fresh))

    def pull(known: tuple[tuple[int, int], ...], arm: tuple[int, int], left: int) -> float:
        (successes, failures), others = arm, list(known)
        if arm in others:
            others.remove(arm)
        chance = (1 + successes) / (2 + successes + failures)
        won, lost = (
            value(tuple(sorted([*others, after])), left - 1)
            for after in ((successes + 1, failures), (successes, failures + 1))
        )
        return chance * (1 + won) + (1 - chance) * lost

    return value((), pulls)
