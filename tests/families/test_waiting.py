"""A process of a vector environment that hangs is killed after a bounded wait, and told in one line."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from gymnasium.envs.classic_control import PendulumEnv
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv
from gymnasium.wrappers.vector import ClipReward

from metarl.base.errors import MetarlError, UserCodeError
from metarl.families.distributions import Choice
from metarl.families.task import Horizon, Parameter, Values
from metarl.families.vectors import VectorFamily

REMEDY = "its process did not answer within 1 s and was killed; repair what hangs, or, if it is only slow, set"
HANG = 30.0
"""Seconds that a hanging environment sleeps. Whoever waits for it gets no error, and the test fails."""


class Hanging(PendulumEnv):
    """A pendulum that hangs in one of its functions, if it is heavy."""

    def __init__(self, g: float, place: str) -> None:
        super().__init__(g=g, render_mode="rgb_array")
        self.place = place if g == 10.0 else ""
        self.hang("make")

    def hang(self, place: str) -> None:
        # The first environment is also made in the parent, which asks it for its spaces.
        if self.place == place and multiprocessing.parent_process() is not None:
            time.sleep(HANG)

    def reset(self, **given: Any) -> Any:
        self.hang("reset")
        return super().reset(**given)

    def step(self, action: Any) -> Any:
        self.hang("step")
        return super().step(action)

    def render(self) -> Any:
        self.hang("render")
        return np.zeros((2, 2, 3), dtype=np.uint8)

    def move(self) -> None:
        self.hang("call")

    @property
    def wind(self) -> float:
        return 0.0

    @wind.setter
    def wind(self, value: float) -> None:
        self.hang("set_attr")

    def close(self) -> None:
        self.hang("close")


@dataclass(frozen=True)
class Hangs(VectorFamily):
    name: ClassVar[str] = "hangs"
    worker_timeout: ClassVar[float] = 1.0
    place: str = ""
    horizon: Horizon = 50

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"g": Parameter(Choice((9.0, 10.0)))}

    def make(self, values: Values, render_mode: str | None) -> VectorEnv[Any, Any, Any]:
        worlds = [functools.partial(Hanging, float(g), self.place) for g in values["g"]]
        return ClipReward(AsyncVectorEnv(worlds, autoreset_mode=AutoresetMode.DISABLED), min_reward=-20)

    def change(self, envs: VectorEnv[Any, Any, Any], where: np.ndarray, values: Values) -> None:
        inner: Any = envs.unwrapped
        inner.set_attr("wind", 1.0) if self.place == "set_attr" else inner.call("move")


def play(family: Hangs) -> None:
    """Do once all that a batch does with its processes."""
    envs = family.make_vec(family.tasks([{"g": 9.0}, {"g": 10.0}]))
    envs.render_mode = "rgb_array"
    envs.reset(seed=0)
    envs.step(np.zeros((2, 1), dtype=np.float32))
    envs.change(np.ones(2, dtype=bool), envs.values)
    envs.render_world(0)
    envs.close()


@pytest.fixture(autouse=True)
def _killed_on_the_way_out() -> Any:
    before = set(multiprocessing.active_children())
    yield
    assert set(multiprocessing.active_children()) <= before


def test_environment_that_answers_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hangs, "worker_timeout", 60.0)
    play(Hangs())


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("make", "family 'hangs', make"),
        ("reset", "family 'hangs', task {'g': 10.0}, reset"),
        ("step", "family 'hangs', task {'g': 10.0}, step 1 of an episode"),
        ("call", "family 'hangs', task {'g': 10.0}, change"),
        ("set_attr", "family 'hangs', 2 worlds, change"),
        ("render", "family 'hangs', task {'g': 10.0}, render"),
        ("close", "family 'hangs', close"),
    ],
)
def test_process_that_hangs_is_killed_and_told_with_its_world(place: str, told: str) -> None:
    with pytest.raises(MetarlError) as caught:
        play(Hangs(place))
    due = REMEDY.replace("1 s", "2 s") if place == "set_attr" else REMEDY
    assert str(caught.value).startswith(f"{told}: {due}")
    assert "\n" not in str(caught.value) and not isinstance(caught.value, UserCodeError)


def test_process_that_was_stopped_is_killed_too() -> None:
    family = Hangs()
    envs = family.make_vec(family.tasks([{"g": 9.0}, {"g": 10.0}]))
    envs.reset(seed=0)
    inner: Any = envs.batch.envs  # type: ignore[attr-defined]
    os.kill(inner.unwrapped.processes[0].pid, signal.SIGSTOP)
    with pytest.raises(MetarlError, match=r"task \{'g': 9\.0\}, step 1 of an episode: its process did not answer"):
        envs.step(np.zeros((2, 1), dtype=np.float32))
    envs.close()


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), float("inf"), "2", None])
def test_wrong_limit_is_refused(seconds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hangs, "worker_timeout", seconds)
    with pytest.raises(
        MetarlError, match=r"worker_timeout of family 'hangs' is .*; it must be seconds above 0, at most"
    ):
        play(Hangs())
