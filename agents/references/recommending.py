"""References for the simulated recommender: linear bandits with the true features, the popular items, and the optimum.

The linear bandits know the catalogue and the population. They are given each item's mean reward over training's users
in the context and at the weights shown, and its slope in the user's taste, by the best linear model. They learn the
taste alone, from what each place of a slate earned. That makes them strong rivals.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Generic, Protocol, TypeVar, cast

import numpy as np
from gymnasium import spaces
from pydantic import Field

from metarl.base.errors import MetarlError
from metarl.base.settings import Count, Positive, Settings
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.families.option import OptionFamily
from metarl.families.switching import SwitchingFamily
from metarl.families.task import Tasks, Values
from metarl.trials.agent import Agent, Learner, NoSettings, Oracle
from metarl.trials.episodes import Episodes, TimeStep
from metarl.trials.registered import register_agent

from .common import Arrivals

PLAYS = ("recommender",)


class Recommends(Protocol):
    """The part of a recommender that its references read."""

    @property
    def slate_size(self) -> int:
        """Items of a slate."""
        ...

    @property
    def factors(self) -> int:
        """Numbers of a taste."""
        ...

    @property
    def examination(self) -> np.ndarray:
        """Chance that each place is examined. [slot]"""
        ...

    def expected_rewards(self, observations: np.ndarray, task: Values) -> np.ndarray:
        """Return the expected reward of each examined item, [..., item]."""
        ...

    def linear_rewards(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return means [..., item] and slopes [..., item, factor] of the rewards of examined items."""
        ...

    def slot_rewards(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return what each place of a slate earned, [..., slot], of the observations before and after it."""
        ...


def recommender_of(agent: type[Any], family: TaskFamily) -> Recommends:
    """Return the recommender below a family's options. Raises MetarlError where `agent` does not play the family."""
    if family.name not in agent.plays:
        raise MetarlError(f"{agent.__name__} cannot play family {family.name!r}; take {', '.join(agent.plays)}")
    while isinstance(family, OptionFamily):
        family = family.base
    return cast(Recommends, family)


def best_slates(scores: np.ndarray, slate_size: int) -> np.ndarray:
    """Return the items with the highest of `scores` [..., item], best first, int64 [..., slot]; the first of equals."""
    return np.argsort(-scores, axis=-1, kind="stable")[..., :slate_size]


def as_actions(slates: np.ndarray) -> np.ndarray:
    """Return slates as the family takes them: one item as [...], several as [..., slot]."""
    return slates[..., 0] if slates.shape[-1] == 1 else slates


class Ridge:
    """Linear regression on each world's own rewards: the normal equations of a ridge penalty.

    With a window it forgets all but the rewards of the last `window` steps.
    """

    def __init__(self, shape: tuple[int, ...], size: int, penalty: float, window: int | None = None) -> None:
        self.gram = np.broadcast_to(penalty * np.eye(size), (*shape, size, size)).copy()
        """Penalty and sum of outer products of inputs. [task, replica, factor, factor]"""
        self.moment = np.zeros((*shape, size))
        """Sum of inputs times rewards. [task, replica, factor]"""
        self.window = window
        self.steps = np.zeros(shape, dtype=np.int64)
        """Steps counted so far. [task, replica]"""
        kept = window or 0
        self.grams, self.moments = np.zeros((kept, *self.gram.shape)), np.zeros((kept, *self.moment.shape))

    def add(self, inputs: np.ndarray, rewards: np.ndarray, where: np.ndarray) -> None:
        """Count the step of the worlds in `where` [task, replica]: inputs [.., slot, factor], rewards [.., slot]."""
        worlds = np.nonzero(where)
        inputs, rewards = inputs[worlds], rewards[worlds]
        gram = (inputs[..., :, None] * inputs[..., None, :]).sum(axis=-3)
        moment = (inputs * rewards[..., None]).sum(axis=-2)
        if self.window is not None:
            oldest = (self.steps[worlds] % self.window, *worlds)
            self.gram[worlds] -= self.grams[oldest]
            self.moment[worlds] -= self.moments[oldest]
            self.grams[oldest], self.moments[oldest] = gram, moment
        self.gram[worlds] += gram
        self.moment[worlds] += moment
        self.steps += where

    def coefficients(self) -> np.ndarray:
        """Return the least-squares coefficients, [task, replica, factor]."""
        return np.linalg.solve(self.gram, self.moment[..., None])[..., 0]


class LinearLearner(Learner):
    """Regresses what each place earned, beyond its item's mean, on the slopes, and shows the items of highest score."""

    def __init__(self, agent: LinearBandit[Any], streams: Streams, window: int | None) -> None:
        self.agent, self.streams = agent, streams
        self.family, shape = agent.family, streams.shape
        self.arrivals = Arrivals(shape)
        self.ridge = Ridge(shape, self.family.factors, agent.config.ridge, window)
        slots = (*shape, self.family.slate_size)
        self.offsets = np.zeros(slots)
        """Mean reward of each place of the last slate. [task, replica, slot]"""
        self.inputs = np.zeros((*slots, self.family.factors))
        """Slope of each place of the last slate. [task, replica, slot, factor]"""
        self.observations: np.ndarray | None = None
        """What each world's last slate was chosen on. [task, replica, observation]"""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the slates of highest score, int64 [task, replica, *action]; they are no other if deterministic."""
        arrived, starting = self.arrivals(timestep)
        # The first observation of an episode tells nothing of the last slate of the one before: see `adapt`.
        self._learn(timestep.observations, arrived & ~starting)
        means, slopes = self.family.linear_rewards(timestep.observations)
        scores = means + self.agent.added_scores(slopes, self.ridge, self.streams.where(timestep.active))
        slates, active = best_slates(scores, self.family.slate_size), timestep.active
        offsets = np.take_along_axis(means, slates, axis=-1) * self.family.examination
        inputs = np.take_along_axis(slopes, slates[..., None], axis=-2) * self.family.examination[:, None]
        self.offsets = np.where(active[..., None], offsets, self.offsets)
        self.inputs = np.where(active[..., None, None], inputs, self.inputs)
        before = timestep.observations if self.observations is None else self.observations
        self.observations = np.where(active[..., None], timestep.observations, before)
        return as_actions(slates)

    def adapt(self, episodes: Episodes) -> None:
        """Learn from the last slate of each episode."""
        self._learn(episodes.final_observations, np.ones(self.streams.shape, dtype=bool))

    def _learn(self, observations: np.ndarray, where: np.ndarray) -> None:
        if where.any():
            assert self.observations is not None
            rewards = self.family.slot_rewards(self.observations, observations) - self.offsets
            self.ridge.add(self.inputs, rewards, where)


class LinearConfig(Settings):
    """Settings that all linear bandits have."""

    ridge: Positive = 0.1
    """Weight of the squared coefficients, 1 in the papers. Defaults here are the best of a search on validation
    tasks."""


C = TypeVar("C", bound=LinearConfig)


class LinearBandit(Agent, Generic[C]):
    """An agent that shows the items of highest score, a linear function of the user's estimated taste."""

    plays: ClassVar[tuple[str, ...]] = PLAYS
    pools_replicas = False

    def __init__(self, config: C, family: TaskFamily, *, seed: int, device: str) -> None:
        self.config, self.family = config, recommender_of(type(self), family)

    def begin(self, streams: Streams) -> LinearLearner:
        """Return a learner that has shown nothing."""
        return LinearLearner(self, streams, None)

    @abstractmethod
    def added_scores(self, slopes: np.ndarray, ridge: Ridge, streams: Streams) -> np.ndarray:
        """Return what is added to the mean of each item, [task, replica, item], of its slopes [.., item, factor]."""


class LinUCBConfig(LinearConfig):
    """Settings of LinUCB."""

    exploration: Annotated[float, Field(ge=0)] = 0.1
    """Weight of the confidence radius, alpha in the paper."""


class UpperConfidence(LinearBandit[C]):
    """Adds to an item's estimate its confidence radius, as LinUCB does."""

    def added_scores(self, slopes: np.ndarray, ridge: Ridge, streams: Streams) -> np.ndarray:
        """Return estimates plus radii."""
        assert isinstance(self.config, LinUCBConfig)
        return upper_confidence_scores(slopes, ridge, self.config.exploration)


def upper_confidence_scores(slopes: np.ndarray, ridge: Ridge, exploration: float) -> np.ndarray:
    """Return `x theta + exploration sqrt(x A^-1 x)` of each item, [task, replica, item].

    x are its `slopes`, A is the regression's matrix, and theta its coefficients: Li et al., 2010, algorithm 1.
    """
    estimates = np.matmul(slopes, ridge.coefficients()[..., None])[..., 0]
    squares = (np.matmul(slopes, np.linalg.inv(ridge.gram)) * slopes).sum(axis=-1)
    return estimates + exploration * np.sqrt(np.maximum(squares, 0.0))


@register_agent("linucb")
class LinUCB(UpperConfidence[LinUCBConfig]):
    """Shows the items with the highest upper confidence bound of a linear model whose true features it is given.

    Li, Chu, Langford and Schapire, A Contextual-Bandit Approach to Personalized News Article Recommendation, WWW 2010,
    algorithm 1, with one coefficient vector for all items.
    """

    Config: ClassVar[type[Settings]] = LinUCBConfig


class WindowConfig(LinUCBConfig):
    """Settings of LinUCB with a sliding window."""

    window: Count = 50
    """Steps that are remembered."""


@register_agent("sliding-window-linucb")
class SlidingWindowLinUCB(UpperConfidence[WindowConfig]):
    """Plays LinUCB on the last steps alone, for users whose taste changes. It is given the true features.

    Cheung, Simchi-Levi and Zhu, Learning to Optimize under Non-Stationarity, AISTATS 2019, algorithm 1, with the
    radius of LinUCB.
    """

    Config: ClassVar[type[Settings]] = WindowConfig

    def begin(self, streams: Streams) -> LinearLearner:
        """Return a learner that has shown nothing."""
        return LinearLearner(self, streams, self.config.window)


class LinearThompsonConfig(LinearConfig):
    """Settings of Thompson sampling with a linear model."""

    scale: Annotated[float, Field(ge=0)] = 0.1
    """Factor of the posterior's standard deviations, v in the paper."""


@register_agent("linear-thompson")
class LinearThompson(LinearBandit[LinearThompsonConfig]):
    """Shows the best items for a taste drawn from the posterior of a linear model whose true features it is given.

    Agrawal and Goyal, Thompson Sampling for Contextual Bandits with Linear Payoffs, ICML 2013, algorithm 1. One taste
    is drawn for each slate.
    """

    Config: ClassVar[type[Settings]] = LinearThompsonConfig

    def added_scores(self, slopes: np.ndarray, ridge: Ridge, streams: Streams) -> np.ndarray:
        """Return the estimates of a drawn taste."""
        tastes = posterior_tastes(ridge, self.config.scale, streams)
        return np.matmul(slopes, tastes[..., None])[..., 0]


def posterior_tastes(ridge: Ridge, scale: float, streams: Streams) -> np.ndarray:
    """Return draws from N(theta, scale^2 A^-1), [task, replica, factor]: Agrawal and Goyal, 2013, algorithm 1."""
    noise = streams.normal(ridge.moment.shape[-1:])
    # A = L L', so that L'^-1 z has the covariance A^-1.
    upper = np.linalg.cholesky(ridge.gram).swapaxes(-1, -2)
    return ridge.coefficients() + scale * np.linalg.solve(upper, noise[..., None])[..., 0]


class StillLearner(Learner):
    """Shows the items of highest expected reward, and learns nothing."""

    def __init__(self, agent: MostPopular | BestSlate, tasks: Tasks | None, shape: tuple[int, ...]) -> None:
        self.agent = agent
        self.values = {} if tasks is None else {name: value[:, None] for name, value in tasks.values.items()}
        self.elapsed = np.zeros(shape, dtype=np.int64)
        """Steps of the trial so far. [task, replica]"""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the slates, int64 [task, replica, *action]; they are no other if deterministic."""
        scores = self.agent.scores(timestep.observations, self.values, self.elapsed)
        self.elapsed += timestep.active
        return as_actions(best_slates(scores, self.agent.family.slate_size))


@register_agent("most-popular")
class MostPopular(Agent):
    """Shows what training's users like best in the context and at the weights shown: the best without adaptation."""

    plays: ClassVar[tuple[str, ...]] = PLAYS
    pools_replicas = False

    def __init__(self, config: NoSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        self.family = recommender_of(type(self), family)

    def begin(self, streams: Streams) -> StillLearner:
        """Return a learner that never learns."""
        return StillLearner(self, None, streams.shape)

    def scores(self, observations: np.ndarray, task: Values, elapsed: np.ndarray) -> np.ndarray:
        """Return the mean reward of each item over training's users, [task, replica, item]."""
        return self.family.linear_rewards(observations)[0]


@register_agent("best-slate")
class BestSlate(Oracle):
    """Sees each user's taste and shows the best slate: no learner can expect a higher return.

    The places of a slate are examined independently, and each item is worth its own expected reward there. So the best
    slate has the best items in descending order, by the rearrangement inequality.
    """

    plays: ClassVar[tuple[str, ...]] = PLAYS
    pools_replicas = False

    def __init__(self, config: NoSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        self.family, self.given = recommender_of(type(self), family), family
        assert isinstance(family.action_space, (spaces.Discrete, spaces.MultiDiscrete))

    def begin_knowing(self, tasks: Tasks, streams: Streams) -> StillLearner:
        """Return a learner that knows `tasks`, and when they change."""
        return StillLearner(self, tasks, streams.shape)

    def scores(self, observations: np.ndarray, task: Values, elapsed: np.ndarray) -> np.ndarray:
        """Return the expected reward of each item after so many steps of the trial, [task, replica, item]."""
        now = self.given.values_at(task, elapsed) if isinstance(self.given, SwitchingFamily) else task
        return self.family.expected_rewards(observations, now)
