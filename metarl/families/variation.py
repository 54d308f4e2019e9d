"""Task parameters declared as data: the setting `varies` of a YAML file or a config."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..base.errors import MetarlError, did_you_mean
from ..base.streams import Streams
from .distributions import (
    Choice,
    Circle,
    Dirichlet,
    Disc,
    Distribution,
    Interval,
    Labels,
    LogUniform,
    Normal,
    Uniform,
)
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
    """Its changes to a MuJoCo model."""
    argument: str = ""
    """Argument of the environment's constructor, with dots inside a mapping, as in `config.lanes`; '' for none."""
    attributes: tuple[str, ...] = ()
    """Attributes of the environment, with dots inside another object, as in `world.gravity`."""


def parse_variations(varies: Mapping[str, Any]) -> dict[str, Variation]:
    """Return the declared parameters by name.

    Each parameter is a mapping with `train` and optionally `extrapolation`, which are distributions such as
    `{uniform: [0.5, 2]}` or `{uniform: [0.5, 2], shape: [3]}`. Optional are also `unit`, `meaning`, and what it acts
    on: the changes `set`, `scale`, `add` and `zero` of a MuJoCo model, each with a target or a list of targets (see
    `metarl.families.mujoco.changes.Change`); `attribute`, one or several of the environment; `argument`, one of the
    constructor. Without any of them it is the constructor's argument of its name. Raises MetarlError that names the
    wrong key.
    """
    if not isinstance(varies, Mapping) or not varies:
        raise MetarlError(f"varies is {varies!r}; it must map at least one parameter to its distribution")
    for name in varies:
        if not isinstance(name, str) or not name.isidentifier():
            dotted = isinstance(name, str) and "." in name and all(map(str.isidentifier, name.split(".")))
            inside = f", and `argument: {name}` below it" if dotted else ""
            raise MetarlError(f"varies has the name {name!r}; use letters, digits and _, as in leg_mass{inside}")
    return {name: _parse_variation(name, f"varies.{name}", row) for name, row in varies.items()}


ACTS = (*CHANGES, "attribute", "argument")
"""Words that say what a parameter acts on."""


def _parse_variation(name: str, key: str, row: Any) -> Variation:
    known = ("train", "extrapolation", "unit", "meaning", *ACTS)
    if not isinstance(row, Mapping):
        raise MetarlError(f"{key} is {row!r}; it must be a mapping with `train`, such as train: {{uniform: [0.5, 2]}}")
    for word in row:
        if word not in known:
            raise MetarlError(f"{key}.{word} is an unknown key; {did_you_mean(str(word), known)}")
    if "train" not in row:
        raise MetarlError(f"{key}.train is missing; give it a distribution, such as uniform: [0.5, 2]")
    train, outside = parse_ranges(key, row["train"], row.get("extrapolation"))
    parameter = Parameter(train, outside, str(row.get("unit", "")), str(row.get("meaning", "")))
    changes, attributes, argument = _parse_effect(name, key, row)
    if changes and isinstance(train, Labels):
        raise MetarlError(f"{key}: {train} cannot change a MuJoCo model; give choice numbers alone")
    return Variation(parameter, changes, argument, attributes)


def _parse_effect(name: str, key: str, row: Mapping[str, Any]) -> tuple[tuple[Change, ...], tuple[str, ...], str]:
    """Return what a parameter acts on: changes of a model, attributes, or an argument. Two of them are '' or empty."""
    changes = tuple(
        CHANGES[word](target)
        for word in CHANGES
        if word in row
        for target in _parse_targets(f"{key}.{word}", row[word])
    )
    kinds = [word for word in ("attribute", "argument") if word in row]
    if len(kinds) + bool(changes) > 1:
        both = " and ".join(f"`{word}`" for word in ACTS if word in row)
        raise MetarlError(f"{key} has {both}; a parameter acts on one kind of thing: give each a parameter of its own")
    attributes = _parse_paths(f"{key}.attribute", row["attribute"]) if "attribute" in row else ()
    if "argument" in row:
        return changes, attributes, _parse_paths(f"{key}.argument", row["argument"], most=1)[0]
    return changes, attributes, "" if changes or attributes else name


def parse_ranges(key: str, train: Any, extrapolation: Any) -> tuple[Distribution, Distribution | None]:
    """Return the two distributions of a parameter in their written form; `extrapolation` may be None."""
    if extrapolation is not None and (labels := _parse_labels(key, train, extrapolation)):
        return labels
    inside = parse_distribution(f"{key}.train", train)
    outside = None if extrapolation is None else parse_distribution(f"{key}.extrapolation", extrapolation)
    require_apart(key, inside, outside)
    return inside, outside


def _parse_labels(key: str, train: Any, extrapolation: Any) -> tuple[Labels, Labels] | None:
    """Return two choices that share their labels; None where both are of numbers."""
    rows: list[Sequence[Any]] = []
    for row in (train, extrapolation):
        given = row.get("choice", ()) if isinstance(row, Mapping) and len(row) == 1 else ()
        rows.append(given if isinstance(given, (list, tuple)) else (given,))
    if not any(map(_holds_labels, rows)):
        return None
    if not all(rows):
        raise MetarlError(f"{key}: extrapolation must be a choice as well, because train is one of values, not numbers")
    both = (*rows[0], *rows[1])
    try:
        places = tuple(range(len(both)))
        return Labels(both, places[: len(rows[0])]), Labels(both, places[len(rows[0]) :])
    except MetarlError:
        raise MetarlError(f"{key}: extrapolation and train share a value, or have one twice; keep each once") from None


def _parse_paths(key: str, given: Any, most: int | None = None) -> tuple[str, ...]:
    """Return dotted names, one or a list of them. Names with two leading underscores are refused."""
    paths = given if isinstance(given, (list, tuple)) and most != 1 else [given]
    for path in paths or [given]:
        parts = path.split(".") if isinstance(path, str) else [""]
        if not all(part.isidentifier() and not part.startswith("__") for part in parts):
            raise MetarlError(
                f"{key} is {given!r}; it must be a name such as gravity, or with dots, such as world.gravity"
            )
    return tuple(paths)


def _parse_targets(key: str, given: Any) -> Sequence[str]:
    targets = given if isinstance(given, (list, tuple)) else [given]
    if not targets or not all(isinstance(target, str) for target in targets):
        raise MetarlError(f"{key} is {given!r}; it must be a target or a list of targets, such as body_mass[torso]")
    return [target.strip() for target in targets]


def parse_distribution(key: str, row: Any) -> Distribution:
    """Return a distribution in its written form, such as `{uniform: [0.5, 2]}`. Raises MetarlError with the key."""
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
        if kind is Choice and _holds_labels(numbers):
            return Labels(tuple(numbers))
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


def _holds_labels(values: Sequence[Any]) -> bool:
    """Return whether a choice is of other things than numbers and lists of numbers."""
    items = [item for value in values for item in (value if isinstance(value, (list, tuple)) else [value])]
    return not all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in items)


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


def require_apart(key: str, train: Distribution, outside: Distribution | None) -> None:
    """Raise MetarlError where the range of extrapolation is not apart from that of training."""
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


def draw_extremes(distribution: Distribution) -> Iterator[np.ndarray]:
    """Yield the ends of a range, where they are finite, and a few draws; of a choice or labels every value."""
    if isinstance(distribution, Choice):
        yield from _draw_values(distribution)
        return
    if isinstance(distribution, Labels):
        yield from np.array(distribution.places, dtype=np.float64)
        return
    yield from (np.full(distribution.shape, end) for end in distribution.range if np.isfinite(end))
    yield from distribution.sample(Streams.of(0, "probe", np.arange(4)))
