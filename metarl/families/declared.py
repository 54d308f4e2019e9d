"""What a YAML file may say of any family: its title, whether it shows the task, and other ranges of its parameters."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.errors import MetarlError, did_you_mean, first_line
from .declaration import TITLE, TITLE_RULE
from .distributions import Choice, Distribution, Interval, Labels, LogUniform, Normal, Planar
from .mujoco.family import MujocoFamily
from .mujoco.varied import require_applicable
from .option import OptionFamily
from .task import Parameter, Values
from .variation import Variation, draw_extremes, parse_distribution, parse_ranges, require_apart
from .words import in_words

if TYPE_CHECKING:
    from .batch import Batch
    from .family import TaskFamily


@dataclass(frozen=True)
class DeclaredFamily(OptionFamily):
    """A family with a title of its own, other ranges for its parameters, or a task that it may show."""

    title_given: str = ""
    """Title in tables and folders; '' for the name of the family."""
    shows_task_given: bool | None = None
    """Whether the observation may reveal the task; None for what the family says."""
    parameters_given: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Parameters with other values, by name: a value, or a mapping with `train` and `extrapolation`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.title_given and not (isinstance(self.title_given, str) and TITLE.fullmatch(self.title_given)):
            raise MetarlError(f"title is {self.title_given!r}; {TITLE_RULE}")
        if self.shows_task_given is not None:
            if not isinstance(self.shows_task_given, bool):
                raise MetarlError(f"shows_task is {self.shows_task_given!r}; it must be true or false")
            object.__setattr__(self, "shows_task", self.shows_task_given)
        if not isinstance(self.parameters_given, Mapping):
            raise MetarlError(
                f"parameters is {self.parameters_given!r}; it must map parameters to values or distributions, such as "
                f"{_example(self.base.parameters)}"
            )
        for name in self._changed:
            _require_meaningful(name, self._changed[name], self.base.parameters)
        if self._changed:
            self._try_ranges()

    @property
    def title(self) -> str:
        """The family's name for readers."""
        return self.title_given or self.base.title

    @property
    def untitled(self) -> TaskFamily:
        """The base, unless parameters have other values here."""
        return self if self.parameters_given else self.base.untitled

    @property
    def settings(self) -> dict[str, Any]:
        """The base's settings, and those of this option that were given."""
        given = {
            "title": self.title_given or None,
            "shows_task": self.shows_task_given,
            "parameters": dict(self.parameters_given) or None,
        }
        return {**self.base.settings, **{name: value for name, value in given.items() if value is not None}}

    @functools.cached_property
    def _changed(self) -> Mapping[str, Parameter]:
        own = self.base.parameters
        for name in self.parameters_given:
            if name not in own:
                raise MetarlError(
                    f"parameters.{name} is unknown to family {self.base.name!r}; {did_you_mean(str(name), own)}"
                )
        return {name: _parse_parameter(name, row, own[name]) for name, row in self.parameters_given.items()}

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The base's parameters, with the ranges that were given."""
        return {**self.base.parameters, **self._changed}

    def require_changeable(self) -> None:
        """Raise MetarlError where the base's task cannot change."""
        self.base.require_changeable()

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the base's batch."""
        return self.base.batch(values, threads=threads, render_mode=render_mode)

    def _try_ranges(self) -> None:
        """Step the ends of the new ranges once. Raises MetarlError where the family cannot play them."""
        if isinstance(base := self.base, MujocoFamily):
            changes = {n: Variation(p, base.physics.changes.get(n, ())) for n, p in self._changed.items()}
            try:
                require_applicable(base.model, changes)
            except MetarlError as error:
                raise MetarlError(str(error).replace("varies.", "parameters.", 1)) from None
        for name in self._changed:
            for distribution in filter(None, (self._changed[name].train, self._changed[name].extrapolation)):
                for value in draw_extremes(distribution):
                    self._try_value(name, value)

    def _try_value(self, name: str, value: np.ndarray) -> None:
        task = {**self.sample("train", 1, seed=0).values, name: value[None]}
        shown = self._changed[name].train.decode(value.tolist())
        try:
            with contextlib.closing(self.make_vec(self.tasks({n: v[0] for n, v in task.items()}), threads=0)) as envs:
                envs.action_space.seed(0)
                envs.reset(seed=0)
                with np.errstate(all="ignore"):
                    step = envs.advance(envs.action_space.sample(), np.ones(1, dtype=bool))
                fault = "" if np.isfinite(step.rewards).all() else f"reward {step.rewards[0]}"
                fault = fault or ("" if np.isfinite(step.observations).all() else "an observation that is not finite")
        except MetarlError as error:  # it names family, task and step, which the line below says better
            fault = str(error).rpartition("episode: ")[2].partition(";")[0]
        except Exception as error:  # the family's own code may raise anything
            fault = first_line(error)
        if fault:
            raise MetarlError(
                f"parameters.{name}: value {shown} cannot be played, first step: {fault}; take another range"
            )


def _example(parameters: Mapping[str, Parameter]) -> str:
    name, parameter = next(iter(parameters.items()))
    low, _ = parameter.train.range
    value = low if np.isfinite(low) else 1
    return f"{{{name}: {value:g}}}" if parameter.train.shape == () else f"{{{name}: {{train: ...}}}}"


def _parse_parameter(name: str, row: Any, own: Parameter) -> Parameter:
    """Return a parameter with the given value, or the given ranges; what is not given stays."""
    key = f"parameters.{name}"
    if not isinstance(row, Mapping):
        fixed = _parse_fixed(key, row, own)
        return dataclasses.replace(own, train=fixed, extrapolation=None, validation=None, test=None)
    if own.validation is not None or own.test is not None:
        raise MetarlError(
            f"{key} is {row!r}; its splits have values of their own, which no range replaces: give it one value, or "
            "leave it out"
        )
    known = ("train", "extrapolation")
    for word in row:
        if word not in known:
            raise MetarlError(f"{key}.{word} is an unknown key; {did_you_mean(str(word), known)}")
    if not row:
        raise MetarlError(f"{key} is {row!r}; give it `train`, `extrapolation`, or one value")
    train: Distribution = own.train
    outside = own.extrapolation if "extrapolation" not in row else None
    if isinstance(own.train, Labels):
        return _parse_labels(key, row, own)
    if "train" in row and row.get("extrapolation") is not None:
        train, outside = parse_ranges(key, row["train"], row["extrapolation"])
    elif "train" in row:
        train = parse_distribution(f"{key}.train", row["train"])
    elif row["extrapolation"] is not None:
        outside = parse_distribution(f"{key}.extrapolation", row["extrapolation"])
    _require_shape(f"{key}.train", train, own)
    try:
        require_apart(key, train, outside)
    except MetarlError as error:
        raise MetarlError(f"{error}; give both, or `extrapolation: null` for none") from None
    return dataclasses.replace(own, train=train, extrapolation=outside)


def _parse_labels(key: str, row: Mapping[str, Any], own: Parameter) -> Parameter:
    """Return a parameter of labels with other choices among them."""
    chosen: dict[str, Distribution | None] = {}
    for split, given in row.items():
        words = given.get("choice") if isinstance(given, Mapping) and len(given) == 1 else None
        if given is not None and not isinstance(words, (list, tuple)):
            raise MetarlError(f"{key}.{split} is {given!r}; its values are {in_words(own.train)}: write choice: [...]")
        chosen[split] = None if given is None else _choose(f"{key}.{split}", words or (), own.train)
    changed = dataclasses.replace(own, **chosen)  # type: ignore[arg-type]
    require_apart(key, changed.train, changed.extrapolation)
    return changed


def _choose(key: str, words: Sequence[Any], own: Distribution) -> Labels:
    assert isinstance(own, Labels)
    try:
        places = tuple(int(own.encode(word)) for word in words)
    except MetarlError as error:
        raise MetarlError(f"{key}: {error}; take some of them") from None
    if len(set(places)) < len(places) or not places:
        raise MetarlError(f"{key} is {list(words)!r}; give at least one value, each once")
    return Labels(own.labels, places)


def _parse_fixed(key: str, value: Any, own: Parameter) -> Distribution:
    if isinstance(own.train, Labels):
        try:
            return Labels(own.train.labels, (int(own.train.encode(value)),))
        except MetarlError as error:
            raise MetarlError(f"{key}: {error}; take one of them") from None
    if isinstance(value, (list, tuple)) and not own.train.shape:
        raise MetarlError(f"{key} is {value!r}; it takes one number, or a mapping with train: {{choice: {value!r}}}")
    try:
        numbers = np.asarray(value if not isinstance(value, (bool, str)) else None, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.array(np.nan)
    if numbers.shape != own.train.shape or not np.isfinite(numbers).all():
        due = f"numbers of shape {own.train.shape}" if own.train.shape else "a number"
        raise MetarlError(f"{key} is {value!r}; it must be {due}, or a mapping with train: {{uniform: [LOW, HIGH]}}")
    if numbers.ndim > 1:
        raise MetarlError(f"{key} has values of shape {numbers.shape}, which cannot be fixed; give it other ranges")
    return Choice((tuple(numbers.tolist()),) if numbers.ndim else (float(numbers),))


def _require_shape(key: str, given: Distribution, own: Parameter) -> None:
    if given.shape != own.train.shape:
        remedy = f"add shape: {list(own.train.shape)}" if own.train.shape else "leave the shape out"
        raise MetarlError(f"{key} has shape {given.shape}, the family's {own.train.shape}; {remedy}")


def _require_meaningful(name: str, new: Parameter, parameters: Mapping[str, Parameter]) -> None:
    """Raise MetarlError for values that mean nothing where a family's parameter has only some, such as -1 and 1."""
    own = parameters[name]
    given = [*filter(None, (new.train, new.extrapolation))]
    if isinstance(own.train, LogUniform) and any((draw <= 0).any() for d in given for draw in draw_extremes(d)):
        raise MetarlError(f"parameters.{name} would be 0 or less; it must be above 0: take another range")
    if isinstance(own.train, (Interval, Normal, Planar)):
        return
    for distribution in given:
        draws = np.stack(list(draw_extremes(distribution)))
        own_splits = (own.train, own.extrapolation, own.validation, own.test)
        known = [d.contains(draws) for d in own_splits if d is not None]
        if (~np.logical_or.reduce(known)).any():
            wrong = draws[~np.logical_or.reduce(known)][0]
            raise MetarlError(
                f"parameters.{name} would be {wrong.tolist()}; its values are {in_words(own.train)}: draw from them by "
                "choice"
            )
