"""A family around a vector environment equals the environment stepped by hand, and refuses what breaks its rules."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space

from metarl.base.errors import MetarlError
from metarl.checks.check import check_family
from metarl.checks.replay import difference, play_new
from metarl.families.distributions import Uniform
from metarl.families.switching import SwitchingFamily
from metarl.families.task import Horizon, Parameter, Values
from metarl.families.vectors import VectorFamily
from metarl.trials.agent import Agent, Learner
from metarl.trials.rollout import run_trial


def cartpole(length: float) -> CartPoleEnv:
    env = CartPoleEnv()
    env.length, env.polemass_length = length, env.masspole * length
    return env


@dataclass(frozen=True)
class Poles(VectorFamily):
    """CartPole with poles of other lengths, in Gymnasium's own vector environments."""

    name: ClassVar[str] = "poles"
    parallel: bool = False
    mode: str = "DISABLED"
    horizon: Horizon = 100

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"length": Parameter(Uniform(0.2, 1.0), Uniform(1.5, 2.0), "m")}

    def make(self, values: Values, render_mode: str | None) -> VectorEnv[Any, Any, Any]:
        makers = [functools.partial(cartpole, float(length)) for length in values["length"]]
        kind = AsyncVectorEnv if self.parallel else SyncVectorEnv
        return kind(makers, autoreset_mode=AutoresetMode[self.mode])


class Line(VectorEnv[np.ndarray, np.ndarray, dict[str, Any]]):
    """Points on a line in one batch, as in a simulator, with faults to switch on."""

    def __init__(self, goals: np.ndarray, fault: str) -> None:
        self.goals, self.fault, self.num_envs = goals, fault, len(goals)
        self.single_observation_space = spaces.Box(-np.inf, np.inf, (1,), np.float64)
        self.single_action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        if fault == "text observation":
            self.single_observation_space = spaces.Text(3)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.metadata = {"autoreset_mode": AutoresetMode.DISABLED}
        if fault == "says no mode":
            self.metadata = {}
        if fault == "one world too many":
            self.num_envs += 1
        self.place = np.zeros(len(goals))
        self.noise = [np.random.default_rng(0) for _ in goals]
        self.closed_by_family = False

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        if self.fault == "one seed":
            super().reset(seed=seed)
        mask = np.ones(len(self.goals), dtype=bool)
        if self.fault != "ignores the mask":
            mask = (options or {}).get("reset_mask", mask)
        for world in np.flatnonzero(mask):
            self.noise[world] = np.random.default_rng(seed[world])
            self.place[world] = 0.1 * self.noise[world].normal()
        return self.place[:, None], {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        self.place += actions[:, 0] + [0.1 * noise.normal() for noise in self.noise]
        near = np.abs(self.place - self.goals) < 0.3
        far = np.abs(self.place) > 3
        return self.place[:, None], -np.abs(self.place - self.goals), far, np.zeros_like(far), {"success": near}

    def close_extras(self, **kwargs: Any) -> None:
        self.closed_by_family = True


@dataclass(frozen=True)
class Lines(VectorFamily):
    """Points on a line, each with its hidden goal."""

    name: ClassVar[str] = "lines"
    fault: str = ""
    horizon: Horizon = 20

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"goal": Parameter(Uniform(-1.0, 1.0))}

    def make(self, values: Values, render_mode: str | None) -> VectorEnv[Any, Any, Any]:
        return Line(values["goal"], self.fault)


@pytest.mark.parametrize("family", [Poles(), Lines()], ids=lambda family: family.name)
def test_vector_family_keeps_every_rule(family: VectorFamily) -> None:
    assert check_family(family) == []


def test_poles_equal_the_same_environments_stepped_by_hand() -> None:
    family = Poles()
    tasks = family.sample("train", 3, seed=0)
    envs = family.make_vec(tasks, 2)
    alone = [cartpole(float(length)) for length in np.repeat(tasks.values["length"], 2)]
    rng = np.random.default_rng(0)
    seeds: list[int] = []
    envs.batch.envs.reset = functools.partial(_record_seeds, envs.batch.envs.reset, seeds)  # type: ignore[attr-defined]
    observations, _ = envs.reset(seed=4)
    ours = np.array([env.reset(seed=seed)[0] for env, seed in zip(alone, seeds, strict=True)])
    np.testing.assert_array_equal(observations, ours)
    lasting = np.ones(6, dtype=bool)
    while lasting.any():
        actions = rng.integers(2, size=6)
        step = envs.advance(actions, lasting)
        for world in np.flatnonzero(lasting):
            observation, reward, terminated, _, _ = alone[world].step(actions[world])
            np.testing.assert_array_equal(step.observations[world], observation)
            assert (step.rewards[world], step.terminations[world]) == (reward, terminated)
        assert (step.rewards[~lasting] == 0).all()
        lasting &= ~(step.terminations | step.truncations)
    envs.close()


def _record_seeds(reset: Any, seeds: list[int], **kwargs: Any) -> Any:
    seeds[:] = seeds or kwargs["seed"]
    return reset(**kwargs)


def test_processes_give_what_one_process_gives_and_end_when_closed() -> None:
    family = Poles(parallel=True)
    tasks = family.sample("train", 2, seed=0)
    assert difference(play_new(family, tasks), play_new(Poles(), tasks)) == ""
    envs = family.make_vec(tasks)
    envs.reset(seed=0)
    processes = envs.batch.envs.processes  # type: ignore[attr-defined]
    assert all(process.is_alive() for process in processes)
    envs.close()
    assert not any(process.is_alive() for process in processes)


def test_environment_made_to_read_the_spaces_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(Lines, "make", lambda self, values, mode: made.append(Line(values["goal"], "")) or made[-1])
    family = Lines()
    assert family.observation_space.shape == (1,)
    assert [env.closed_by_family for env in made] == [True]


def test_success_of_a_vector_environment_is_counted() -> None:
    family = Lines()
    envs = family.make_vec(family.tasks([{"goal": 1.0}, {"goal": -1.0}]))

    class Right(Agent, Learner):
        def begin(self, streams: Any) -> Any:
            return self

        def act(self, timestep: Any, *, deterministic: bool) -> np.ndarray:
            return np.clip(1.0 - timestep.observations, -1, 1).astype(np.float32)

        def adapt(self, episodes: Any) -> None:
            pass

    trial = run_trial(Right(), envs, 1, seed=0)
    np.testing.assert_array_equal(trial.rounds[0].successes, [[True], [False]])


@pytest.mark.parametrize("mode", ["NEXT_STEP", "SAME_STEP"])
def test_environment_that_resets_itself_is_refused_in_one_line(mode: str) -> None:
    family = Poles(mode=mode)
    with pytest.raises(MetarlError, match=r"must be AutoresetMode\.DISABLED") as caught:
        family.make_vec(family.sample("train", 2, seed=0))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("says no mode", "does not say its autoreset mode"),
        ("one world too many", "one world for each row"),
        ("text observation", "observations must be a Box"),
        ("one seed", "must take both"),
        ("ignores the mask", "reset the marked ones alone"),
    ],
)
def test_environment_that_breaks_the_contract_is_refused_in_one_line(fault: str, words: str) -> None:
    family = Lines(fault=fault)
    with pytest.raises(MetarlError) as caught:
        envs = family.make_vec(family.sample("train", 3, seed=0))
        envs.reset(seed=0)
        envs.step(np.ones((3, 1), dtype=np.float32))
        envs.reset(options={"reset_mask": np.array([True, False, False])})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_object_that_is_no_vector_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lines, "make", lambda self, values, mode: gymnasium.make("CartPole-v1"))
    with pytest.raises(MetarlError, match=r"must return a gymnasium\.vector\.VectorEnv"):
        _ = Lines().action_space


def test_world_that_waited_in_mid_episode_is_not_stepped_again_before_a_reset() -> None:
    family = Lines()
    envs = family.make_vec(family.sample("train", 2, seed=0))
    envs.reset(seed=0)
    actions = np.zeros((2, 1), dtype=np.float32)
    observations = envs.advance(actions, np.array([True, True])).observations
    waited = envs.advance(actions, np.array([True, False]))
    np.testing.assert_array_equal(waited.observations[1], observations[1])
    with pytest.raises(MetarlError, match="world 1 of family 'lines' waited in mid-episode"):
        envs.advance(actions, np.array([True, True]))
    envs.reset(options={"reset_mask": np.array([False, True])})
    envs.advance(actions, np.array([True, True]))


def test_task_of_a_running_world_changes_only_where_the_family_says_how() -> None:
    family = Lines()
    envs = family.make_vec(family.sample("train", 2, seed=0))
    with pytest.raises(MetarlError, match=r"change\(envs, where, values\)"):
        envs.batch.change(np.ones(2, dtype=bool), envs.tasks.values)
    with pytest.raises(MetarlError, match=r"change\(envs, where, values\)"):
        SwitchingFamily(family, (5,))
