"""References for GridNavi against brute force on smaller grids and returns that are known exactly."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from metarl.agents.references.gridnavi import (
    Cell,
    PathLearner,
    PosteriorSamplingLearner,
    bayes_optimal_path,
    bayes_optimal_returns,
    expected_returns,
    first_visits,
)

import metarl
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.load import load
from metarl.trials.agent import Agent, Learner
from metarl.trials.episodes import TimeStep
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial


def hidden_goals(size: int) -> tuple[Cell, ...]:
    return tuple((x, y) for x, y in itertools.product(range(size), repeat=2) if max(x, y) > 1)


def best_return(size: int, goals: tuple[Cell, ...], horizon: int, episodes: int) -> float:
    """The Bayes-optimal return of a trial: the best of all actions in every belief, by plain recursion."""

    @functools.cache
    def value(cell: Cell, possible: frozenset[Cell], step: int, episode: int) -> float:
        if step == horizon:
            return value((0, 0), possible, 0, episode + 1) if episode + 1 < episodes else 0.0
        totals = []
        for dx, dy in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0)):
            landed = min(max(cell[0] + dx, 0), size - 1), min(max(cell[1] + dy, 0), size - 1)
            chance = (landed in possible) / len(possible)
            total = 0.0
            if chance > 0:
                total += chance * (1.0 + value(landed, frozenset([landed]), step + 1, episode))
            if chance < 1:
                total += (1 - chance) * (-0.1 + value(landed, possible - {landed}, step + 1, episode))
            totals.append(total)
        return max(totals)

    return value((0, 0), frozenset(goals), 0, 0)


@pytest.mark.parametrize(
    ("size", "goals", "horizon", "episodes"),
    [
        (3, hidden_goals(3), 1, 2),
        (3, hidden_goals(3), 3, 3),
        (3, hidden_goals(3), 4, 2),
        (3, hidden_goals(3), 9, 2),
        (3, ((2, 0), (0, 2), (1, 1)), 3, 3),
        (3, ((0, 1), (1, 0), (2, 2)), 4, 3),
        (4, ((3, 0), (0, 3), (2, 2), (1, 0), (3, 3)), 5, 3),
        (4, hidden_goals(4), 6, 2),
    ],
)
def test_optimal_search_equals_brute_force_over_all_policies(
    size: int, goals: tuple[Cell, ...], horizon: int, episodes: int
) -> None:
    path = bayes_optimal_path(size, goals, horizon, episodes)
    assert expected_returns(path, goals).sum() == pytest.approx(best_return(size, goals, horizon, episodes))


def test_optimal_path_goes_from_the_corner_by_single_steps() -> None:
    path = bayes_optimal_path(5, hidden_goals(5), 15, 4)
    assert path.shape == (4, 16, 2) and (path[:, 0] == 0).all()
    assert (np.abs(np.diff(path, axis=1)).sum(axis=-1) == 1).all()
    assert path.min() == 0 and path.max() == 4


def test_optimum_finds_a_new_goal_in_every_step_but_the_first_and_knows_it_in_the_second_episode() -> None:
    """No agent can do better in any one episode, so that these returns are the only optimal ones."""
    visits = first_visits(bayes_optimal_path(5, hidden_goals(5), 15, 4), hidden_goals(5))
    assert sorted(step for episode, step in visits if episode == 0) == list(range(2, 16))
    distances = np.array(hidden_goals(5)).sum(axis=1)
    later = visits[:, 0] == 1
    assert later.sum() == 7
    np.testing.assert_array_equal(visits[later, 1], distances[later])
    found_first = 14 / 21 * np.mean([1.1 * (16 - step) for step in range(2, 16)]) - 1.5
    known = np.mean(1.1 * (16 - distances)) - 1.5
    np.testing.assert_allclose(bayes_optimal_returns(load("gridnavi")), [found_first, known, known, known])


@pytest.mark.parametrize(("horizon", "episodes", "rounds"), [(15, 4, 4), (6, 4, 4), (3, 2, 2), (15, 1, 3), (15, 4, 2)])
def test_expected_return_of_each_episode_is_the_mean_over_all_goals(horizon: int, episodes: int, rounds: int) -> None:
    family = load("gridnavi", horizon=horizon)
    agent = make_agent("bayes-optimal-search", family, {"episodes": episodes})
    tasks = family.tasks([{"goal": list(goal)} for goal in hidden_goals(5)])
    returns = run_trial(agent, family.make_vec(tasks), rounds, seed=0).returns[..., 0]
    path = bayes_optimal_path(5, hidden_goals(5), horizon, episodes)
    # In more rounds than there are episodes to plan for, the last episode's path comes again.
    walked = path[np.minimum(np.arange(rounds), episodes - 1)]
    np.testing.assert_allclose(returns.mean(axis=1), expected_returns(walked, hidden_goals(5)))


def test_first_visits_equal_a_plain_loop() -> None:
    path, goals = np.random.default_rng(0).integers(0, 3, (3, 5, 2)), ((0, 1), (2, 2), (1, 1), (9, 9))
    for goal, found in zip(goals, first_visits(path, goals), strict=True):
        when = [(e, t) for e in range(3) for t in range(1, 5) if tuple(path[e, t]) == goal]
        assert tuple(found) == (when[0] if when else (-1, -1))


def test_posterior_sampling_earns_less_than_the_optimum_and_the_same_once_it_knows() -> None:
    family = load("gridnavi")
    result = metarl.evaluate(make_agent("posterior-sampling", family), family, num_tasks=2000, rounds=10)
    optimal = bayes_optimal_returns(family, 10)
    error = result.returns.sum(axis=1).std() / np.sqrt(2000)
    assert result.mean.sum() + 5 * error < optimal.sum()
    assert result.mean[0] < optimal[0] and result.mean[1] < optimal[1]
    lengths = np.stack([task["goal"] for task in result.tasks]).sum(axis=1)  # type: ignore[index]
    np.testing.assert_allclose(result.returns[:, -1], 1.1 * (16 - lengths) - 1.5)


class Keeping(Agent):
    """An agent that keeps the learner it hands out, and what it was about to walk to at each step."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.sampled: list[np.ndarray] = []

    def begin(self, streams: Streams) -> Learner:
        self.learner = learner = self.agent.begin(streams)
        assert isinstance(learner, PosteriorSamplingLearner)
        act = learner.act

        def act_and_write(timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
            actions = act(timestep, deterministic=deterministic)
            self.sampled.append(learner.sampled.copy())
            return actions

        learner.act = act_and_write  # type: ignore[method-assign]
        return learner


def test_posterior_sampling_draws_every_goal_as_often_and_none_that_is_excluded() -> None:
    family = load("gridnavi")
    keeping = Keeping(make_agent("posterior-sampling", family))
    trial = run_trial(keeping, family.make_vec(family.sample("test", 4200, seed=0)), 2, seed=0)
    counts = np.bincount(keeping.sampled[0].ravel(), minlength=21)
    assert ((counts - 200) ** 2 / 200).sum() < 46  # chi-square of 20 degrees of freedom, 1 in 1,000
    goals = np.array(hidden_goals(5))
    for task in range(50):
        visited: set[Cell] = set()
        for number, episodes in enumerate(trial.rounds):
            cells = np.concatenate([episodes.observations[:, task, 0], episodes.final_observations[None, task, 0]])
            paid = episodes.rewards[:, task, 0] > 0
            for step in range(15):
                target = tuple(goals[keeping.sampled[15 * number + step][task, 0]].tolist())
                assert paid.any() or target not in visited
                if not paid[step]:
                    visited.add(tuple(cells[step + 1].astype(int).tolist()))


def test_walks_stand_still_in_worlds_that_wait() -> None:
    family = load("gridnavi")
    streams = Streams.of(0, "test", np.arange(2)[:, None], np.arange(1))
    learner = make_agent("bayes-optimal-search", family).begin(streams)
    assert isinstance(learner, PathLearner)

    def act(active: list[bool], ended: list[bool], cell: list[int], reward: float, action: int) -> None:
        learner.act(
            TimeStep(
                observations=np.broadcast_to(np.float32(cell), (2, 1, 2)),
                previous_actions=np.full((2, 1), action),
                previous_rewards=np.full((2, 1), reward),
                previous_terminations=np.zeros((2, 1), dtype=bool),
                previous_truncations=np.array(ended)[:, None],
                active=np.array(active)[:, None],
            ),
            deterministic=True,
        )

    act([True, True], [False, False], [0, 0], 0.0, 0)
    act([True, False], [False, True], [1, 0], -0.1, 2)
    assert learner.walk.cells[:, 0].tolist() == [[1, 0], [0, 0]]
    act([True, True], [False, True], [0, 0], 1.0, 1)
    assert learner.walk.goals[:, 0].tolist() == [[1, 1], [0, 1]]
    assert learner.steps[:, 0].tolist() == [3, 1] and learner.episodes[:, 0].tolist() == [0, 1]


def test_searches_refuse_a_gridnavi_whose_goal_moves() -> None:
    for name in ("bayes-optimal-search", "posterior-sampling"):
        with pytest.raises(MetarlError, match="only without options"):
            make_agent(name, load("gridnavi", switch_at=[20]))
        with pytest.raises(MetarlError, match="cannot play family 'tabular-mdp'; take gridnavi"):
            make_agent(name, load("tabular-mdp"))
