"""Observations of thousands of numbers, such as images: the linear baseline projects them, and an update is quick."""

from __future__ import annotations

import resource
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from gymnasium import spaces
from metarl.agents.common.encoders import ObservationEncoder, VectorEncoder
from metarl.agents.maml.baseline_inputs import MOST_FEATURES, BaselineInputs, project
from metarl.agents.maml.baselines import LinearBaseline

from metarl.base.streams import Streams, generator
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.distributions import Uniform
from metarl.families.task import Horizon, Parameter, Values
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial


@dataclass(frozen=True)
class Screen(ArrayFamily):
    """A picture whose brightness is a place; the hidden goal is a brightness."""

    name: ClassVar[str] = "screen"
    horizon: Horizon = 10
    side: int = 84

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"goal": Parameter(Uniform(50.0, 200.0))}

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(0, 255, (self.side, self.side, 1), dtype=np.uint8)

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)

    def initial(self, task: Values, streams: Streams) -> State:
        return {"light": 20.0 + 200.0 * streams.uniform()}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        return {"light": np.clip(state["light"] + 20 * action[:, 0], 0, 255)}

    def observation(self, state: State) -> np.ndarray:
        ramp = np.linspace(0.2, 1.0, self.side**2).reshape(self.side, self.side, 1)
        return (state["light"][:, None, None, None] * ramp).astype(np.uint8)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return -np.abs(after["light"] - task["goal"]) / 100


def test_maml_updates_on_an_image_of_84_by_84_in_little_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    family = Screen()
    settings = {"hidden_sizes": [16], "outer": {"num_epochs": 1}}
    agent = make_agent("maml-ppo", family, settings, seed=0, device="cpu")
    for update in range(2):
        trial = run_trial(agent, family.make_vec(family.sample("train", 2, seed=update), 4), 2, seed=update)
        metrics = agent.update(trial, generator(update))  # type: ignore[attr-defined]
        assert all(np.isfinite(value) for value in metrics.values())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2 * 1024**2  # kB


def test_the_projection_of_a_task_is_the_same_alone_and_says_what_the_observations_say() -> None:
    family = Screen(side=20)
    agent = make_agent("random", family, {}, seed=0, device="cpu")
    episodes = run_trial(agent, family.make_vec(family.sample("train", 3, seed=0), 4), 1, seed=0).rounds[0]
    observations = episodes.observations.reshape(*episodes.mask.shape, -1)
    final = episodes.final_observations.reshape(*episodes.mask.shape[1:], -1)
    together, ends = project(observations, final, episodes.mask)
    assert together.shape == (*episodes.mask.shape, MOST_FEATURES)
    alone, end = project(observations[:, 1:2], final[1:2], episodes.mask[:, 1:2])
    np.testing.assert_array_equal(alone[:, 0], together[:, 1])
    np.testing.assert_array_equal(end[0], ends[1])
    # What the picture shows is what the values can follow: its brightness.
    target = observations.mean(axis=-1)
    encoder = ObservationEncoder(VectorEncoder(), family.observation_space)
    values = LinearBaseline(BaselineInputs(encoder)).values(episodes, target).steps
    assert np.abs(values - target).mean() < 0.1 * np.abs(target - target.mean()).mean()
