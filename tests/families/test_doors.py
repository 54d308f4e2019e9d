"""Environments that misbehave: one line names the family, the task, the step, what came and what is due."""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.classic_control import PendulumEnv
from gymnasium.error import DependencyNotInstalled
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from metarl.base.errors import MetarlError, UserCodeError, author_traceback
from metarl.evaluation.evaluate import evaluate
from metarl.families.arrays import ArrayFamily
from metarl.families.classes import ClassFamily
from metarl.families.distributions import Choice
from metarl.families.doors import find_infinite
from metarl.families.task import Horizon, Parameter, Values
from metarl.families.vectors import VectorFamily
from metarl.trials.registered import make_agent
from tests.probes import UnequalEpisodes

Returns = Callable[[np.ndarray], Any]
GOOD = np.zeros(2, dtype=np.float32)


class Faulty(gymnasium.Env[np.ndarray, Any]):
    """Keeps the rules, but for what `resets` and `steps` return; `steps` counts from the second step on."""

    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Discrete(2)

    def __init__(self, resets: Returns | None, steps: Returns | None) -> None:
        self.resets, self.steps, self.count = resets, steps, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.count = 0
        return (GOOD, {}) if self.resets is None else self.resets(GOOD)

    def step(self, action: Any) -> Any:
        self.count += 1
        return (GOOD, 1.0, False, False, {}) if self.steps is None or self.count < 2 else self.steps(GOOD)


@dataclass(frozen=True)
class Faults(ClassFamily):
    name: ClassVar[str] = "faults"
    resets: Returns | None = None
    steps: Returns | None = None
    horizon: Horizon = 5

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"mass": Parameter(Choice((1.0, 2.0)))}

    def make(self, task: dict[str, Any], render_mode: str | None) -> Any:
        faulty = task["mass"] == 2.0
        return Faulty(self.resets if faulty else None, self.steps if faulty else None)


@dataclass(frozen=True)
class VectorFaults(VectorFamily):
    name: ClassVar[str] = "vector-faults"
    steps: Returns | None = None
    horizon: Horizon = 5

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"mass": Parameter(Choice((1.0, 2.0)))}

    def make(self, values: Values, render_mode: str | None) -> VectorEnv[Any, Any, Any]:
        envs: Any = SyncVectorEnv(
            [functools.partial(Faulty, None, None)] * len(values["mass"]), autoreset_mode="Disabled"
        )
        if self.steps is not None:
            envs.step = lambda actions, steps=self.steps: steps(np.zeros((len(actions), 2), dtype=np.float32))
        return envs


def play(family: Any) -> None:
    """Play two worlds, of which only the second misbehaves, for two steps."""
    envs = family.make_vec(family.tasks([{"mass": 1.0}, {"mass": 2.0}]))
    envs.reset(seed=0)
    for _ in range(2):
        envs.step(np.zeros(2, dtype=np.int64))


def fail(error: Exception) -> Returns:
    def raises(observation: np.ndarray) -> Any:
        raise error

    return raises


NAN = float("nan")
RESETS: Mapping[str, tuple[Returns, str]] = {
    "a bare observation of two numbers": (lambda o: o, r"an array of float32 and shape \(2,\); it must return \(obs"),
    "a list": (lambda o: [o, {}], r"it must return \(observation, info\)"),
    "None": (lambda o: None, r"it returned None; it must return \(observation, info\)"),
    "an info that is no dict": (
        lambda o: (o, o),
        r"its info is an array of float32 and shape \(2,\); it must be a dict",
    ),
    "a scalar that would broadcast": (lambda o: (0.0, {}), r"shape \(\); it must be \(2,\), as in observation_space"),
    "another shape": (lambda o: (np.zeros(3), {}), r"shape \(3,\); it must be \(2,\)"),
    "None for an observation": (lambda o: (None, {}), r"the observation is None; it must be numbers of shape \(2,\)"),
    "text": (lambda o: ("ab", {}), r"the observation has shape \(\)"),
    "NaN": (lambda o: (o * NAN, {}), r"the observation is nan at \[0\]; keep it finite"),
    "complex numbers": (lambda o: (o * 1j, {}), "dtype complex64; it must be float32"),
}
STEPS: Mapping[str, tuple[Returns, str]] = {
    "four values": (lambda o: (o, 1.0, False, {}), r"a tuple of 4; it must return \(observation, reward, terminated"),
    "None": (lambda o: None, "it returned None"),
    "another size": (lambda o: (np.zeros(3), 1.0, False, False, {}), r"the observation has shape \(3,\)"),
    "infinity": (lambda o: (o + np.inf, 1.0, False, False, {}), r"the observation is inf at \[0\]"),
    "a reward of NaN": (lambda o: (o, NAN, False, False, {}), "the reward is nan; keep it finite"),
    "a reward that is None": (lambda o: (o, None, False, False, {}), "the reward is None; it must be one number"),
    "a reward that is an array": (lambda o: (o, np.ones(1), False, False, {}), r"shape \(1,\); it must be one number"),
    "a complex reward": (
        lambda o: (o, np.complex64(1j), False, False, {}),
        "the reward is .*1j.*; it must be one number",
    ),
    "a reward beyond floats": (lambda o: (o, 10**400, False, False, {}), r"the reward is 10+\.\.\.; keep it finite"),
    "an end that is None": (lambda o: (o, 1.0, None, False, {}), "terminated is None; it must be a bool"),
    "an end that is NaN": (lambda o: (o, 1.0, False, NAN, {}), "truncated is nan; it must be a bool"),
    "an end that is text": (lambda o: (o, 1.0, "False", False, {}), "terminated is 'False'; it must be a bool"),
    "an info that is None": (lambda o: (o, 1.0, False, False, None), "its info is None; it must be a dict"),
}


@pytest.mark.parametrize("fault", RESETS)
def test_reset_that_breaks_the_rules_is_told_in_one_line(fault: str) -> None:
    returns, words = RESETS[fault]
    with pytest.raises(MetarlError, match=rf"^family 'faults', task {{'mass': 2.0}}, reset: .*{words}") as caught:
        play(Faults(resets=returns))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fault", STEPS)
def test_step_that_breaks_the_rules_is_told_in_one_line(fault: str) -> None:
    returns, words = STEPS[fault]
    place = "family 'faults', task {'mass': 2.0}, step 2 of an episode: "
    with pytest.raises(MetarlError, match=f"^{place}.*{words}") as caught:
        play(Faults(steps=returns))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("end", [False, np.bool_(False), 0, np.array(False)])
def test_values_that_mean_the_same_are_taken(end: Any) -> None:
    play(Faults(steps=lambda o: (o.astype(np.float64), np.float32(1), end, end, {})))


ERRORS = [BrokenPipeError("gone"), OSError(5, "the simulator"), ZeroDivisionError("division"), AssertionError()]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("place", ["reset", "step"])
def test_exception_of_an_environment_keeps_its_traceback_below_one_line(error: Exception, place: str) -> None:
    family = Faults(resets=fail(error)) if place == "reset" else Faults(steps=fail(error))
    doing = "reset" if place == "reset" else "step 2 of an episode"
    told = f"^family 'faults', task {{'mass': 2.0}}, {doing}: {type(error).__name__}"
    with pytest.raises(UserCodeError, match=told) as caught:
        play(family)
    assert caught.value.__cause__ is error
    assert "in raises" in author_traceback(caught.value)


def test_exceptions_where_an_environment_is_made_drawn_changed_and_closed_are_told() -> None:
    class Breaks(Faults):
        name: ClassVar[str] = "faults"

        def make(self, task: dict[str, Any], render_mode: str | None) -> Any:
            env: Any = Faulty(None, None)
            env.render = env.close = functools.partial(fail(ValueError("no picture")), GOOD)
            return env

        def change(self, env: Any, task: dict[str, Any]) -> None:
            raise KeyError("wind")

    class Unmade(Faults):
        name: ClassVar[str] = "faults"

        def make(self, task: dict[str, Any], render_mode: str | None) -> Any:
            raise FileNotFoundError("model.xml")

    with pytest.raises(UserCodeError, match=r"^family 'faults', close: ValueError: no picture"):
        _ = Breaks().observation_space
    Breaks.observation_space, Breaks.action_space = Faulty.observation_space, Faulty.action_space  # type: ignore[assignment]
    envs = Breaks().make_vec(Breaks().sample("train", 1, seed=0))
    envs.render_mode = "rgb_array"
    envs.reset(seed=0)
    with pytest.raises(UserCodeError, match=r"^family 'faults', task \{'mass': .*\}, render: ValueError: no picture"):
        envs.render()
    with pytest.raises(UserCodeError, match=r"change: KeyError: 'wind'"):
        envs.change(np.ones(1, dtype=bool), envs.values)
    with pytest.raises(UserCodeError, match=r"^family 'faults', close: ValueError"):
        envs.close()
    with pytest.raises(
        UserCodeError, match=r"^family 'faults', task \{'mass': .*\}, make: FileNotFoundError: model.xml"
    ):
        _ = Unmade().action_space


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DependencyNotInstalled("pip install pygame"), "^family 'faults' cannot be drawn: .*pip install pygame"),
        (RuntimeError("no display"), r"^family 'faults', task \{'mass': .*\}, render: RuntimeError: no display"),
    ],
)
def test_picture_that_fails_is_told_with_its_remedy(error: Exception, words: str) -> None:
    envs = Faults().make_vec(Faults().sample("train", 1, seed=0))
    envs.reset(seed=0)
    envs.batch.envs[0].render = functools.partial(fail(error), GOOD)  # type: ignore[attr-defined]
    with pytest.raises(MetarlError, match=words):
        envs.render_world(0)


def test_object_that_is_no_environment_is_refused() -> None:
    class Nothing(Faults):
        def make(self, task: dict[str, Any], render_mode: str | None) -> Any:
            return None

    with pytest.raises(MetarlError, match=r"makes None; `make` must return a gymnasium\.Env"):
        _ = Nothing().action_space


def test_fault_of_an_environment_reaches_an_evaluation_and_not_the_learning_rate() -> None:
    family = Faults(steps=lambda o: (o, NAN, False, False, {}))
    with pytest.raises(MetarlError, match="the reward is nan"):
        evaluate(make_agent("random", family), family, num_tasks=4)


@pytest.mark.parametrize(
    ("returns", "words"),
    [
        (
            lambda o: (o[:1], np.ones(2), np.zeros(2, bool), np.zeros(2, bool), {}),
            r"shape \(1, 2\); it must be \(2, 2\)",
        ),
        (lambda o: (o, np.ones((2, 1)), np.zeros(2, bool), np.zeros(2, bool), {}), r"rewards are .* \(2, 1\)"),
        (lambda o: (o, 1.0, np.zeros(2, bool), np.zeros(2, bool), {}), r"they must be numbers of shape \(2,\)"),
        (lambda o: (o, np.ones(2), np.zeros(2), np.zeros(2, bool), {}), "terminations are float64 .* must be bools"),
        (lambda o: (o, np.ones(2), np.zeros(2, bool), {}), "a tuple of 4"),
        (lambda o: (o, np.ones(2), np.zeros(2, bool), np.zeros(2, bool), []), r"its info is \[\]; it must be a dict"),
        (lambda o: (o, np.array([1, NAN]), np.zeros(2, bool), np.zeros(2, bool), {}), "{'mass': 2.0}.* reward is nan"),
        (fail(BrokenPipeError("gone")), "2 worlds, step 1 of an episode: BrokenPipeError: gone"),
    ],
)
def test_vector_environment_that_breaks_the_rules_is_told_in_one_line(returns: Returns, words: str) -> None:
    with pytest.raises(MetarlError, match=f"^family 'vector-faults', .*{words}") as caught:
        play(VectorFaults(steps=returns))
    assert "\n" not in str(caught.value)


class Arrays(UnequalEpisodes):
    """A family whose functions return what a test says."""

    name: ClassVar[str] = "arrays"


@pytest.mark.parametrize(
    ("function", "returns", "words"),
    [
        ("reward", lambda n: 1.0, r"reward of family 'arrays' has shape \(\); it must be \(3,\)"),
        ("reward", lambda n: np.full(n, "x"), "has dtype <U1; it must be numbers"),
        ("reward", lambda n: np.array([0, np.inf, 0]), "task {'length': .*, step 1 of an episode: the reward is inf"),
        ("observation", lambda n: np.full((n, 2), NAN), r"reset: the observation is nan at \[0\]"),
        ("observation", lambda n: np.zeros(n), r"observation of family 'arrays' has shape"),
        ("terminated", lambda n: np.zeros((n, 1), dtype=bool), r"terminated of family 'arrays' has shape \(3, 1\)"),
        ("terminated", lambda n: np.zeros(n), "terminated of family 'arrays' has dtype float64; it must be bool"),
        ("success", lambda n: np.zeros((n, 1), dtype=bool), r"success of family 'arrays' has shape \(3, 1\)"),
        ("transition", lambda n: 1 / 0, "family 'arrays', 3 worlds, step 1 of an episode: ZeroDivisionError"),
    ],
)
def test_functions_of_arrays_that_break_the_rules_are_told_in_one_line(
    function: str, returns: Callable[[int], Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Arrays, function, lambda self, *arguments: returns(3), raising=False)
    envs = Arrays().make_vec(Arrays().sample("train", 3, seed=0))
    with pytest.raises(MetarlError, match=words) as caught:
        envs.reset(seed=0)
        envs.step(np.zeros((3, 2)))
    assert "\n" not in str(caught.value)


def test_success_of_nan_in_an_array_family_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArrayFamily, "success", lambda *arguments: np.array([1.0, NAN, 0.0]))
    envs = UnequalEpisodes().make_vec(UnequalEpisodes().sample("train", 3, seed=0))
    envs.reset(seed=0)
    infos = envs.step(np.zeros((3, 2)))[4]
    np.testing.assert_array_equal(infos["success"], [True, False, False])
    np.testing.assert_array_equal(infos["_success"], [True, False, True])


def test_numbers_of_a_world_that_waits_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    envs = UnequalEpisodes().make_vec(UnequalEpisodes().sample("train", 3, seed=0))
    envs.reset(seed=0)
    monkeypatch.setattr(UnequalEpisodes, "reward", lambda *arguments: np.array([1.0, NAN, np.inf]))
    where = np.array([True, False, False])
    np.testing.assert_array_equal(envs.advance(np.zeros((3, 2)), where).rewards, [1.0, 0.0, 0.0])
    with pytest.raises(MetarlError, match="the reward is nan"):
        envs.advance(np.zeros((3, 2)), ~where)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_numbers_are_finite(dtype: Any) -> None:
    large = np.full(4, 0.9 * np.finfo(dtype).max, dtype=dtype)
    assert find_infinite(large) is None
    large[2] = np.inf
    infinite = find_infinite(large)
    assert infinite is not None
    np.testing.assert_array_equal(infinite, [False, False, True, False])


@dataclass(frozen=True)
class Processes(VectorFamily):
    name: ClassVar[str] = "processes"
    horizon: Horizon = 50

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"g": Parameter(Choice((9.0, 10.0)))}

    def make(self, values: Values, render_mode: str | None) -> VectorEnv[Any, Any, Any]:
        return AsyncVectorEnv([PendulumEnv] * len(values["g"]), autoreset_mode=AutoresetMode.DISABLED)


@pytest.mark.parametrize("when", ["before a step", "in a step", "before a reset"])
def test_killed_process_of_a_vector_environment_is_an_error_within_seconds(when: str) -> None:
    family = Processes()
    envs = family.make_vec(family.sample("train", 2, seed=0))
    envs.reset(seed=0)
    inner: Any = envs.batch.envs  # type: ignore[attr-defined]
    victim = inner.processes[1].pid
    if when == "in a step":
        wait = inner.step_wait
        inner.step_wait = lambda **arguments: (os.kill(victim, signal.SIGKILL), wait(**arguments))[1]
        os.kill(victim, signal.SIGSTOP)  # it cannot answer before it is killed
    else:
        os.kill(victim, signal.SIGKILL)
        inner.processes[1].join()
    began = time.monotonic()
    with pytest.raises(UserCodeError, match=r"^family 'processes', 2 worlds, (step 1 of an episode|reset): .*Error"):
        envs.reset() if when == "before a reset" else envs.step(np.zeros((2, 1), dtype=np.float32))
    envs.close()
    assert time.monotonic() - began < 8
    assert not any(process.is_alive() for process in inner.processes)
