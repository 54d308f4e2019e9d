"""Families of arrays against their papers' formulas, Gymnasium's classes, and good controllers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from scipy import stats

import metarl
from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.families.task import Tasks, Values
from metarl.trials.agent import Agent, Learner
from metarl.trials.episodes import Episodes, TimeStep
from metarl.trials.rollout import run_trial

PHYSICS = ("cartpole-physics", "pendulum-physics", "mountain-car-physics", "acrobot-physics")
NAMES = ("point-dense", "gridnavi", "gaussian-bandit", "tabular-mdp", *PHYSICS)


@pytest.mark.parametrize("name", NAMES)
def test_thousands_of_worlds_give_arrays_of_one_row_a_world(name: str) -> None:
    family, n = load(name), 4096
    envs = family.make_vec(family.sample("train", n, seed=0))
    shape = (n, *family.observation_space.shape)
    observations, _ = envs.reset(seed=0)
    assert observations.shape == shape
    observations, *others, infos = envs.step(envs.action_space.sample())
    assert observations.shape == shape and observations.dtype == family.observation_space.dtype
    assert [array.shape for array in others] == [(n,)] * 3
    assert all(value.shape == (n,) for value in infos.values())


# The formulas of the papers.


@pytest.mark.parametrize("preset", ["origin", "pearl"])
def test_dense_point_pays_minus_the_distance_after_a_move_of_at_most_a_tenth(preset: str) -> None:
    family = load("point-dense", preset)
    tasks = family.sample("test", 50, seed=0)
    envs = family.make_vec(tasks)
    place, _ = envs.reset(seed=0)
    coin = np.random.default_rng(0)
    for step in range(20):
        moves = coin.uniform(-0.3, 0.3, (50, 2))
        observed, rewards, terminated, truncated, _ = envs.step(moves)
        for world, goal in enumerate(tasks.values["goal"]):
            for axis in range(2):
                place[world, axis] += min(max(moves[world, axis], -0.1), 0.1)
            assert rewards[world] == pytest.approx(-math.dist(place[world], goal))
        np.testing.assert_allclose(observed, place, atol=1e-12)
        assert not terminated.any() and (truncated == (step == 19)).all()


def test_dense_point_starts_at_the_origin_or_as_in_pearl_anywhere_in_the_square() -> None:
    tasks = load("point-dense").sample("test", 2000, seed=0)
    starts = {preset: load("point-dense", preset).make_vec(tasks).reset(seed=0)[0] for preset in ("origin", "pearl")}
    assert (starts["origin"] == 0).all()
    for axis in range(2):
        assert stats.kstest(starts["pearl"][:, axis], stats.uniform(-1, 2).cdf).pvalue > 1e-3
    corners = np.abs(load("point-dense").sample("extrapolation", 2000, seed=0).values["goal"])
    assert (corners.max(axis=1) > 1).all()


def test_gridnavi_moves_in_the_order_of_varibad_and_walls_stop_it() -> None:
    family = load("gridnavi")
    envs = family.make_vec(family.tasks({"goal": [1, 2]}))
    cell, _ = envs.reset(seed=0)
    assert cell.tolist() == [[0, 0]]
    path = {1: [0, 1], 2: [1, 1], 3: [1, 0], 4: [0, 0], 0: [0, 0]}
    for action, expected in path.items():
        cell, reward, terminated, _, infos = envs.step(np.array([action]))
        assert cell.tolist() == [expected] and reward[0] == -0.1 and not terminated[0] and not infos["success"][0]
    walls = [(3, [0, 0]), (4, [0, 0]), *[(1, None)] * 5, (1, [0, 4])]
    for action, wall in walls:
        cell, *_ = envs.step(np.array([action]))
        assert wall is None or cell.tolist() == [wall]


def test_gridnavi_pays_one_on_the_goal_and_goes_on() -> None:
    family = load("gridnavi")
    envs = family.make_vec(family.tasks({"goal": [1, 2]}))
    envs.reset(seed=0)
    rewards = []
    for action in (2, 1, 1, 0, 2, 4, *[0] * 9):
        _, reward, terminated, truncated, infos = envs.step(np.array([action]))
        assert bool(infos["success"][0]) == (reward[0] == 1) and not terminated[0]
        rewards.append(reward[0])
    assert rewards == [-0.1, -0.1, 1, 1, -0.1, 1, *[1] * 9] and truncated[0]


def test_gridnavi_has_the_21_goals_of_varibad_and_none_unseen() -> None:
    family = load("gridnavi")
    assert family.num_tasks == 21 and "extrapolation" not in family.splits
    goals, counts = np.unique(family.sample("train", 21_000, seed=0).values["goal"], axis=0, return_counts=True)
    cells = [[x, y] for x in range(5) for y in range(5)]
    assert goals.tolist() == [cell for cell in cells if cell not in ([0, 0], [0, 1], [1, 1], [1, 0])]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_gaussian_bandit_pays_normal_numbers_about_each_arms_mean_and_ends_with_the_last_pull() -> None:
    family = load("gaussian-bandit", "n10-k5")
    means = [-2.0, 0.0, 0.5, 1.0, 3.0]
    envs = family.make_vec(family.tasks({"means": means}), 2000)
    envs.reset(seed=0)
    for arm, mean in enumerate(means):
        assert stats.kstest(envs.step(np.full(2000, arm))[1], stats.norm(mean, 1).cdf).pvalue > 1e-3
    ends = [envs.step(np.zeros(2000, dtype=np.int64))[2:4] for _ in range(5)]
    assert not np.any(ends[:-1]) and ends[-1][0].all() and not ends[-1][1].any()


def test_gaussian_bandits_first_preset_is_the_testbed_with_means_from_the_standard_normal() -> None:
    family = load("gaussian-bandit")
    assert (family.horizon, family.action_space.n) == (1000, 10)
    means = family.sample("train", 1000, seed=0).values["means"]
    assert stats.kstest(means.ravel(), stats.norm.cdf).pvalue > 1e-3


def test_tabular_mdp_moves_and_pays_by_the_tasks_own_tables() -> None:
    family = load("tabular-mdp")
    tasks = family.sample("test", 3, seed=0)
    transitions, means, replicas = tasks.values["transitions"], tasks.values["rewards"], 20_000
    for task in range(3):
        envs = family.make_vec(tasks[task : task + 1], replicas)
        observed, _ = envs.reset(seed=0)
        states = np.zeros(replicas, dtype=int)
        for step in range(3):
            np.testing.assert_array_equal(observed, np.eye(10)[states])
            actions = np.arange(replicas) % 5
            observed, rewards, terminated, *_ = envs.step(actions)
            following = observed.argmax(axis=1)
            here = (states == states[0]) & (actions == step)
            counts = np.bincount(following[here], minlength=10)
            expected = transitions[task, states[0], step] * here.sum()
            assert stats.chisquare(counts, expected).pvalue > 1e-4
            noise = rewards - means[task, states, actions]
            assert stats.kstest(noise, stats.norm.cdf).pvalue > 1e-4 and not terminated.any()
            assert abs(stats.spearmanr(noise, following).statistic) < 0.03
            states = following


def test_tabular_mdp_draws_its_tables_from_the_papers_distributions() -> None:
    family = load("tabular-mdp")
    values = family.sample("train", 200, seed=0).values
    assert values["transitions"].shape == (200, 10, 5, 10)
    # Each element of a flat Dirichlet over ten is Beta(1, 9).
    assert stats.kstest(values["transitions"][..., 3].ravel(), stats.beta(1, 9).cdf).pvalue > 1e-3
    assert stats.kstest(values["rewards"].ravel(), stats.norm(1, 1).cdf).pvalue > 1e-3


def test_tabular_mdp_never_moves_to_a_state_of_no_chance() -> None:
    family = load("tabular-mdp", num_states=3, num_actions=2)
    only = np.array([0.0, 0.1 + 0.2 + 0.7, 0.0])  # short of 1, or above it, by rounding
    envs = family.make_vec(family.tasks({"transitions": np.tile(only, (3, 2, 1)), "rewards": np.zeros((3, 2))}), 1000)
    envs.reset(seed=0)
    assert all((envs.step(np.zeros(1000, dtype=int))[0].argmax(axis=1) == 1).all() for _ in range(10))


# Gymnasium's own classes.


STATES = {
    "cartpole-physics": ("x", "x_dot", "theta", "theta_dot"),
    "pendulum-physics": ("theta", "theta_dot"),
    "mountain-car-physics": ("position", "velocity"),
    "acrobot-physics": ("theta1", "theta2", "dtheta1", "dtheta2"),
}
"""Parts of Gymnasium's `state`, in its order."""
ATTRIBUTES = {
    "link_length_1": "LINK_LENGTH_1",
    "link_mass_1": "LINK_MASS_1",
    "link_mass_2": "LINK_MASS_2",
    "link_com_1": "LINK_COM_POS_1",
    "link_com_2": "LINK_COM_POS_2",
    "link_moi": "LINK_MOI",
}
"""Gymnasium's attribute of a task parameter, where the names differ."""
CARL_BOUNDS = {
    "gravity": (0.1, math.inf),
    "masscart": (0.1, 10),
    "masspole": (0.01, 1),
    "length": (0.05, 5),
    "force_mag": (1, 100),
    "g": (0, math.inf),
    "m": (1e-6, math.inf),
    "l": (1e-6, math.inf),
    "dt": (0, math.inf),
    "max_speed": (-math.inf, math.inf),
    "force": (-math.inf, math.inf),
    "link_length_1": (0.1, 10),
    "link_mass_1": (0.1, 10),
    "link_mass_2": (0.1, 10),
    "link_com_1": (0, 1),
    "link_com_2": (0, 1),
    "link_moi": (0.1, 10),
}
"""Bounds in carl/envs/gymnasium/classic_control of automl/CARL (MountainCar's gravity: from 0)."""


def twin(family: TaskFamily, task: dict[str, Any]) -> Any:
    """Return Gymnasium's environment with the task's physics and all constants that follow from it."""
    env: Any = gymnasium.make(family.gymnasium_id).unwrapped
    for name, value in task.items():
        attribute = ATTRIBUTES.get(name, name)
        assert hasattr(env, attribute)
        setattr(env, attribute, value)
    if family.gymnasium_id == "CartPole-v1":
        env.total_mass = env.masspole + env.masscart
        env.polemass_length = env.masspole * env.length
    env.reset(seed=0)
    return env


def rows(name: str, state: State) -> np.ndarray:
    return np.stack([state[part] for part in STATES[name]], axis=1)


@pytest.mark.parametrize("split", ["train", "extrapolation"])
@pytest.mark.parametrize("name", PHYSICS)
def test_physics_step_as_gymnasiums_own_class_with_the_tasks_constants(name: str, split: str) -> None:
    family = load(name, horizon=10_000)
    tasks = family.sample(split, 12, seed=0)
    envs, twins, ends = family.make_vec(tasks), [twin(family, task) for task in tasks], 0
    observations, _ = envs.reset(seed=0)
    state = rows(name, envs.batch.state)
    for env, row in zip(twins, state, strict=True):
        env.state = row.copy()
    envs.action_space.seed(0)
    for _ in range(200):
        actions = envs.action_space.sample()
        # Every other world has a controller, so that some reach the end of an episode.
        actions[::2] = CONTROLLERS[name](observations, tasks.values)[::2]
        observations, rewards, terminations, *_ = envs.step(actions)
        state = rows(name, envs.batch.state)
        for world, env in enumerate(twins):
            # Pendulum would multiply float32 actions in float32.
            action = actions[world] if family.action_space.shape == () else actions[world].astype(np.float64)
            observed, reward, terminated, _, _ = env.step(action)
            np.testing.assert_allclose(state[world], env.state, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(observations[world], observed, rtol=1e-6, atol=1e-6)
            assert rewards[world] == pytest.approx(reward, abs=1e-9) and terminations[world] == terminated
        if terminations.any():
            ends += terminations.sum()
            observations, _ = envs.reset(options={"reset_mask": terminations})
            state = rows(name, envs.batch.state)
            for world in np.flatnonzero(terminations):
                twins[world].reset()
                twins[world].state = state[world].copy()
    assert (ends > 0) == (name != "pendulum-physics")


@pytest.mark.parametrize("name", PHYSICS)
def test_physics_starts_are_distributed_as_gymnasiums(name: str) -> None:
    family = load(name)
    ours, _ = family.make_vec(family.sample("train", 1, seed=0), 2000).reset(seed=0)
    env = gymnasium.make(family.gymnasium_id)
    theirs = np.stack([env.reset(seed=seed)[0] for seed in range(2000)])
    for column in range(ours.shape[1]):
        assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3


@pytest.mark.parametrize("name", PHYSICS)
def test_physics_have_gymnasiums_horizon_and_spaces_and_its_task_within_training(name: str) -> None:
    family = load(name)
    env = gymnasium.make(family.gymnasium_id)
    assert env.spec is not None and family.horizon == env.spec.max_episode_steps
    assert family.action_space == env.action_space
    assert family.observation_space.shape == env.observation_space.shape
    own = {name: float(getattr(env.unwrapped, ATTRIBUTES.get(name, name))) for name in family.parameters}
    assert family.contains("train", family.tasks(own)).all()


@pytest.mark.parametrize("name", PHYSICS)
def test_physics_tasks_lie_within_carls_bounds(name: str) -> None:
    family = load(name)
    for split in family.splits:
        for parameter, values in family.sample(split, 200, seed=0).values.items():
            low, high = (
                (0, math.inf) if name.startswith("mountain") and parameter == "gravity" else CARL_BOUNDS[parameter]
            )
            assert (values > low).all() and (values < high).all()


# Good controllers.


def to_goal_point(observations: np.ndarray, task: Values) -> np.ndarray:
    return np.clip(task["goal"] - observations, -0.1, 0.1).astype(np.float32)


def to_goal_cell(observations: np.ndarray, task: Values) -> np.ndarray:
    right, up = np.moveaxis(np.sign(task["goal"] - observations).astype(int), -1, 0)
    return np.where(right != 0, 3 - right, np.where(up != 0, 2 - up, 0))


def best_arm(observations: np.ndarray, task: Values) -> np.ndarray:
    return np.broadcast_to(task["means"].argmax(axis=-1), observations.shape[:-1])


def balance(observations: np.ndarray, task: Values) -> np.ndarray:
    return (observations @ np.array([0.02, 0.05, 1.0, 0.3]) > 0).astype(np.int64)


def swing_by_energy(observations: np.ndarray, task: Values) -> np.ndarray:
    cos, sin, speed = np.moveaxis(observations.astype(np.float64), -1, 0)
    angle, weight = np.arctan2(sin, cos), task["m"] * task["g"] * task["l"] / 2
    missing = weight * (1 - cos) - task["m"] * task["l"] ** 2 / 6 * speed**2
    swing = np.where(speed * missing >= 0, 2.0, -2.0)
    hold = np.clip(-weight * (2 * angle + 0.8 * speed), -2, 2)
    return np.where(np.abs(angle) < 0.4, hold, swing)[..., None].astype(np.float32)


def with_velocity(observations: np.ndarray, task: Values) -> np.ndarray:
    return np.where(observations[..., 1] >= 0, 2, 0)


def against_first_link(observations: np.ndarray, task: Values) -> np.ndarray:
    return np.where(observations[..., 4] >= 0, 0, 2)


Controller = Callable[[np.ndarray, Values], np.ndarray]
CONTROLLERS: dict[str, Controller] = {
    "point-dense": to_goal_point,
    "gridnavi": to_goal_cell,
    "gaussian-bandit": best_arm,
    "cartpole-physics": balance,
    "pendulum-physics": swing_by_energy,
    "mountain-car-physics": with_velocity,
    "acrobot-physics": against_first_link,
}
"""Actions from observations [..., *observation] and task values [..., *shape]."""
ROOM = {
    "point-dense": 10.0,
    "gridnavi": 5.0,
    "gaussian-bandit": 1000.0,
    "cartpole-physics": 300.0,
    "pendulum-physics": 500.0,
    "mountain-car-physics": 40.0,
    "acrobot-physics": 200.0,
}
"""Least gain of the controller's mean return over a random agent's."""


class Knowing(Agent, Learner):
    """An agent that knows its tasks."""

    def __init__(self, act: Controller, tasks: Tasks) -> None:
        self.controller = act
        self.values = {name: value[:, None] for name, value in tasks.values.items()}

    def begin(self, streams: Streams) -> Learner:
        return self

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        return self.controller(timestep.observations, self.values)

    def adapt(self, episodes: Episodes) -> None:
        pass


def returns(family: TaskFamily, tasks: Tasks, agent: Agent) -> np.ndarray:
    return run_trial(agent, family.make_vec(tasks), 1, seed=0).returns[0, :, 0]


@pytest.mark.parametrize(
    ("name", "split"),
    [(name, split) for name in CONTROLLERS for split in ("test", "extrapolation") if split in load(name).splits],
)
def test_good_controller_scores_well_above_a_random_agent(name: str, split: str) -> None:
    family = load(name)
    tasks = family.sample(split, 30, seed=0)
    good = returns(family, tasks, Knowing(CONTROLLERS[name], tasks))
    random = returns(family, tasks, metarl.make_agent("random", family))
    assert good.mean() > random.mean() + ROOM[name]


def test_walker_in_gridnavi_earns_what_its_path_allows() -> None:
    family = load("gridnavi")
    tasks = family.sample("test", 100, seed=0)
    length = tasks.values["goal"].sum(axis=1)
    expected = -0.1 * (length - 1) + (15 - (length - 1))
    np.testing.assert_allclose(returns(family, tasks, Knowing(to_goal_cell, tasks)), expected)


def test_best_arm_earns_its_mean_in_every_pull() -> None:
    family = load("gaussian-bandit")
    tasks = family.sample("test", 50, seed=0)
    earned = returns(family, tasks, Knowing(best_arm, tasks)) / 1000
    np.testing.assert_allclose(earned, tasks.values["means"].max(axis=1), atol=5 / math.sqrt(1000))


class Planner(Agent, Learner):
    """The optimal policy of each tabular MDP, by value iteration over the steps left of the ten."""

    def __init__(self, tasks: Tasks) -> None:
        transitions, rewards = tasks.values["transitions"], tasks.values["rewards"]
        value, self.plan = np.zeros(rewards.shape[:2]), []
        for _ in range(10):
            gain = rewards + np.einsum("tsaz,tz->tsa", transitions, value)
            self.plan.append(gain.argmax(axis=2))
            value = gain.max(axis=2)
        self.expected = value[:, 0]

    def begin(self, streams: Streams) -> Learner:
        return self

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        return np.take_along_axis(self.plan.pop(), timestep.observations.argmax(axis=-1), axis=1)

    def adapt(self, episodes: Episodes) -> None:
        pass


def test_optimal_policy_of_tabular_mdps_earns_what_value_iteration_says_and_a_random_one_what_the_paper_says() -> None:
    family = load("tabular-mdp")
    tasks = family.sample("test", 1000, seed=0)
    planner = Planner(tasks)
    good = run_trial(planner, family.make_vec(tasks, 10), 1, seed=0).returns.mean(axis=(0, 2))
    random = returns(family, tasks, metarl.make_agent("random", family))
    error = good - planner.expected
    assert abs(error.mean()) < 5 * error.std() / math.sqrt(len(error))
    # 21.82 ± 0.02 over 20,000 MDPs drawn with NumPy; 100.1 in ten episodes in the paper's table.
    assert good.mean() == pytest.approx(21.82, abs=5 * good.std() / math.sqrt(1000))
    assert random.mean() == pytest.approx(10.01, abs=5 * random.std() / math.sqrt(1000))
