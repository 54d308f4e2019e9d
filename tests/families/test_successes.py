"""Success flags of environments: unknown is not true."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

from metarl.evaluation.evaluate import evaluate
from metarl.families.classes import ClassFamily
from metarl.families.distributions import Choice
from metarl.families.successes import read_success, read_successes
from metarl.families.task import Horizon, Parameter, Values
from metarl.families.vectors import VectorFamily
from metarl.trials.registered import make_agent

NAN = float("nan")
SAID: Mapping[float, dict[str, Any]] = {0.0: {"success": NAN}, 1.0: {"success": True}, 2.0: {}, 3.0: {"success": None}}
"""Info of every step by the number of the task."""


class Says(gymnasium.Env[np.ndarray, int]):
    observation_space = spaces.Box(-1.0, 1.0, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self, number: float) -> None:
        self.number = number

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        return np.zeros(1, dtype=np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return np.zeros(1, dtype=np.float32), 0.0, False, False, dict(SAID[self.number])


@dataclass(frozen=True)
class Classes(ClassFamily):
    name: ClassVar[str] = "says"
    numbers: tuple[float, ...] = (0.0, 1.0, 2.0, 3.0)
    horizon: Horizon = 2

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"number": Parameter(Choice(self.numbers))}

    def make(self, task: dict[str, Any], render_mode: str | None) -> Says:
        return Says(task["number"])


@dataclass(frozen=True)
class Vectors(VectorFamily):
    name: ClassVar[str] = "say"
    numbers: tuple[float, ...] = (0.0, 1.0, 2.0)
    horizon: Horizon = 2

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"number": Parameter(Choice(self.numbers))}

    def make(self, values: Values, render_mode: str | None) -> VectorEnv[Any, Any, Any]:
        makers = [functools.partial(Says, float(number)) for number in values["number"]]
        return SyncVectorEnv(makers, autoreset_mode=AutoresetMode.DISABLED)


@pytest.mark.parametrize("family", [Classes(), Vectors()])
def test_success_that_is_nan_or_none_is_unknown_and_not_true(family: Any) -> None:
    envs = family.make_vec(family.tasks([{"number": number} for number in family.numbers]))
    envs.reset(seed=0)
    infos = envs.step(np.zeros(len(family.numbers), dtype=np.int64))[4]
    expected = np.array(family.numbers) == 1.0
    np.testing.assert_array_equal(infos["success"], expected)
    np.testing.assert_array_equal(infos["_success"], expected)


@pytest.mark.parametrize("family", [Classes(numbers=(0.0,)), Classes(numbers=(2.0, 3.0)), Vectors(numbers=(0.0,))])
def test_evaluation_shows_no_success_rate_where_no_success_is_ever_known(family: Any) -> None:
    found = evaluate(make_agent("random", family), family, num_tasks=2)
    assert found.success_rate is None


def test_evaluation_counts_the_successes_that_are_known() -> None:
    family = Classes(numbers=(1.0,))
    np.testing.assert_array_equal(evaluate(make_agent("random", family), family, num_tasks=2).success_rate, 1.0)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({}, None),
        ({"success": NAN}, None),
        ({"success": np.float32("nan"), "is_success": True}, True),
        ({"success": 0.0, "is_success": True}, False),
        ({"is_success": np.bool_(True)}, True),
    ],
)
def test_first_key_that_says_something_tells_the_success(info: dict[str, Any], expected: bool | None) -> None:
    assert read_success(info) is expected


def test_successes_of_a_vector_environment_are_known_where_its_mask_and_its_values_say_so() -> None:
    where = np.array([True, True, True, True, False])
    flags = np.array([1.0, NAN, 0.0, 1.0, 1.0])
    infos = {"success": flags, "_success": np.array([True, True, True, False, True])}
    found = read_successes(infos, where)
    assert found is not None
    np.testing.assert_array_equal(found[0], [True, False, False, False, False])
    np.testing.assert_array_equal(found[1], [True, False, True, False, False])
    assert read_successes({"success": np.full(5, None)}, where) is None
    assert read_successes({}, where) is None
