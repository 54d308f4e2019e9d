"""What counts as a success in an environment that does not say so itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium

from metarl.base.errors import MetarlError, did_you_mean

RULES: Mapping[str, str] = {
    "info": "the entry of the step's info that tells a success",
    "return_at_least": "least return of a whole episode",
    "reward_at_least": "least reward of a single step",
    "terminated": "true: an episode that terminates before the horizon",
}
"""Rules that the setting `success` takes, with their meanings."""


@dataclass(frozen=True)
class Rule:
    """A rule of success."""

    kind: str
    """One of `RULES`."""
    value: Any
    """An entry's name, a least number, or True."""


def parse_rule(given: Any) -> Rule:
    """Return the rule in a setting such as `{info: is_success}`. Raises MetarlError for another form."""
    if isinstance(given, str) and given:
        return Rule("info", given)
    if not isinstance(given, Mapping) or len(given) != 1:
        raise MetarlError(f"success is {given!r}; it must be one rule, such as {{return_at_least: 200}}")
    kind, value = next(iter(given.items()))
    if kind not in RULES:
        raise MetarlError(f"success.{kind} is an unknown rule; {did_you_mean(str(kind), RULES)}")
    if kind == "info":
        fits, due = isinstance(value, str) and value != "", "the name of an entry, such as is_success"
    elif kind == "terminated":
        fits, due = value is True, "true"
    else:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        fits, due = number and math.isfinite(value), "a finite number"
    if not fits:
        raise MetarlError(f"success.{kind} is {value!r}; it must be {due}")
    return Rule(kind, value)


class SuccessEnv(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose info tells success by a rule, in the entry `success`. What is unknown is left out."""

    def __init__(self, env: gymnasium.Env[Any, Any], rule: Rule, horizon: int) -> None:
        super().__init__(env)
        self.rule, self.horizon = rule, horizon
        self.steps, self.total = 0, 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        self.steps, self.total = 0, 0.0
        return super().reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step, and say whether the step, or the whole episode at its end, is a success."""
        observation, reward, terminated, truncated, info = super().step(action)
        self.steps += 1
        self.total += float(reward)
        over = bool(terminated or truncated) or self.steps >= self.horizon
        success = self._judge(float(reward), bool(terminated), over, info)
        told = {key: value for key, value in info.items() if key not in ("success", "is_success")}
        return observation, reward, terminated, truncated, told if success is None else {**told, "success": success}

    def _judge(self, reward: float, terminated: bool, over: bool, info: Mapping[str, Any]) -> bool | None:
        """Return whether the step is a success, None where that is unknown."""
        kind, value = self.rule.kind, self.rule.value
        if kind == "terminated":
            return terminated
        if kind == "reward_at_least":
            return reward >= value
        if kind == "return_at_least":
            return over and self.total >= value
        found = info.get(value)
        return None if found is None or found != found else bool(found)
