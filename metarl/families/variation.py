"""Task parameters declared as data: the setting `varies` of a YAML file or a config."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base.errors import MetarlError, did_you_mean
from ..base.streams import Streams
from .distributions import Choice, Circle, Dirichlet, Disc, Distribution, Interval, LogUniform, Normal, Uniform
from .mujoco.changes import CHANGES, Change
from .task import Parameter

DISTRIBUTIONS: Mapping[str, type[Distribution]] = {
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "normal": Normal,
    "choice": Choice,
    "disc": Disc,
    "circle": Circle,
    "dirichlet": Dirichlet,
}
"""Distribution by its word in a declaration, as in `uniform: [0, 1]`."""

MOST_NUMBERS = 10_000
"""Largest size of one value of a parameter."""


@dataclass(frozen=True)
class Variation:
    """One declared parameter and its effect."""

    parameter: Parameter
    changes: tuple[Change, ...] = ()
    """Its changes to a MuJoCo model; empty for an argument of the environment's constructor."""


def parse_variations(varies: Mapping[str, Any]) -> dict[str, Variation]:
    """Return the declared parameters by name.

    Each parameter is a mapping with `train` and optionally `extrapolation`, which are distributions such as
    `{uniform: [0.5, 2]}` or `{uniform: [0.5, 2], shape: [3]}`. Optional are also `unit`, `meaning`, and the changes
    `set`, `scale`, `add` and `zero`, each with a target or a list of targets (see
    `metarl.families.mujoco.changes.Change`). Raises MetarlError that names the wrong key.
    """
    if not isinstance(varies, Mapping) or not varies:
        raise MetarlError(f"varies is {varies!r}; it must map at least one parameter to its distribution")
    for name in varies:
        if not isinstance(name, str) or not name.isidentifier():
            raise MetarlError(f"varies has the name {name!r}; use letters, digits and _, as in leg_mass")
    return {name: _parse_variation(f"varies.{name}", row) for name, row in varies.items()}


def _parse_variation(key: str, row: Any) -> Variation:
    known = ("train", "extrapolation", "unit", "meaning", *CHANGES)
    if not isinstance(row, Mapping):
        raise MetarlError(f"{key} is {row!r}; it must be a mapping with `train`, such as train: {{uniform: [0.5, 2]}}")
    for word in row:
        if word not in known:
            raise MetarlError(f"{key}.{word} is an unknown key; {did_you_mean(str(word), known)}")
    if "train" not in row:
        raise MetarlError(f"{key}.train is missing; give it a distribution, such as uniform: [0.5, 2]")
    train = _parse_distribution(f"{key}.train", row["train"])
    beyond = row.get("extrapolation")
    outside = None if beyond is None else _parse_distribution(f"{key}.extrapolation", beyond)
    _require_apart(key, train, outside)
    changes = tuple(
        CHANGES[word](target)
        for word in CHANGES
        if word in row
        for target in _parse_targets(f"{key}.{word}", row[word])
    )
    return Variation(Parameter(train, outside, str(row.get("unit", "")), str(row.get("meaning", ""))), changes)


def _parse_targets(key: str, given: Any) -> Sequence[str]:
    targets = given if isinstance(given, (list, tuple)) else [given]
    if not targets or not all(isinstance(target, str) for target in targets):
        raise MetarlError(f"{key} is {given!r}; it must be a target or a list of targets, such as body_mass[torso]")
    return [target.strip() for target in targets]


def _parse_distribution(key: str, row: Any) -> Distribution:
    words = [] if not isinstance(row, Mapping) else [word for word in row if word != "shape"]
    if len(words) != 1:
        raise MetarlError(f"{key} is {row!r}; it must be one distribution, such as uniform: [0.5, 2]")
    word = str(words[0])
    if word not in DISTRIBUTIONS:
        raise MetarlError(f"{key}: distribution {word!r} is unknown; {did_you_mean(word, DISTRIBUTIONS)}")
    kind = DISTRIBUTIONS[word]
    takes = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    if "shape" in row and "shape" not in takes:
        raise MetarlError(f"{key}: {word} takes no shape; leave it out")
    shape = {"shape": _parse_shape(f"{key}.shape", row["shape"])} if "shape" in row else {}
    named = [name for name in takes if name != "shape"]
    numbers = row[word] if isinstance(row[word], (list, tuple)) else [row[word]]
    try:
        if kind is Choice:
            return Choice(tuple(_parse_value(value) for value in numbers))
        if len(numbers) > len(named):
            raise MetarlError(
                f"{word} has {len(numbers)} numbers and takes {len(named)} ({', '.join(named)}); leave out the others"
            )
        return kind(*map(_parse_number, numbers), **shape)
    except MetarlError as error:
        raise MetarlError(f"{key}: {error}") from None
    except (TypeError, ValueError, OverflowError):
        raise MetarlError(f"{key}: {word} cannot take {numbers!r}; give its numbers: {', '.join(named)}") from None


def _parse_value(value: Any) -> Any:
    return tuple(map(_parse_number, value)) if isinstance(value, (list, tuple)) else _parse_number(value)


def _parse_number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError("a bool is not a number")
    return float(value)


def _parse_shape(key: str, given: Any) -> tuple[int, ...]:
    axes = given if isinstance(given, (list, tuple)) else [None]
    whole = all(isinstance(axis, int) and not isinstance(axis, bool) and axis >= 1 for axis in axes)
    if not whole or math.prod(axes) > MOST_NUMBERS:
        raise MetarlError(
            f"{key} is {given!r}; it must be a list of whole numbers of at least 1, with a product of at most "
            f"{MOST_NUMBERS}, such as [3]"
        )
    return tuple(axes)


def _require_apart(key: str, train: Distribution, outside: Distribution | None) -> None:
    if outside is None:
        return
    if outside.shape != train.shape:
        raise MetarlError(f"{key}: extrapolation has shape {outside.shape}, train {train.shape}; they must be the same")
    if _overlap(train, outside):
        raise MetarlError(f"{key}: extrapolation {outside} overlaps train {train}; keep the two ranges apart")


def _overlap(one: Distribution, other: Distribution) -> bool:
    if isinstance(one, Interval) and isinstance(other, Interval):
        return max(one.low, other.low) < min(one.high, other.high)  # ends may touch
    return bool(one.contains(_draw_values(other)).any() or other.contains(_draw_values(one)).any())


def _draw_values(distribution: Distribution) -> np.ndarray:
    """Return all values of a choice, or a few hundred draws of another distribution."""
    if isinstance(distribution, Choice):
        return np.array(distribution.values, dtype=np.float64)
    return distribution.sample(Streams.of(0, "probe", np.arange(256)))
