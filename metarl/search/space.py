"""Spaces of settings: a YAML file of a config's dotted keys, checked before the first trial."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ..base.errors import MetarlError, did_you_mean
from ..base.settings import shorten
from ..base.yaml_text import read_yaml
from ..runs.config import TrainConfig

Label = bool | int | float | str | None
"""What a sampler chooses: a number of a range, or what stands for a choice."""

MOST_POINTS = 100_000
"""Points of the largest grid."""


@dataclass(frozen=True)
class Range:
    """A setting between two numbers."""

    key: str
    """Dotted key of the setting."""
    low: int | float
    """Lowest value. Whole numbers are drawn if `low`, `high` and `step` are whole."""
    high: int | float
    """Highest value, which is drawn too."""
    step: int | float | None = None
    """Distance of neighbouring values, counted from `low`. None is 1 for whole numbers, and no distance for others."""
    log: bool = False
    """Whether the logarithm is spread evenly."""

    @property
    def is_whole(self) -> bool:
        """Whether only whole numbers are drawn."""
        return all(isinstance(number, int) for number in (self.low, self.high, self.step or 0))

    def points(self) -> tuple[Label, ...]:
        """Return the values of a grid. Raises MetarlError without a step."""
        if self.step is None:
            raise MetarlError(
                f"{self.key} is a range without a step; a grid needs values: write step: ..., or a list of choices"
            )
        return tuple(self._at(number) for number in range(self.num_steps + 1))

    @property
    def num_steps(self) -> int:
        """Number of steps from `low` to `high`, rounded down."""
        return int((Decimal(str(self.high)) - Decimal(str(self.low))) / Decimal(str(self.step)))

    def _at(self, number: int) -> int | float:
        exact = Decimal(str(self.low)) + number * Decimal(str(self.step))
        return int(exact) if self.is_whole else float(exact)

    def value(self, label: Label) -> Any:
        """Return the setting's value: of a range with steps the nearest one, without the rounding of a sampler."""
        assert isinstance(label, (int, float))
        if self.is_whole:
            return int(label)
        return float(label) if self.step is None else self._at(round((label - self.low) / self.step))

    def probes(self) -> tuple[Any, ...]:
        """Return values that the config must accept: both ends, and one between them."""
        inner = self.low + 0.382 * (self.high - self.low)
        return self.low, self.high, self.value(int(inner) if self.is_whole else inner)


@dataclass(frozen=True)
class Choices:
    """A setting that takes one of several values."""

    key: str
    """Dotted key of the setting."""
    values: tuple[Any, ...]
    """The values, in the order of the file."""

    @property
    def labels(self) -> tuple[Label, ...]:
        """What stands for each value in a study: a list or a mapping is written as JSON."""
        return tuple(json.dumps(value) if isinstance(value, (list, dict)) else value for value in self.values)

    def points(self) -> tuple[Label, ...]:
        """Return the values of a grid."""
        return self.labels

    def value(self, label: Label) -> Any:
        """Return the setting's value."""
        return self.values[self.labels.index(label)]

    def probes(self) -> tuple[Any, ...]:
        """Return values that the config must accept: all."""
        return self.values


Parameter = Range | Choices
Space = tuple[Parameter, ...]


def override(key: str, value: Any) -> str:
    """Return the word of a command line that gives a setting a value, such as 'agent.inner_lr=0.05'."""
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


def overrides(space: Space, params: Mapping[str, Label]) -> list[str]:
    """Return the words that give the settings of a space the values of a trial."""
    return [override(each.key, each.value(params[each.key])) for each in space]


def grid(space: Space) -> Iterator[dict[str, Label]]:
    """Yield every point of a grid; the last setting of the file changes first. Raises MetarlError without steps."""
    keys = [each.key for each in space]
    for labels in itertools.product(*(each.points() for each in space)):
        yield dict(zip(keys, labels, strict=True))


def count_points(space: Space) -> int:
    """Return how many points a grid has. Raises MetarlError without steps, and for too many."""
    points = math.prod(len(each.points()) for each in space)
    if points > MOST_POINTS:
        raise MetarlError(f"the grid has {points:,} points, more than {MOST_POINTS:,}; take greater steps")
    return points


def read_space(path: str | Path) -> Space:
    """Return the space in a YAML file.

    Raises MetarlError for a file that cannot be read, and for a space that `parse_space` refuses.
    """
    data = read_yaml(path, "a YAML file of settings and their ranges")
    try:
        return parse_space(data)
    except MetarlError as error:
        raise MetarlError(f"{path}: {error}") from None


def parse_space(data: Any) -> Space:
    """Return a space of its plain data. Raises MetarlError for anything but ranges and choices of different keys."""
    if not isinstance(data, dict) or not data:
        raise MetarlError(
            f"a space is a mapping of settings to ranges and choices, not {shorten(data)}; write one setting a line, "
            "such as agent.inner_lr: {low: 0.001, high: 1.0, log: true}"
        )
    for key, other in itertools.permutations(data, 2):
        if other.startswith(f"{key}."):
            raise MetarlError(
                f"{key} and {other} are both given, and a choice of {key} replaces {other}; write choices of {key} as "
                "mappings with their settings"
            )
    return tuple(_parameter(key, given) for key, given in data.items())


def _parameter(key: str, given: Any) -> Parameter:
    if isinstance(given, list):
        return _choices(key, given)
    if isinstance(given, dict):
        return _range(key, given)
    raise MetarlError(
        f"{key} is {shorten(given)}: it must be a range, such as {{low: 0.001, high: 1.0, log: true}}, or a list of "
        "choices"
    )


def _choices(key: str, given: list[Any]) -> Choices:
    if not given:
        raise MetarlError(f"{key} has no choices; list one at least")
    found = Choices(key, tuple(given))
    for place, label in enumerate(found.labels):
        if label in found.labels[:place]:
            raise MetarlError(f"{key} has the choice {shorten(given[place])} twice; list each once")
    return found


_FIELDS = ("low", "high", "step", "log")


def _range(key: str, given: dict[str, Any]) -> Range:
    for field in given:
        if field not in _FIELDS:
            raise MetarlError(f"{key}.{field}: unknown; {did_you_mean(field, _FIELDS)}")
    for field in ("low", "high"):
        if field not in given:
            raise MetarlError(f"{key} has no {field}; a range needs low and high")
    for field in ("low", "high", "step"):
        value = given.get(field)
        if value is None and field == "step":
            continue
        if not isinstance(value, (int, float)) or isinstance(value, bool) or abs(value) > 2**53:
            raise MetarlError(f"{key}.{field} is {shorten(value)}: it must be a number")
    if not isinstance(given.get("log", False), bool):
        raise MetarlError(f"{key}.log is {shorten(given['log'])}: it must be true or false")
    found = Range(key, given["low"], given["high"], given.get("step"), given.get("log", False))
    _require_range(found)
    return found


def _require_range(found: Range) -> None:
    key, low, high, step = found.key, found.low, found.high, found.step
    if low >= high:
        raise MetarlError(f"{key}: low is {low}, which is not below high={high}; swap or move them")
    if found.log and low <= 0:
        raise MetarlError(f"{key}: low is {low}; a logarithmic range must lie above zero: raise low, or drop log")
    if step is None:
        return
    if found.log:
        raise MetarlError(f"{key}: step and log are both given; leave one out, or list the values as choices")
    if step <= 0:
        raise MetarlError(f"{key}: step is {step}: it must be above zero")
    if found.num_steps >= MOST_POINTS:
        raise MetarlError(f"{key}: step is {step}, which makes more than {MOST_POINTS:,} values; take a greater one")
    last = found.points()[-1]
    if last != high:
        raise MetarlError(f"{key}: high is {high}, which steps of {step} from {low} do not reach; write high: {last}")


_MEASURED = "trials would be measured by different tests: leave it out of the space, and set it as key=value"
_NO_RESULT = "no result depends on it; leave it out of the space"
FIXED: Mapping[str, str] = {
    "evaluation": _MEASURED,
    "family": _MEASURED,
    "rounds": _MEASURED,
    "seed": "a study gives the trainings their seeds; leave it out of the space",
    "imports": "give it in the config",
    "checkpoint_every": _NO_RESULT,
    "device": _NO_RESULT,
    "log": _NO_RESULT,
    "rollout_shards": _NO_RESULT,
    "threads": _NO_RESULT,
    "wandb": _NO_RESULT,
}
"""Settings that a space may not have, with the reason and the remedy."""


def check_space(space: Space, where: str, load: Callable[[Sequence[str]], TrainConfig]) -> None:
    """Raise MetarlError, which begins with `where`, for a setting that cannot be searched or a value that is refused.

    `load` returns the config with more overrides.
    """
    base = load([])
    for each in space:
        section = each.key.partition(".")[0]
        if section in FIXED:
            raise MetarlError(f"{where}: {each.key} cannot be searched: {FIXED[section]}")
        if section == "replicas" and base.evaluation.replicas is None:
            raise MetarlError(
                f"{where}: replicas cannot be searched while validation takes as many; set evaluation.replicas=N"
            )
        for value in each.probes():
            word = override(each.key, value)
            try:
                load([word])
            except MetarlError as error:
                told = str(error).removeprefix(f"command line {shorten(word)}: ")
                raise MetarlError(f"{where}: {told}") from None
