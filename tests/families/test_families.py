"""Families around plain Gymnasium classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.classic_control import PendulumEnv

from metarl.base.errors import MetarlError
from metarl.checks.check import check_family
from metarl.families.classes import ClassFamily
from metarl.families.distributions import Uniform
from metarl.families.task import Horizon, Parameter
from metarl.trials.agent import Agent, Learner
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial


@dataclass(frozen=True)
class PendulumGravity(ClassFamily):
    """Gymnasium's Pendulum with its gravity as the task."""

    name: ClassVar[str] = "pendulum-gravity"
    horizon: Horizon = 30

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"gravity": Parameter(Uniform(5.0, 15.0), Uniform(15.0, 20.0), "m/s^2")}

    def make(self, task: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
        return PendulumEnv(render_mode=render_mode, g=task["gravity"])


class Counter(gymnasium.Env[np.ndarray, int]):
    """Terminates and succeeds after `length` steps of action 1; truncates itself after 4 steps."""

    observation_space = spaces.Box(0.0, 100.0, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self, length: float, render_mode: str | None) -> None:
        self.length, self.render_mode = length, render_mode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.ones = self.steps = 0
        return np.zeros(1, dtype=np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps, self.ones = self.steps + 1, self.ones + int(action)
        done = self.ones >= self.length
        return np.full(1, self.ones, dtype=np.float32), 1.0, done, self.steps >= 4, {"is_success": done}

    def render(self) -> np.ndarray:
        return np.full((2, 2, 3), self.ones, dtype=np.uint8)


@dataclass(frozen=True)
class Counters(ClassFamily):
    """Counters of different length."""

    name: ClassVar[str] = "counters"
    horizon: Horizon = 10

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"length": Parameter(Uniform(1.0, 9.0))}

    def make(self, task: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
        return Counter(task["length"], render_mode)


def test_plain_gymnasium_class_as_a_family_keeps_every_rule() -> None:
    assert check_family(PendulumGravity()) == []


def test_plain_class_in_a_batch_equals_the_class_by_itself() -> None:
    family = PendulumGravity()
    envs = family.make_vec(family.tasks([{"gravity": 6.0}, {"gravity": 14.0}]))
    observations, _ = envs.reset(seed=0)
    alone = [family.make({"gravity": gravity}, None) for gravity in (6.0, 14.0)]
    for env, batched in zip(alone, envs.batch.envs, strict=True):  # type: ignore[attr-defined]
        env.reset(seed=0)
        env.unwrapped.state = batched.unwrapped.state.copy()  # type: ignore[attr-defined]
    for action in np.random.default_rng(0).uniform(-2, 2, (20, 2, 1)).astype(np.float32):
        observations, rewards, *_ = envs.step(action)
        for world, env in enumerate(alone):
            observation, reward, *_ = env.step(action[world])
            np.testing.assert_array_equal(observations[world], observation)
            assert rewards[world] == reward


def test_ends_and_successes_of_the_class_are_kept_apart() -> None:
    family = Counters()
    envs = family.make_vec(family.tasks([{"length": 2.0}, {"length": 4.0}, {"length": 9.0}]))

    class Ones(Agent, Learner):
        def begin(self, streams: Any) -> Any:
            return self

        def act(self, timestep: Any, *, deterministic: bool) -> np.ndarray:
            return np.ones((3, 1), dtype=np.int64)

        def adapt(self, episodes: Any) -> None:
            pass

    episodes = run_trial(Ones(), envs, 1, seed=0).rounds[0]
    np.testing.assert_array_equal(episodes.lengths, [[2], [4], [4]])
    # The second world reached its end in its last step. Nothing follows, so it terminated.
    np.testing.assert_array_equal(episodes.terminations.any(axis=0), [[True], [True], [False]])
    np.testing.assert_array_equal(episodes.truncations.any(axis=0), [[False], [False], [True]])
    assert episodes.successes is not None
    np.testing.assert_array_equal(episodes.successes, [[True], [True], [False]])


def test_plain_class_renders_itself() -> None:
    family = Counters()
    from metarl.adapters.gymnasium import SingleEnv

    env = SingleEnv(family, {"length": 9.0}, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(1)
    picture = env.render()
    assert picture is not None
    assert (picture == 1).all()


@pytest.mark.parametrize("agent", ["maml-ppo", "rl2", "random"])
def test_agents_play_plain_classes(agent: str) -> None:
    family = PendulumGravity()
    envs = family.make_vec(family.sample("train", 2, seed=0), 2)
    assert run_trial(make_agent(agent, family), envs, 2, seed=0).returns.shape == (2, 2, 2)


def test_spaces_that_no_agent_takes_are_refused_with_the_remedy() -> None:
    class Both(Counters):
        def make(self, task: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
            env = Counter(1.0, None)
            env.observation_space = spaces.Dict({"a": spaces.Text(2)})  # type: ignore[assignment]
            return env

    with pytest.raises(MetarlError, match=r"part 'a'.*gymnasium.wrappers.TransformObservation"):
        _ = Both().observation_space
