"""References for GridNavi: the Bayes-optimal search, with its exact returns, and posterior sampling."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from metarl.base.settings import Count, Settings
from metarl.base.streams import Streams
from metarl.families.distributions import Choice
from metarl.families.family import TaskFamily
from metarl.families.spaces import limits
from metarl.trials.agent import Agent, Learner, NoSettings
from metarl.trials.episodes import TimeStep
from metarl.trials.registered import register_agent

from .common import Arrivals, best_actions, require_family

MOVES = np.array([[0, 0], [0, 1], [1, 0], [0, -1], [-1, 0]])
"""Change of (x, y) by each action."""
BEAM_WIDTH = 1000
"""States kept at each step of the beam search, whose gain is a lower bound for the exact search."""

Cell = tuple[int, int]
"""(x, y), from 0."""


# The optimal search.


@functools.cache
def bayes_optimal_path(size: int, goals: tuple[Cell, ...], horizon: int, episodes: int) -> np.ndarray:
    """Return the path of a Bayes-optimal agent until it finds the goal: (x, y), int64 [episode, step 0 to horizon, 2].

    The goal is one of `goals`, all equally likely, on a grid of `size` by `size` cells. Each episode starts from (0,
    0), which is no goal. The path maximises the undiscounted return of the trial. A step pays 1 on the goal and -0.1
    elsewhere, so that only the number of steps on the goal counts.

    An agent that knows the goal walks there and stays, which gives `k = horizon - distance + 1` steps on it in each
    later episode. Until then every step brings the same news, "not here", so that a policy is a single path. A goal
    first visited at step t of an episode, with m episodes left, is worth `horizon - t + 1 + m k`. The optimal path has
    the greatest sum over goals.

    The search is exact: dynamic programming over the goals visited and the cell. It drops states whose upper bound is
    below the gain of a path from a beam search. The bound lets one new goal be visited in each step left, and values
    every other goal at `m k`, as if it were known from the next episode on. VariBAD's problem (5 cells, 15 steps, 4
    episodes) takes a tenth of a second.
    """
    problem = _problem(size, goals, horizon, episodes)
    found = _search(problem, at_least=0, width=BEAM_WIDTH)[-1].gains.max()
    history = _search(problem, at_least=found, width=None)
    state, cells = history[-1].gains.argmax(), []
    for frontier in reversed(history):
        cells.append(frontier.cells[state])
        state = frontier.parents[state]
    path = np.stack(np.divmod(cells[::-1], size), axis=-1).reshape(episodes, horizon + 1, 2)
    path.setflags(write=False)  # the cache hands out this very array
    return path


class _Problem(NamedTuple):
    """A grid to search. Cell (x, y) has the number `x * size + y`."""

    neighbours: np.ndarray
    """Neighbours of each cell, -1 for a wall. int64 [cell, 4]"""
    bits: np.ndarray
    """Bit of the goal in each cell, 0 for no goal. int64 [cell]"""
    known: np.ndarray
    """Steps on each cell's goal in an episode that knows it from the start, 0 for no goal. int64 [cell]"""
    horizon: int
    episodes: int


def _problem(size: int, goals: Sequence[Cell], horizon: int, episodes: int) -> _Problem:
    cells = np.stack(np.divmod(np.arange(size * size), size), axis=-1)
    beside = cells[:, None] + MOVES[1:]
    inside = ((beside >= 0) & (beside < size)).all(axis=-1)
    bits = np.zeros(size * size, dtype=np.int64)
    for number, (x, y) in enumerate(goals):
        bits[x * size + y] = 1 << number
    known = np.where(bits > 0, np.maximum(horizon - cells.sum(axis=-1) + 1, 0), 0)
    return _Problem(np.where(inside, beside @ [size, 1], -1), bits, known, horizon, episodes)


class _Frontier(NamedTuple):
    """The states that a search can be in after a step, each with its best gain."""

    visited: np.ndarray
    """Goals visited so far, one bit each. int64 [state]"""
    cells: np.ndarray
    """Cell of the agent. int64 [state]"""
    gains: np.ndarray
    """Total worth of the goals visited. int64 [state]"""
    parents: np.ndarray
    """State of the previous step that it was reached from. int64 [state]"""

    def take(self, chosen: np.ndarray) -> _Frontier:
        """Return the chosen states."""
        return _Frontier(*(array[chosen] for array in self))

    def best_of_each(self) -> _Frontier:
        """Return the state with the highest gain of all those with equal goals and cell."""
        order = np.lexsort((-self.gains, self.cells, self.visited))
        states = np.stack([self.visited, self.cells])[:, order]
        first = np.append(True, (np.diff(states) != 0).any(axis=0))
        return self.take(order[first])


def _search(problem: _Problem, *, at_least: int, width: int | None) -> list[_Frontier]:
    """Return the states at the start and after each step of each episode, without those that cannot gain `at_least`.

    With a `width`, only as many states with the highest bounds are kept: the search may then miss the optimum.
    """
    frontier, history = _Frontier(*np.zeros((4, 1), dtype=np.int64)), []
    for episode in range(problem.episodes):
        for step in range(problem.horizon + 1):
            frontier = _move(problem, frontier, episode, step) if step else _restart(frontier)
            bounds = _bounds(problem, frontier, episode, step)
            kept = np.argsort(-bounds, kind="stable")[:width]
            frontier = frontier.take(kept[bounds[kept] >= at_least])
            history.append(frontier)
    return history


def _restart(frontier: _Frontier) -> _Frontier:
    """Return the states at the start of the next episode."""
    states = np.arange(len(frontier.cells))
    return frontier._replace(cells=np.zeros_like(states), parents=states).best_of_each()


def _move(problem: _Problem, frontier: _Frontier, episode: int, step: int) -> _Frontier:
    """Return the states after one more move. `step` is its number in the episode, from 1."""
    beside = problem.neighbours[frontier.cells]
    parents, cells = np.nonzero(beside >= 0)[0], beside[beside >= 0]
    visited, bits = frontier.visited[parents], problem.bits[cells]
    worth = problem.horizon - step + 1 + (problem.episodes - 1 - episode) * problem.known[cells]
    gains = frontier.gains[parents] + np.where(bits & ~visited, worth, 0)
    return _Frontier(visited | bits, cells, gains, parents).best_of_each()


def _bounds(problem: _Problem, frontier: _Frontier, episode: int, step: int) -> np.ndarray:
    """Return an upper bound of the gain of all paths through each state, int64 [state]: see `bayes_optimal_path`."""
    unvisited = ((frontier.visited[:, None] & problem.bits) == 0) & (problem.bits > 0)
    left = problem.horizon - step
    found = np.minimum(left, unvisited.sum(axis=1))
    # One new goal in each of the next steps is worth left + (left - 1) + ...
    now = found * left - found * (found - 1) // 2
    return frontier.gains + now + (problem.episodes - 1 - episode) * (unvisited @ problem.known)


def first_visits(path: np.ndarray, goals: Sequence[Cell]) -> np.ndarray:
    """Return the episode (from 0) and the step (from 1) of a path's first visit to each goal, int64 [goal, 2].

    `path` is [episode, step 0 to horizon, 2]. Both numbers are -1 for a goal that it never visits.
    """
    there = (path[:, 1:, None] == np.asarray(goals)).all(axis=-1).reshape(-1, len(goals))
    episode, step = np.divmod(there.argmax(axis=0), path.shape[1] - 1)
    return np.where(there.any(axis=0)[:, None], np.stack([episode, step + 1], axis=-1), -1)


def expected_returns(path: np.ndarray, goals: Sequence[Cell]) -> np.ndarray:
    """Return the exact expected return of each episode, float64 [episode], of an agent that follows `path` to the goal.

    Once it has found the goal, it walks there and stays. `path` is [episode, step 0 to horizon, 2].
    """
    horizon, episodes = path.shape[1] - 1, np.arange(len(path))
    found, step = first_visits(path, goals).T[..., None]
    known = np.sum(goals, axis=-1)[:, None]
    # A goal is reached at its first visit, in later episodes after its distance, and in earlier ones never.
    reached = np.where(episodes == found, step, np.where((found >= 0) & (episodes > found), known, horizon + 1))
    return (1.1 * (horizon + 1 - reached) - 0.1 * horizon).mean(axis=0)


def bayes_optimal_returns(family: TaskFamily, episodes: int = 4) -> np.ndarray:
    """Return the expected return of each of `episodes` episodes of a Bayes-optimal agent in GridNavi, [episode]."""
    size, goals = _grid(family)
    return expected_returns(bayes_optimal_path(size, goals, family.horizon, episodes), goals)


def _grid(family: TaskFamily) -> tuple[int, tuple[Cell, ...]]:
    """Return the number of cells along a side of a GridNavi, and its possible goals."""
    choice = family.parameters["goal"].train
    assert isinstance(choice, Choice)
    goals = tuple((int(x), int(y)) for x, y in np.asarray(choice.values))
    return int(limits(family.observation_space)[1][0]) + 1, goals


# The agents.


class Walk:
    """Follows the position of each world, and its goal once it is found."""

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        self.size, self.arrivals = size, Arrivals(shape)
        self.cells = np.zeros((*shape, 2), dtype=np.int64)
        """Cell of each world before its next step. int64 [task, replica, 2]"""
        self.goals = np.full_like(self.cells, -1)
        """The goal, -1 until it is found. int64 [task, replica, 2]"""

    def see(self, timestep: TimeStep) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return which worlds start an episode, which stepped without finding the goal, and the cells they entered.

        The first two are bool [task, replica], the cells int64 [task, replica, 2]. The cells are computed, as the
        observation after an episode's last step is the start of the next.
        """
        arrived, starting = self.arrivals(timestep)
        landed = (self.cells + MOVES[timestep.previous_actions]).clip(0, self.size - 1)
        paid = arrived & (timestep.previous_rewards > 0)
        self.goals = np.where(paid[..., None], landed, self.goals)
        self.cells = np.where(timestep.active[..., None], timestep.observations, self.cells).astype(np.int64)
        return starting, arrived & ~paid, landed

    def towards(self, cells: np.ndarray) -> np.ndarray:
        """Return the next move to the goal, or to `cells` [task, replica, 2] while it is unknown, along x first."""
        x, y = np.moveaxis(np.where(self.goals < 0, cells, self.goals) - self.cells, -1, 0)
        return np.select([x > 0, x < 0, y > 0, y < 0], [2, 4, 1, 3], 0)


class BayesOptimalSearchConfig(Settings):
    """Settings of the Bayes-optimal search."""

    episodes: Count = 4
    """Episodes (`rounds`) of the trial whose return is maximised. Further episodes repeat the search of the last."""


@register_agent("bayes-optimal-search")
class BayesOptimalSearch(Agent):
    """Searches on the path that maximises the expected return of the whole trial.

    See `bayes_optimal_path` for the path, and `bayes_optimal_returns` for its expected returns.
    """

    Config: ClassVar[type[Settings]] = BayesOptimalSearchConfig
    plays: ClassVar[tuple[str, ...]] = ("gridnavi",)
    rounds_setting: ClassVar[str] = "episodes"
    pools_replicas = False

    def __init__(self, config: BayesOptimalSearchConfig, family: TaskFamily, *, seed: int, device: str) -> None:
        family = require_family(type(self), family)
        self.size, goals = _grid(family)
        self.path = bayes_optimal_path(self.size, goals, family.horizon, config.episodes)

    def begin(self, streams: Streams) -> PathLearner:
        """Return a learner that has visited no cell."""
        return PathLearner(self.path, Walk(self.size, streams.shape), streams.shape)


class PathLearner(Learner):
    """Follows a path until the goal is found."""

    def __init__(self, path: np.ndarray, walk: Walk, shape: tuple[int, ...]) -> None:
        self.path, self.walk = path, walk
        self.episodes = np.full(shape, -1)
        """Number of the episode, from 0. int64 [task, replica]"""
        self.steps = np.zeros(shape, dtype=np.int64)
        """Number of the next step in the episode, from 1. int64 [task, replica]"""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the next move, int64 [task, replica], the same with `deterministic`."""
        starting, _, _ = self.walk.see(timestep)
        self.episodes += starting
        self.steps = np.where(starting, 0, self.steps) + timestep.active
        return self.walk.towards(self.path[np.minimum(self.episodes, len(self.path) - 1), self.steps])


@register_agent("posterior-sampling")
class PosteriorSampling(Agent):
    """Walks to a goal drawn from the posterior. It draws again in each episode, and when the goal turns out wrong.

    This is the comparison of VariBAD (Zintgraf et al., 2020, figure 1). It finds the goal in the end, but does not
    search near cells first. The posterior is uniform over the possible goals not yet visited.
    """

    plays: ClassVar[tuple[str, ...]] = ("gridnavi",)
    pools_replicas = False

    def __init__(self, config: NoSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        family = require_family(type(self), family)
        self.size, self.goals = _grid(family)

    def begin(self, streams: Streams) -> PosteriorSamplingLearner:
        """Return a learner that has visited no cell."""
        return PosteriorSamplingLearner(self.goals, Walk(self.size, streams.shape), streams)


class PosteriorSamplingLearner(Learner):
    """Keeps the goals that are still possible, and walks to one of them."""

    def __init__(self, goals: Sequence[Cell], walk: Walk, streams: Streams) -> None:
        self.goals, self.walk, self.streams = np.array(goals), walk, streams
        self.possible = np.ones((*streams.shape, len(goals)), dtype=bool)
        """Whether each goal is still possible. bool [task, replica, goal]"""
        self.sampled = np.zeros(streams.shape, dtype=np.int64)
        """Number of the goal that it walks to. int64 [task, replica]"""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the next move, int64 [task, replica]. With `deterministic` it takes the first possible goal."""
        starting, unpaid, landed = self.walk.see(timestep)
        self.possible &= ~((landed[..., None, :] == self.goals).all(axis=-1) & unpaid[..., None])
        excluded = ~np.take_along_axis(self.possible, self.sampled[..., None], axis=-1)[..., 0]
        # A world that waits for the others draws at the start of its next episode.
        drawing = timestep.active & (starting | excluded)
        drawn = best_actions(self.possible, None if deterministic else self.streams.where(drawing))
        self.sampled = np.where(drawing, drawn, self.sampled)
        return self.walk.towards(self.goals[self.sampled])
