"""Options that `load` adds to any family, and the family of any Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import mujoco
import numpy as np
import pytest
from gymnasium import spaces

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.classes import ClassFamily
from metarl.families.distributions import Uniform
from metarl.families.load import load
from metarl.families.mujoco.canvas import choose_offscreen_backend
from metarl.families.mujoco.models import ASSETS
from metarl.families.mujoco.varied import VariedFamily
from metarl.families.switching import SwitchingFamily
from metarl.families.task import Horizon, Parameter, Values
from metarl.families.vector import BatchedEnv

THICKER: Mapping[str, Any] = {"girth": {"scale": "geom_size[torso][0]", "train": {"uniform": [0.5, 4]}}}


@dataclass(frozen=True)
class Starts(ArrayFamily):
    """Worlds that start at their task, stay there, and earn it as reward."""

    name: ClassVar[str] = "starts"
    source: ClassVar[str] = "a paper"
    requires: ClassVar[str] = "numpy"
    shows_task: ClassVar[bool] = True
    pauses: ClassVar[bool] = False
    side_by_side: ClassVar[bool] = False
    horizon: Horizon = 3
    observation_space = spaces.Box(-np.inf, np.inf, (1,), dtype=np.float64)
    action_space = spaces.Discrete(2)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"place": Parameter(Uniform(0.0, 100.0))}

    def initial(self, task: Values, streams: Streams) -> State:
        return {"place": task["place"].copy()}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        return {"place": state["place"].copy()}

    def observation(self, state: State) -> np.ndarray:
        return state["place"][:, None]

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return task["place"].copy()


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # Gymnasium's classes make MuJoCo write a log file


def test_a_family_that_switches_is_what_its_base_is() -> None:
    family = SwitchingFamily(Starts(), (3,))
    assert (family.name, family.source, family.requires) == ("starts", "a paper", "numpy")
    assert (family.shows_task, family.pauses, family.side_by_side, family.horizon) == (True, False, False, 3)
    assert family.origin is Starts


def test_a_family_that_varies_is_what_its_base_is() -> None:
    base = load("half-cheetah-crippled", horizon=9)
    family = load("half-cheetah-crippled", horizon=9, varies=THICKER)
    assert isinstance(family, VariedFamily)
    assert family.source.startswith("Nagabandi")
    assert (family.name, family.source, family.horizon) == (base.name, base.source, 9)
    assert family.origin is type(base)


@pytest.mark.parametrize("options", [{"switch_at": 3}, {"varies": THICKER}, {"switch_at": 3, "varies": THICKER}])
def test_a_family_with_options_takes_another_horizon_and_keeps_them(options: dict[str, Any]) -> None:
    family = load("half-cheetah-crippled", **options)
    shorter = family.with_horizon(7)
    assert (family.horizon, shorter.horizon) == (200, 7)
    assert shorter.parameters.keys() == family.parameters.keys()
    envs = shorter.make_vec(shorter.sample("train", 1, seed=0), threads=0)
    envs.reset(seed=0)
    ends = [bool(envs.step(np.zeros((1, 6), dtype=np.float32))[3][0]) for _ in range(7)]
    assert ends == [False] * 6 + [True]


def test_worlds_that_enter_different_phases_in_one_step_get_each_its_own_task() -> None:
    family = SwitchingFamily(Starts(horizon=20), (2, 3))
    envs = family.make_vec(family.tasks({"place": 10.0, "place@2": 20.0, "place@3": 30.0}), 2)
    envs.reset(seed=0)
    still, everyone = np.zeros(2, dtype=np.int64), np.ones(2, dtype=bool)
    envs.advance(still, np.array([False, True]))
    assert [envs.advance(still, everyone).rewards.tolist() for _ in range(4)] == [
        [10.0, 10.0],
        [10.0, 20.0],
        [20.0, 30.0],
        [30.0, 30.0],
    ]


def test_an_episode_that_begins_at_the_switch_begins_with_the_new_task() -> None:
    family = SwitchingFamily(Starts(), (3,))
    envs = family.make_vec(family.tasks({"place": 1.0, "place@3": 2.0}))
    first, _ = envs.reset(seed=0)
    for _ in range(3):
        envs.step(np.zeros(1, dtype=np.int64))
    second, _ = envs.reset()
    again, _ = envs.reset(seed=0)
    assert [float(seen[0, 0]) for seen in (first, second, again)] == [1.0, 2.0, 1.0]


def test_a_picture_shows_the_body_as_it_is_after_the_switch() -> None:
    try:
        choose_offscreen_backend()
    except MetarlError as error:
        pytest.skip(str(error))
    family = load("half-cheetah-crippled", varies=THICKER, switch_at=1)
    thin = {"joint": 0, "girth": 1, "joint@1": 0, "girth@1": 1}
    pictures = []
    for task in (thin, thin, {**thin, "girth@1": 4}):
        envs = BatchedEnv(family, family.tasks(task), threads=0, render_mode="rgb_array")
        envs.reset(seed=0)
        for _ in range(2):  # the second step begins with the switch
            envs.step(np.zeros((1, 6), dtype=np.float32))
        pictures.append(picture(envs))
        envs.close()
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert (pictures[0] != pictures[2]).any(axis=2).mean() > 0.001


def picture(envs: BatchedEnv) -> np.ndarray:
    frames = envs.render()
    assert frames is not None
    return frames[0]


def test_the_horizon_replaces_a_gymnasium_environments_own_time_limit() -> None:
    family = load("gymnasium", "pendulum-gravity", horizon=1000)
    envs = family.make_vec(family.sample("train", 1, seed=0))
    envs.reset(seed=0)
    ends = [bool(envs.step(np.zeros((1, 1), dtype=np.float32))[3][0]) for _ in range(1000)]
    assert ends == [False] * 999 + [True]


def test_a_changed_mass_reaches_the_derived_constants_of_a_gymnasium_environment() -> None:
    family = load("gymnasium", "inverted-pendulum-mass")
    assert isinstance(family, ClassFamily)
    env = family.make({"mass": 2.0}, None)
    spec = mujoco.MjSpec.from_file(str(ASSETS / "inverted_pendulum.xml"))
    (pole,) = (geom for geom in spec.geoms if geom.name == "cpole")
    for factor in (2.0, 0.5):
        if factor != 2.0:
            family.change(env, {"mass": factor})
        pole.density = factor * 1000.0
        fresh, ours = spec.compile(), env.unwrapped.model  # type: ignore[attr-defined]
        for constant in ("body_mass", "body_subtreemass", "dof_M0", "dof_invweight0", "body_invweight0"):
            np.testing.assert_allclose(getattr(ours, constant), getattr(fresh, constant), rtol=1e-9)


def test_a_running_environment_whose_task_is_an_argument_too_is_not_changed() -> None:
    varies = {**load("gymnasium", "inverted-pendulum-mass").settings["varies"]}
    varies["reset_noise_scale"] = {"train": {"uniform": [0.01, 0.1]}}
    family = load("gymnasium", env="InvertedPendulum-v5", varies=varies)
    assert isinstance(family, ClassFamily)
    env = family.make({"mass": 2.0, "reset_noise_scale": 0.01}, None)
    mass = env.unwrapped.model.body_mass.copy()  # type: ignore[attr-defined]
    with pytest.raises(MetarlError, match="running environment"):
        family.change(env, {"mass": 0.5, "reset_noise_scale": 0.1})
    np.testing.assert_array_equal(env.unwrapped.model.body_mass, mass)  # type: ignore[attr-defined]
