"""RL^2 on every kind of space: it learns what only an image, a choice or one part of a Dict tells."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from gymnasium import spaces
from metarl.agents.rl2.agent import RL2

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams, generator
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.distributions import Choice
from metarl.families.spaces import ActionSpace
from metarl.families.task import Horizon, Parameter, Values
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.families.kinds import ACTIONS, OBSERVATIONS, Meters
from tests.places import ROOT
from tests.warm import warm_python


@dataclass(frozen=True)
class Shown(ArrayFamily):
    """Each step shows a sign, left or right: an action that agrees with it pays what the task says, 1 on average."""

    name: ClassVar[str] = "shown"
    horizon: Horizon = 6

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"wage": Parameter(Choice((0.5, 1.5)))}

    @property
    def observation_space(self) -> spaces.Space[Any]:
        return spaces.Box(0, 255, (8, 8, 1), dtype=np.uint8)

    @property
    def action_space(self) -> ActionSpace:
        return spaces.Discrete(2)

    def initial(self, task: Values, streams: Streams) -> State:
        return {"sign": streams.integers(2), "paid": np.zeros(streams.shape)}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        return {"sign": streams.integers(2), "paid": self.agreed(state["sign"], action) * task["wage"]}

    def agreed(self, sign: np.ndarray, action: np.ndarray) -> np.ndarray:
        return action == sign

    def observation(self, state: State) -> Any:
        """A bright square, on the left or on the right."""
        image = np.zeros((len(state["sign"]), 8, 8, 1), dtype=np.uint8)
        image[state["sign"] == 0, 3:6, 1:4] = 255
        image[state["sign"] == 1, 3:6, 4:7] = 255
        return image

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return after["paid"]


class Pixels(Shown):
    """The sign is a bright square."""


class OneOfTwo(Shown):
    """The sign is a number; the second of two choices at once answers it."""

    observation_space = spaces.Discrete(2, start=5)
    action_space = spaces.MultiDiscrete([3, 2])

    def agreed(self, sign: np.ndarray, action: np.ndarray) -> np.ndarray:
        return action[:, 1] == sign

    def observation(self, state: State) -> Any:
        return state["sign"] + 5


class Switches(Shown):
    """The sign is a switch of three, and so is the answer."""

    observation_space = spaces.MultiBinary(3)
    action_space = spaces.MultiBinary(2)

    def agreed(self, sign: np.ndarray, action: np.ndarray) -> np.ndarray:
        return action[:, 0] == sign

    def observation(self, state: State) -> Any:
        return np.stack([state["sign"], 0 * state["sign"], 1 - state["sign"]], axis=1)


class InOnePart(Shown):
    """The sign is in one part of a Dict, beside a still image."""

    observation_space = spaces.Dict(
        {"still": spaces.Box(0, 255, (6, 6, 1), dtype=np.uint8), "sign": spaces.Box(-1.0, 1.0, (1,))}
    )

    def observation(self, state: State) -> Any:
        still = np.full((len(state["sign"]), 6, 6, 1), 90, dtype=np.uint8)
        return {"still": still, "sign": 2.0 * state["sign"][:, None] - 1.0}


@pytest.mark.parametrize("family", [Pixels(), OneOfTwo(), Switches(), InOnePart()], ids=lambda f: type(f).__name__)
def test_signs_of_every_kind_are_read_and_answered(family: Shown) -> None:
    settings = {
        "encoder": {"channels": [4], "image_features": 16},
        "memory": {"hidden_size": 32},
        "ppo": {"learning_rate": 5e-3},
    }
    agent = make_agent("rl2", family, settings, seed=0, device="cpu")
    for update in range(12):
        tasks = family.sample("train", 64, seed=0, start=64 * update)
        trial = run_trial(agent, family.make_vec(tasks), 1, seed=update)
        if trial.returns.mean() > 5.2:
            break
        agent.update(trial, generator(0, update))
    mean = run_trial(agent, family.make_vec(family.sample("test", 200, seed=0)), 1, seed=0).returns.mean()
    # Best is 6; a policy that does not see the sign gets 3.
    assert mean > 4.5


SMALL: dict[str, Any] = {
    "dtype": "float64",
    "encoder": {"channels": [4], "image_features": 8},
    "memory": {"hidden_size": 8},
    "ppo": {"num_epochs": 2},
}


@pytest.mark.parametrize("seen", OBSERVATIONS)
@pytest.mark.parametrize("acted", ACTIONS)
def test_every_pair_of_spaces_is_played_and_learned_from(seen: str, acted: str) -> None:
    family = Meters(seen=seen, acted=acted)
    agent = make_agent("rl2", family, {**SMALL, "exploring_starts": {"share": 0.5, "steps": 2}})
    trial = run_trial(agent, family.make_vec(family.sample("train", 2, seed=0), 2), 2, seed=0, training=True)
    before = {name: value.clone() for name, value in agent.network.named_parameters()}
    assert np.isfinite(list(agent.update(trial, generator(0)).values())).all()
    for name, value in agent.network.named_parameters():
        assert not torch.equal(value, before[name]), name


def test_a_task_with_images_plays_alone_as_in_a_batch() -> None:
    family = Meters(seen="dict", acted="multi-discrete")
    agent = make_agent("rl2", family, {"dtype": "float64"})
    tasks = family.sample("train", 4, seed=0)
    together = run_trial(agent, family.make_vec(tasks, 2), 2, seed=0)
    for task in range(4):
        alone = run_trial(agent, family.make_vec(tasks[task : task + 1], 2), 2, seed=0)
        for ours, theirs in zip(alone.rounds, together.rounds, strict=True):
            np.testing.assert_array_equal(ours.actions, theirs.actions[:, task : task + 1])


def test_an_update_reads_images_as_acting_did() -> None:
    agent = make_agent("rl2", Meters(seen="image"), {"dtype": "float64", "bptt_steps": 3})
    trial = run_trial(agent, Meters(seen="image").make_vec(Meters().sample("train", 3, seed=0)), 2, seed=0)
    assert agent.update(trial, generator(0))["first_ratio_deviation"] < 1e-9


def test_cutting_images_into_chunks_changes_no_update(monkeypatch: pytest.MonkeyPatch) -> None:
    from metarl.agents.common.encoders import ObservationEncoder

    family = Meters(seen="tuple")
    trial, states = None, []
    for chunk_size in (10_000, 3):
        monkeypatch.setattr(ObservationEncoder, "chunk_size", chunk_size)
        agent: Any = make_agent("rl2", family, {"dtype": "float64"}, seed=0)
        trial = trial or run_trial(agent, family.make_vec(family.sample("train", 3, seed=0), 2), 2, seed=0)
        agent.update(trial, generator(0))
        states.append(agent.state_dict())
    for name, value in states[0].items():
        torch.testing.assert_close(states[1][name], value, rtol=1e-6, atol=1e-9, msg=name)


def test_vectors_alone_add_no_parameter() -> None:
    agents: list[Any] = [
        make_agent("rl2", Meters(seen="vector"), {"encoder": name}, seed=0) for name in ("auto", "vector")
    ]
    states = [agent.state_dict() for agent in agents]
    assert not any("encoder" in name for name in states[0])
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_the_encoder_is_a_choice_and_pixels_needs_an_image() -> None:
    assert isinstance(make_agent("rl2", Meters(seen="image"), {"encoder": "vector"}), RL2)
    with pytest.raises(MetarlError, match="finds no image"):
        make_agent("rl2", Meters(seen="vector"), {"encoder": "pixels"})
    with pytest.raises(MetarlError, match=r"encoder.*'pixles'.*did you mean 'pixels'"):
        make_agent("rl2", Meters(seen="vector"), {"encoder": "pixles"})


LARGE = """
import resource, numpy as np
from gymnasium import spaces
from tests.families import kinds
from metarl.base.streams import generator
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
kinds.OBSERVATIONS = {"large": spaces.Box(0, 255, (84, 84, 1), dtype=np.uint8)}
family = kinds.Meters(seen="large", horizon=40)
agent = make_agent("rl2", family, {"memory": {"hidden_size": 32}, "ppo": {"num_epochs": 1}})
for update in range(2):
    trial = run_trial(agent, family.make_vec(family.sample("train", 4, seed=update), 2), 2, seed=update)
    agent.update(trial, generator(update))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss is Linux's")
def test_two_updates_on_images_of_84_by_84_fit_into_two_gigabytes() -> None:
    done = subprocess.run([warm_python(), "-c", LARGE], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 2e6, "kilobytes"
