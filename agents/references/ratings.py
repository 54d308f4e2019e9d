"""References for ratings: what means, a user's offset, popularity and a matrix factorisation foretell.

All are linear in a user's unknown numbers w, which have a normal prior with mean zero and a diagonal covariance V:

    rating = base(item) + w . z(item) + noise,    noise ~ N(0, variance).

After the ratings y of items with the rows Z, the posterior mean of w solves (Z'Z + variance V^-1) w = Z'(y - base). It
is a ridge regression (Hoerl and Kennard, Technometrics 1970). Koren, Bell and Volinsky (Computer 2009) describe the
offsets and factors; folding a new user into factors that are kept is the user's half of alternating least squares.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from contextlib import closing
from typing import ClassVar, Protocol, cast

import numpy as np
from gymnasium import spaces

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.trials.agent import Agent, AnsweringLearner, Learner, NoSettings
from metarl.trials.episodes import Episodes, TimeStep
from metarl.trials.registered import register_agent

from .common import Arrivals, require_family

TRAINING_TASKS = 500
"""Training tasks from whose first two rounds popularity is learned."""


class RatingModel(Protocol):
    """Spread of users around what observations tell of items, in ratings or their squares; see the family."""

    @property
    def center(self) -> float:
        """Mean rating."""
        ...

    @property
    def mean_offset_variance(self) -> float:
        """Variance of users' offsets from the items' means."""
        ...

    @property
    def mean_noise_variance(self) -> float:
        """Variance of ratings around mean and offset."""
        ...

    @property
    def offset_variance(self) -> float:
        """Variance of users' offsets in the model with factors."""
        ...

    @property
    def loading_variance(self) -> float:
        """Variance of users' loadings of the factors."""
        ...

    @property
    def noise_variance(self) -> float:
        """Variance of ratings around the model with factors."""
        ...


class RatesItems(Protocol):
    """What these references read of the family."""

    @property
    def columns(self) -> Mapping[str, slice]:
        """Places of an observation's parts; `mean`, `effect`, `count` and `factors` are among them."""
        ...

    @property
    def rating_model(self) -> RatingModel:
        """How users spread around what observations tell of items."""
        ...


class RatingReference(Agent):
    """Foretells ratings by a base, and by a user's numbers, which it learns from the ratings that are revealed."""

    plays: ClassVar[tuple[str, ...]] = ("ratings",)
    pools_replicas = False
    learns: ClassVar[bool] = False
    """Whether it learns from the ratings of a user."""

    def __init__(self, config: NoSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        family = require_family(type(self), family)
        if self.learns and family.reveal == "never":
            raise MetarlError(f"agent {self.name!r} learns from ratings, and family.reveal is 'never'; set it to round")
        rated = cast("RatesItems", family)
        self.columns, self.model = rated.columns, rated.rating_model
        assert isinstance(family.action_space, spaces.Box)
        self.space = family.action_space
        self.steps = family.reveal == "step"

    @property
    @abstractmethod
    def name(self) -> str:
        """Name in messages."""

    @abstractmethod
    def base(self, observations: np.ndarray) -> np.ndarray:
        """Return what is foretold of a user without ratings, float64 [...], of observations [..., size]."""

    def rows(self, observations: np.ndarray) -> np.ndarray:
        """Return what multiplies a user's numbers, float64 [..., k]; none by default."""
        return np.zeros((*observations.shape[:-1], 0))

    def prior(self) -> tuple[np.ndarray, float]:
        """Return the prior variance of a user's numbers, [k], and the variance of the noise."""
        return np.zeros(0), 1.0

    def begin(self, streams: Streams) -> Learner:
        """Return a learner that knows no rating: one that learns from each step where the family reveals by step."""
        user = Users(self, streams.shape)
        return StepRatings(user, streams.shape) if self.steps else RoundRatings(user)

    def column(self, name: str, observations: np.ndarray) -> np.ndarray:
        """Return a part of observations as float64 [..., width]."""
        return observations[..., self.columns[name]].astype(np.float64)


class Users:
    """The ridge regression of each world."""

    def __init__(self, agent: RatingReference, shape: tuple[int, ...]) -> None:
        self.agent = agent
        variances, noise = agent.prior()
        # A number without any variance is zero: its row of the system has the noise alone, and its right side nothing.
        self.used = variances > 0
        size = len(variances)
        penalty = np.diag(np.divide(noise, variances, out=np.ones(size), where=self.used))
        self.systems = np.broadcast_to(penalty, (*shape, size, size)).copy()
        """Z'Z + noise / prior variance. [task, replica, k, k]"""
        self.rights = np.zeros((*shape, size))
        """Z'(ratings - base). [task, replica, k]"""

    def learn(self, observations: np.ndarray, ratings: np.ndarray, asked: np.ndarray) -> None:
        """Add a rating of each world that `asked` [task, replica] marks; `ratings` is [task, replica, 1]."""
        rows = self.agent.rows(observations) * self.used * asked[..., None]
        self.systems = self.systems + rows[..., :, None] * rows[..., None, :]
        self.rights = self.rights + rows * (ratings[..., 0] - self.agent.base(observations))[..., None]

    def foretell(self, observations: np.ndarray) -> np.ndarray:
        """Return the posterior mean of ratings, clipped, [question, task, replica, 1]."""
        numbers = np.linalg.solve(self.systems, self.rights[..., None])[..., 0]
        found = self.agent.base(observations)
        rows = self.agent.rows(observations)
        for at in range(rows.shape[-1]):  # one after the other, so that no sum is grouped by the shape of the batch
            found = found + rows[..., at] * numbers[..., at]
        space = self.agent.space
        return found[..., None].clip(space.low, space.high).astype(space.dtype)


class RoundRatings(AnsweringLearner):
    """Learns from the ratings of a round when it is over."""

    def __init__(self, users: Users) -> None:
        self.users = users

    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Return the foretold ratings, [question, task, replica, 1]."""
        return self.users.foretell(observations)

    def adapt(self, episodes: Episodes) -> None:
        """Add the ratings of a round, where they are revealed."""
        if episodes.targets is not None:
            for each in zip(episodes.observations, episodes.targets, episodes.mask, strict=True):
                self.users.learn(*each)


class StepRatings(Learner):
    """Learns from each rating as soon as it is revealed, one step later."""

    def __init__(self, users: Users, shape: tuple[int, ...]) -> None:
        self.users, self.arrivals = users, Arrivals(shape)
        self.asked: np.ndarray | None = None
        """Question of each world's step before; None before the first. [task, replica, size]"""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the foretold ratings, [task, replica, 1]."""
        assert timestep.previous_targets is not None  # the family reveals them by step
        arrived, _ = self.arrivals(timestep)
        if self.asked is not None:
            self.users.learn(self.asked, timestep.previous_targets, arrived)
        before = timestep.observations if self.asked is None else self.asked
        self.asked = np.where(timestep.active[..., None], timestep.observations, before)
        return self.users.foretell(timestep.observations[None])[0]


@register_agent("item-mean")
class ItemMean(RatingReference):
    """Foretells each item's mean rating by training users, shrunken towards the mean of all, for every user."""

    name = "item-mean"

    def base(self, observations: np.ndarray) -> np.ndarray:
        """Return the items' means."""
        return self.model.center + self.column("mean", observations)[..., 0]


@register_agent("user-offset")
class UserOffset(ItemMean):
    """Adds to each item's mean how much the user's ratings lie above the items' means, shrunken."""

    name = "user-offset"
    learns = True

    def rows(self, observations: np.ndarray) -> np.ndarray:
        """Return ones."""
        return np.ones((*observations.shape[:-1], 1))

    def prior(self) -> tuple[np.ndarray, float]:
        """Return the variances between and within training users."""
        return np.array([self.model.mean_offset_variance]), self.model.mean_noise_variance


@register_agent("matrix-factorisation")
class MatrixFactorisation(RatingReference):
    """Folds a user into a factorisation of training users' ratings: an offset and loadings, by ridge regression."""

    name = "matrix-factorisation"
    learns = True

    def base(self, observations: np.ndarray) -> np.ndarray:
        """Return the mean of all plus the items' effects."""
        return self.model.center + self.column("effect", observations)[..., 0]

    def rows(self, observations: np.ndarray) -> np.ndarray:
        """Return a one, then the items' factors."""
        ones = np.ones((*observations.shape[:-1], 1))
        return np.concatenate([ones, self.column("factors", observations)], axis=-1)

    def prior(self) -> tuple[np.ndarray, float]:
        """Return the variances of the factorisation."""
        columns = self.columns["factors"]
        loadings = np.full(columns.stop - columns.start, self.model.loading_variance)
        return np.concatenate([[self.model.offset_variance], loadings]), self.model.noise_variance


@register_agent("popularity")
class Popularity(RatingReference):
    """Ranks items by how many training users rated them, and foretells what such items are rated on average."""

    name = "popularity"

    def __init__(self, config: NoSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        super().__init__(config, family, seed=seed, device=device)
        self.slope = self._slope(family)
        """Ratings that a unit of the scaled count adds; a popular item is never ranked below a rare one."""

    def _slope(self, family: TaskFamily) -> float:
        """Return the least-squares slope of ratings in the scaled count, over training tasks."""
        tasks = family.sample("train", TRAINING_TASKS, seed=0)
        pairs = []
        with closing(family.make_vec(tasks, threads=0)) as envs:
            for number in range(2):
                envs.restart(seed=None if number else 0)
                asked = envs.asked()
                assert asked is not None  # the family asks questions
                counts = self.column("count", asked.observations)[..., 0]
                pairs.append(np.stack([counts[asked.mask], asked.targets[..., 0][asked.mask]]))
                envs.answer(asked.targets, asked)
        covariance = np.cov(np.concatenate(pairs, axis=1))
        slope = covariance[0, 1] / covariance[0, 0] if covariance[0, 0] > 0 else 0.0
        return max(float(slope), 1e-6)

    def base(self, observations: np.ndarray) -> np.ndarray:
        """Return the mean of all plus the slope times the scaled count."""
        return self.model.center + self.slope * self.column("count", observations)[..., 0]
