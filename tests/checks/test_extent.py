"""Slow families are checked in bounded time, and what is played less is told."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from metarl.checks.check import check_family
from metarl.checks.extent import BUDGET, EXTRA, FULL, Extent, Pace, choose_extent, count, measure
from metarl.families.classes import ClassFamily
from metarl.families.distributions import Uniform
from metarl.families.task import Horizon, Parameter

counted = {"worlds": 0, "resets": 0, "steps": 0}


class Walk(gymnasium.Env[np.ndarray, np.ndarray]):
    """A walk that counts what is done with it."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), dtype=np.float64)
    action_space = spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)

    def __init__(self, pull: float, pause: float) -> None:
        self.pull, self.pause = pull, pause
        counted["worlds"] += 1

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        counted["resets"] += 1
        self.place = self.np_random.normal()
        return np.array([self.place]), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        counted["steps"] += 1
        time.sleep(self.pause)
        self.place += self.pull * float(action[0])
        return np.array([self.place]), -abs(self.place), False, False, {}


@dataclass(frozen=True)
class Walks(ClassFamily):
    """Walks with an unknown pull."""

    name: ClassVar[str] = "walks"
    pause: float = 0.0
    idle: bool = False
    horizon: Horizon = 60

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"pull": Parameter(Uniform(0.1, 0.5)), **({"dead": Parameter(Uniform(0.1, 0.5))} if self.idle else {})}

    def make(self, task: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
        return Walk(task["pull"], self.pause)


def test_quick_family_is_played_in_full_without_a_word(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("metarl.checks.check.measure", lambda family: Pace(0.01, 0.01, 1e-3))
    assert check_family(Walks()) == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("extent", [FULL, Extent(6, 2)], ids=str)
def test_what_the_checks_play_is_what_was_counted_on(extent: Extent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metarl.checks.check.measure", lambda family: Pace(0, 0, 0))
    monkeypatch.setattr("metarl.checks.check.choose_extent", lambda family, pace: extent)
    counted.update(worlds=0, resets=0, steps=0)
    assert check_family(Walks()) == []
    counted["steps"] -= 2 * 60  # the whole episode, for which there is extra time
    for real, expected in zip(counted.values(), count(extent, 60, 1), strict=True):
        assert expected / 1.35 < real < expected * 1.35, (counted, count(extent, 60, 1))


@pytest.mark.parametrize("pace", [Pace(1e-3, 1e-3, 0.01), Pace(0.1, 0.1, 0.01), Pace(0.01, 0.01, 0.1)], ids=str)
def test_slow_family_keeps_to_the_budget(pace: Pace) -> None:
    extent = choose_extent(Walks(horizon=1000), pace)
    assert extent != FULL
    assert pace.seconds(*count(extent, 1000, 1)) < 1.5 * BUDGET
    assert extent.horizon is not None and 2 * extent.horizon * pace.step <= EXTRA
    assert extent.num_tasks >= 2 and extent.rare_replicas >= 2 and extent.steps >= 3


def test_measured_pace_is_that_of_the_worlds() -> None:
    assert 0.005 <= measure(Walks(pause=0.005)).step < 0.5


def test_wait_for_a_core_is_not_the_familys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine where each step waits a second for its turn, of which the family has nothing."""
    schedule = tmp_path / "schedstat"
    schedule.write_text("0 0 0")
    monkeypatch.setattr("metarl.checks.extent._SCHEDULE", schedule)
    now = [0.0]

    def wait(seconds: float) -> None:
        now[0] += 1.0 + seconds
        schedule.write_text(f"0 {int(schedule.read_text().split()[1]) + 10**9} 0")

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    monkeypatch.setattr("time.sleep", wait)
    assert measure(Walks(pause=0.25)).step == pytest.approx(0.25)


def test_slow_family_is_told_what_is_played_less(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("metarl.checks.check.measure", lambda family: Pace(0.01, 0.02, 0.4))
    began = dict(counted)
    (finding,) = check_family(Walks(idle=True))
    assert (
        "parameter 'dead', varied alone, changes neither observations, rewards nor right answers in 12 steps" in finding
    )
    assert counted["steps"] - began["steps"] < 600
    told = capsys.readouterr().err
    assert told.startswith("metarl: family 'walks': a world takes 0.01 s to make, 0.02 s a reset and 0.4 s a step, so")
    assert re.search("3 steps of an episode, not 25; 2 tasks of a batch, not 5; 10 steps of a whole episode", told)
    assert told.count("\n") == 1
