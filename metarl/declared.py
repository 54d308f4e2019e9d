"""Families declared as data: what varies from task to task, in a YAML file or in a config."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .distributions import Choice, Circle, Dirichlet, Disc, Distribution, LogUniform, Normal, Uniform
from .dynamics import CHANGES, Change, shape_of_target
from .errors import MetarlError, did_you_mean
from .families import MujocoFamily
from .options import OptionFamily
from .streams import Streams
from .task import Parameter, Values

if TYPE_CHECKING:
    from .vector import Batch

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


@dataclass(frozen=True)
class Variation:
    """One declared parameter: what it is drawn from, and what it acts on."""

    parameter: Parameter
    changes: tuple[Change, ...] = ()
    """What it does to a MuJoCo model; empty where it is an argument of the environment's constructor."""


def variations(varies: Mapping[str, Any]) -> dict[str, Variation]:
    """Return the parameters that a declaration names.

    Each is a mapping of `train` and perhaps `extrapolation` (a distribution: `{uniform: [0.5, 2]}`, with `shape: [3]`
    where it is no scalar), perhaps `unit` and `meaning`, and perhaps one of `set`, `scale`, `add`: the target or list
    of targets that it acts on (see `metarl.dynamics.Change`). Raises MetarlError that names the key.
    """
    if not isinstance(varies, Mapping) or not varies:
        raise MetarlError(f"varies is {varies!r}; it must name at least one parameter and what it is drawn from")
    return {str(name): _variation(f"varies.{name}", row) for name, row in varies.items()}


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
    changes = tuple(CHANGES[word](target) for word in CHANGES if word in row for target in _listed(row[word]))
    return Variation(Parameter(train, outside, str(row.get("unit", "")), str(row.get("meaning", ""))), changes)


def _listed(targets: Any) -> Sequence[str]:
    return [str(target) for target in targets] if isinstance(targets, (list, tuple)) else [str(targets)]


def _distribution(key: str, row: Any) -> Distribution:
    words = [] if not isinstance(row, Mapping) else [word for word in row if word != "shape"]
    if len(words) != 1:
        raise MetarlError(f"{key} is {row!r}; it must be one distribution, such as uniform: [0.5, 2]")
    word, shape = str(words[0]), tuple(row.get("shape", ()))
    if word not in DISTRIBUTIONS:
        raise MetarlError(f"{key}: distribution {word!r} is unknown; {did_you_mean(word, DISTRIBUTIONS)}")
    numbers = row[word] if isinstance(row[word], (list, tuple)) else [row[word]]
    try:
        if word == "choice":
            if any(isinstance(value, (list, tuple)) for value in numbers):
                return Choice(tuple(tuple(float(number) for number in value) for value in numbers))
            return Choice(tuple(float(value) for value in numbers))
        arguments = [float(number) for number in numbers]
        return DISTRIBUTIONS[word](*arguments, **({"shape": shape} if shape else {}))
    except MetarlError as error:
        raise MetarlError(f"{key}: {error}") from None
    except (TypeError, ValueError):
        raise MetarlError(
            f"{key}: {word} takes no {numbers!r}{f' with shape {list(shape)}' if shape else ''}; "
            "see `metarl.distributions` for what each takes"
        ) from None


def _keep_apart(key: str, train: Distribution, outside: Distribution | None) -> None:
    if outside is None:
        return
    if outside.shape != train.shape:
        raise MetarlError(f"{key}: extrapolation has shape {outside.shape}, train {train.shape}; they must be the same")
    probes = Streams.of(0, "probe", np.arange(256))
    if train.contains(outside.sample(probes)).any() or outside.contains(train.sample(probes)).any():
        raise MetarlError(f"{key}: extrapolation {outside} overlaps train {train}; keep the two ranges apart")


def require_applicable(model: Any, declared: Mapping[str, Variation]) -> None:
    """Raise MetarlError where a declared parameter cannot act on a MuJoCo model.

    That is an unknown target, another shape, or a value that no body can have, such as a mass below zero. Tried at both ends of each range, where they are finite, and on a few draws.
    """
    from .dynamics import apply
    from .physics import edited_model

    for name, variation in declared.items():
        for change in variation.changes:
            shape_of_target(model, change.target)
        for distribution in filter(None, (variation.parameter.train, variation.parameter.extrapolation)):
            draws = distribution.sample(Streams.of(0, "probe", np.arange(4)))
            ends = [np.full(distribution.shape, end) for end in distribution.range if np.isfinite(end)]
            for value in (*ends, *draws):
                edited_model(model, functools.partial(apply, changes={name: variation.changes}, task={name: value}))


@dataclass(frozen=True)
class VariedFamily(OptionFamily):
    """A MuJoCo family some fields of whose model vary from task to task as well: option `varies` of any such family."""

    base: MujocoFamily
    """The family whose worlds they are."""
    varies: Mapping[str, Any]
    """What varies, as `variations` reads it."""

    def __post_init__(self) -> None:
        taken = [name for name in self.declared if name in self.base.parameters]
        if taken:
            raise MetarlError(
                f"varies.{taken[0]} is a parameter of family {self.base.name!r} itself; take another name"
            )
        for name, variation in self.declared.items():
            if not variation.changes:
                raise MetarlError(
                    f"varies.{name} acts on nothing; say what with set, scale or add: scale: body_mass[*]"
                )
        require_applicable(self.base.model, self.declared)
        super().__post_init__()

    @functools.cached_property
    def declared(self) -> Mapping[str, Variation]:
        """The parameters that `varies` names."""
        return variations(self.varies)

    @property
    def settings(self) -> dict[str, Any]:
        """The base's settings, and what varies."""
        return {**self.base.settings, "varies": dict(self.varies)}

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The base's parameters, and those declared."""
        return {**self.base.parameters, **{name: variation.parameter for name, variation in self.declared.items()}}

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the base's batch, on models that vary."""
        more = {name: variation.changes for name, variation in self.declared.items()}
        return self.base.varied_batch(values, more, threads=threads, render_mode=render_mode)


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
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise MetarlError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict) or ("family" in data) == ("env" in data):
        raise MetarlError(
            f"{path} must be a mapping that says either `family: NAME` (see `metarl families`) or `env: ID` of Gymnasium"
        )
    declaration = {str(key): value for key, value in data.items()}
    name = declaration.pop("family", "gymnasium")
    if not isinstance(name, str) or is_file(name):
        raise MetarlError(f"{path}: family is {name!r}; it must be the name of a registered family")
    return {"name": name, **declaration}
