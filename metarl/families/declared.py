"""Families declared as data: what varies from task to task, in a YAML file or in a config."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import MetarlError, did_you_mean
from ..base.streams import Streams
from .distributions import Choice, Circle, Dirichlet, Disc, Distribution, LogUniform, Normal, Uniform
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
"""Each distribution by its word in a declaration, which is followed by its numbers: `uniform: [0, 1]`."""

MOST_NUMBERS = 10_000
"""Most numbers that one value of a parameter may have."""


@dataclass(frozen=True)
class Variation:
    """One declared parameter: what it is drawn from, and what it acts on."""

    parameter: Parameter
    changes: tuple[Change, ...] = ()
    """What it does to a MuJoCo model; empty where it is an argument of the environment's constructor."""


def variations(varies: Mapping[str, Any]) -> dict[str, Variation]:
    """Return the parameters that a declaration names.

    Each is a mapping of `train` and perhaps `extrapolation` (a distribution: `{uniform: [0.5, 2]}`, with `shape: [3]`
    where it is no scalar), perhaps `unit` and `meaning`, and perhaps one of `set`, `scale`, `add`, `zero`: the target
    or list of targets that it acts on (see `metarl.families.mujoco.changes.Change`). Raises MetarlError that names the key.
    """
    if not isinstance(varies, Mapping) or not varies:
        raise MetarlError(f"varies is {varies!r}; it must name at least one parameter and what it is drawn from")
    for name in varies:
        if not isinstance(name, str) or not name.isidentifier():
            raise MetarlError(f"varies has the name {name!r}; make it one of letters, digits and _, such as leg_mass")
    return {name: _variation(f"varies.{name}", row) for name, row in varies.items()}


def _variation(key: str, row: Any) -> Variation:
    known = ("train", "extrapolation", "unit", "meaning", *CHANGES)
    if not isinstance(row, Mapping):
        raise MetarlError(f"{key} is {row!r}; it must be a mapping with `train`, such as train: {{uniform: [0.5, 2]}}")
    for word in row:
        if word not in known:
            raise MetarlError(f"{key}.{word} is an unknown key; {did_you_mean(str(word), known)}")
    if "train" not in row:
        raise MetarlError(f"{key}.train is missing; say what the parameter is drawn from, such as uniform: [0.5, 2]")
    train = _distribution(f"{key}.train", row["train"])
    beyond = row.get("extrapolation")
    outside = None if beyond is None else _distribution(f"{key}.extrapolation", beyond)
    _keep_apart(key, train, outside)
    changes = tuple(
        CHANGES[word](target) for word in CHANGES if word in row for target in _targets(f"{key}.{word}", row[word])
    )
    return Variation(Parameter(train, outside, str(row.get("unit", "")), str(row.get("meaning", ""))), changes)


def _targets(key: str, given: Any) -> Sequence[str]:
    targets = given if isinstance(given, (list, tuple)) else [given]
    if not targets or not all(isinstance(target, str) for target in targets):
        raise MetarlError(f"{key} is {given!r}; it must be a target or a list of targets, such as body_mass[torso]")
    return [target.strip() for target in targets]


def _distribution(key: str, row: Any) -> Distribution:
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
    shape = {"shape": _shape(f"{key}.shape", row["shape"])} if "shape" in row else {}
    named = [name for name in takes if name != "shape"]
    numbers = row[word] if isinstance(row[word], (list, tuple)) else [row[word]]
    try:
        if kind is Choice:
            return Choice(tuple(_number_or_numbers(value) for value in numbers))
        if len(numbers) > len(named):
            raise MetarlError(
                f"{word} has {len(numbers)} numbers and takes {len(named)} ({', '.join(named)}); leave out the others"
            )
        return kind(*map(_number, numbers), **shape)
    except MetarlError as error:
        raise MetarlError(f"{key}: {error}") from None
    except (TypeError, ValueError, OverflowError):
        raise MetarlError(f"{key}: {word} takes no {numbers!r}; give its numbers: {', '.join(named)}") from None


def _number_or_numbers(value: Any) -> Any:
    return tuple(map(_number, value)) if isinstance(value, (list, tuple)) else _number(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError("a bool is no number")
    return float(value)


def _shape(key: str, given: Any) -> tuple[int, ...]:
    axes = given if isinstance(given, (list, tuple)) else [None]
    whole = all(isinstance(axis, int) and not isinstance(axis, bool) and axis >= 1 for axis in axes)
    if not whole or math.prod(axes) > MOST_NUMBERS:
        raise MetarlError(
            f"{key} is {given!r}; it must be a list of whole numbers from 1, whose product is at most {MOST_NUMBERS}, "
            "such as [3]"
        )
    return tuple(axes)


def _keep_apart(key: str, train: Distribution, outside: Distribution | None) -> None:
    if outside is None:
        return
    if outside.shape != train.shape:
        raise MetarlError(f"{key}: extrapolation has shape {outside.shape}, train {train.shape}; they must be the same")
    if _overlap(train, outside):
        raise MetarlError(f"{key}: extrapolation {outside} overlaps train {train}; keep the two ranges apart")


def _overlap(one: Distribution, other: Distribution) -> bool:
    intervals = (Uniform, LogUniform)
    if isinstance(one, intervals) and isinstance(other, intervals):
        return max(one.low, other.low) < min(one.high, other.high)  # ends may touch
    return bool(one.contains(_probes(other)).any() or other.contains(_probes(one)).any())


def _probes(distribution: Distribution) -> np.ndarray:
    """Return values of a distribution: all where it is a choice, else a few hundred draws."""
    if isinstance(distribution, Choice):
        return np.array(distribution.values, dtype=np.float64)
    return distribution.sample(Streams.of(0, "probe", np.arange(256)))


def is_file(name: str) -> bool:
    """Return whether a family's name is the path of a YAML file."""
    return Path(name).suffix in (".yaml", ".yml")


def read_family(path: str | Path) -> dict[str, Any]:
    """Return the declaration in a YAML file: `name` of a registered family, perhaps `preset`, and settings.

    The file says `family: NAME` for a family of metarl's, or `env: ID` for any environment of Gymnasium's. Raises
    MetarlError for a file that is not there or no mapping, and where it says neither or both.
    """
    import yaml

    try:
        data = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise MetarlError(f"{path}: {error.strerror}; give the path of a family's YAML file") from None
    except RecursionError:
        raise MetarlError(f"{path} is nested too deeply to be read; a declaration has a few levels") from None
    except (ValueError, yaml.YAMLError) as error:
        problem = str(getattr(error, "problem", ""))
        # What PyYAML says of a bracket or a star in a list is riddles.
        bracketed = "got '['" in problem or "alphabetic or numeric" in problem
        remedy = "; in brackets or braces quote each target: ['body_mass[*]'], or give each a line" if bracketed else ""
        raise MetarlError(f"{path} is no YAML: {' '.join(str(error).split())}{remedy}") from None
    if not isinstance(data, dict) or ("family" in data) == ("env" in data):
        raise MetarlError(
            f"{path} must be a mapping that says either `family: NAME` (see `metarl families`) or `env: ID` of Gymnasium"
        )
    declaration = {str(key): value for key, value in data.items()}
    if "name" in declaration:
        raise MetarlError(f"{path}: name is an unknown key; say `family: NAME`")
    name = declaration.pop("family", "gymnasium")
    if not isinstance(name, str) or is_file(name):
        raise MetarlError(f"{path}: family is {name!r}; it must be the name of a registered family")
    return {"name": name, **declaration}
