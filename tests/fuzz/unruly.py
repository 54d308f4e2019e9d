"""An environment and an agent that misbehave on demand."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from metarl import ClassFamily, Parameter, TrainableAgent, Uniform, register, register_agent
from metarl.base.settings import Settings
from metarl.families.family import FAMILIES
from metarl.trials.agent import Learner
from metarl.trials.registered import AGENTS

FAMILY, AGENT = "fuzz-unruly", "fuzz-unruly-agent"

ENVIRONMENT_FAULTS = (
    "observation: shape",
    "observation: scalar",
    "observation: None",
    "observation: NaN",
    "observation: text",
    "observation: grows",
    "observation: wrong dtype",
    "observation: raises",
    "reset: bare observation",
    "reset: raises",
    "reset: None",
    "step: four values",
    "step: None",
    "step: raises",
    "step: OSError",
    "step: BrokenPipeError",
    "step: SystemExit",
    "step: MemoryError",
    "reward: NaN",
    "reward: infinite",
    "reward: None",
    "reward: array",
    "terminated: None",
    "terminated: text",
    "info: None",
    "success: NaN",
    "never ends",
)
"""Ways in which the environment misbehaves, from its `moment`-th step or reset on."""

AGENT_FAULTS = (
    "act: shape",
    "act: None",
    "act: NaN",
    "act: text",
    "act: raises",
    "act: OSError",
    "act: SystemExit",
    "adapt: raises",
    "begin: raises",
    "begin: None",
    "update: raises",
    "update: None",
    "update: NaN",
    "update: text",
    "state_dict: raises",
    "state_dict: None",
    "state_dict: numbers",
)
"""Ways in which the agent misbehaves, from its `moment`-th call on."""

ERRORS = {
    "raises": ZeroDivisionError("a fault of the user's own code"),
    "OSError": OSError(5, "a device failed"),
    "BrokenPipeError": BrokenPipeError(32, "Broken pipe"),
    "SystemExit": SystemExit(3),
    "MemoryError": MemoryError(),
}


class Unruly(gymnasium.Env[Any, Any]):
    """Two numbers, and one fault."""

    observation_space = spaces.Box(-10.0, 10.0, (2,), np.float32)
    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, fault: str, moment: int) -> None:
        self.part, _, self.how = fault.partition(": ")
        self.calls, self.moment = 0, moment

    def _is_due(self, part: str) -> bool:
        return self.part == part and self.calls >= self.moment

    def _observation(self) -> Any:
        good = np.full(2, self.calls % 7, np.float32)
        if not self._is_due("observation"):
            return good
        if self.how == "raises":
            raise ERRORS["raises"]
        kinds = {
            "shape": np.zeros((3, 2)),
            "scalar": 1.0,
            "None": None,
            "NaN": np.array([np.nan, 0.0]),
            "text": "far",
            "grows": np.zeros(2 + self.calls % 5),
            "wrong dtype": np.array(["a", "b"]),
        }
        return kinds[self.how]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.calls += 1
        if self._is_due("reset"):
            if self.how == "raises":
                raise ERRORS["raises"]
            return None if self.how == "None" else np.zeros(2, np.float32)
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        self.calls += 1
        if self._is_due("step"):
            if self.how in ERRORS:
                raise ERRORS[self.how]
            return None if self.how == "None" else (self._observation(), 0.0, False, {})
        reward: Any = float(action[0])
        if self._is_due("reward"):
            reward = {"NaN": float("nan"), "infinite": float("inf"), "None": None, "array": np.zeros(3)}[self.how]
        terminated: Any = {"None": None, "text": "no"}[self.how] if self._is_due("terminated") else False
        info: Any = None if self._is_due("info") else {"success": float("nan")} if self._is_due("success") else {}
        return self._observation(), reward, terminated, False, info


@dataclass(frozen=True)
class UnrulyFamily(ClassFamily):
    """An environment with a fault."""

    fault: str = "never ends"
    moment: int = 0
    horizon: int = 5
    parameters = {"unused": Parameter(Uniform(0.0, 1.0))}

    def make(self, task: dict[str, Any], render_mode: str | None) -> Unruly:
        return Unruly(self.fault, self.moment)


class UnrulyConfig(Settings):
    """Settings of the agent with a fault."""

    fault: str = "act: raises"
    """The fault."""
    moment: int = 0
    """Call from which on it shows."""


class UnrulyAgent(TrainableAgent):
    """An agent with a fault."""

    Config = UnrulyConfig

    def __init__(self, config: UnrulyConfig, family: Any, *, seed: int, device: str) -> None:
        self.family = family
        self.part, _, self.how = config.fault.partition(": ")
        self.calls, self.moment = 0, config.moment

    def is_due(self, part: str) -> bool:
        """Return whether a part misbehaves now."""
        self.calls += self.part == part
        if self.part != part or self.calls <= self.moment:
            return False
        if self.how in ERRORS:
            raise ERRORS[self.how]
        return True

    def begin(self, streams: Any) -> Any:
        return None if self.is_due("begin") else UnrulyLearner(self)

    def update(self, trial: Any, rng: Any) -> Any:
        bad = {"None": None, "NaN": {"loss": float("nan")}, "text": {"loss": "small"}}
        return bad[self.how] if self.is_due("update") else {"loss": 0.0}

    def state_dict(self) -> Any:
        import torch

        bad = {"None": None, "numbers": {"weight": 1.0}}
        return bad[self.how] if self.is_due("state_dict") else {"weight": torch.zeros(2)}

    def load_state_dict(self, state: Any) -> None:
        pass


class UnrulyLearner(Learner):
    """The learner of the agent with a fault."""

    def __init__(self, agent: UnrulyAgent) -> None:
        self.agent = agent

    def act(self, timestep: Any, *, deterministic: bool = False) -> Any:
        shape = (*timestep.active.shape, *self.agent.family.action_space.shape)
        bad = {"shape": np.zeros((*shape, 2)), "None": None, "NaN": np.full(shape, np.nan), "text": "left"}
        return bad[self.agent.how] if self.agent.is_due("act") else np.zeros(shape, np.float32)

    def adapt(self, episodes: Any) -> None:
        self.agent.is_due("adapt")


@contextlib.contextmanager
def registered() -> Iterator[None]:
    """Register both for a while."""
    FAMILIES.load()
    AGENTS.load()
    register(FAMILY)(UnrulyFamily)
    register_agent(AGENT)(UnrulyAgent)
    try:
        yield
    finally:
        del FAMILIES._items[FAMILY], AGENTS._items[AGENT]
        gymnasium.registry.pop("metarl/UnrulyFamily-v0", None)
