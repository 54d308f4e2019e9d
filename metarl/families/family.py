"""Tasks, the families they belong to, and the one registry of families."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import gymnasium
import numpy as np
from gymnasium import spaces

from ..base.errors import MetarlError, did_you_mean
from ..base.registry import Registry
from ..base.streams import Streams
from .distributions import Distribution

if TYPE_CHECKING:
    from .batch import Batch
    from .vector import BatchedEnv
from typing import TYPE_CHECKING

from .task import SPLITS, Horizon, Parameter, Tasks, Values
from .vector import BatchedEnv

if TYPE_CHECKING:
    from .batch import Batch


class TaskFamily(ABC):
    """A parameterised environment and the distributions its tasks are drawn from.

    Subclasses are frozen dataclasses: their fields are the family's settings (`horizon` and its own), and `presets`
    names the combinations of settings that papers use. Most families are written with `metarl.families.arrays.ArrayFamily`,
    `MujocoFamily` or `ClassFamily`, which say how the environment of a task is stepped.
    """

    name: ClassVar[str]
    """Name in the registry, set by `register`."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Settings by preset name; the first is what `load` takes when no preset is named."""
    source: ClassVar[str] = ""
    """Paper and repository the family is from."""
    gymnasium_id: ClassVar[str] = ""
    """Gymnasium's own environment with the same dynamics, '' where there is none: what tests and benchmarks compare
    with."""
    shows_task: ClassVar[bool] = False
    """Whether the observation is meant to reveal the task, as for an oracle; `check_family` finds it a fault
    otherwise."""
    requires: ClassVar[str] = ""
    """The importable package that the family needs beside metarl's own, '' where it needs none."""
    pauses: ClassVar[bool] = True
    """Whether a world can stand still in mid-episode while others are stepped; a generic vector environment's
    cannot."""
    side_by_side: ClassVar[bool] = True
    """Whether several batches of its worlds can be stepped at the same time, on a thread each, as training does
    (`rollout_shards`); a generic vector environment's need not be able to."""
    horizon: Horizon

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, Parameter]:
        """The parameters of a task, by name."""

    @property
    @abstractmethod
    def observation_space(self) -> spaces.Box:
        """Space of one observation."""

    @property
    @abstractmethod
    def action_space(self) -> spaces.Box | spaces.Discrete:
        """Space of one action."""

    @abstractmethod
    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return what steps one world for each row of `values`, on `threads` native threads where it uses any."""

    def require_changeable(self) -> None:  # noqa: B027 -- most families can
        """Raise MetarlError where the task of a running world cannot change, as `switch_at` has it."""

    def with_horizon(self, horizon: int) -> Self:
        """Return the same family with episodes of `horizon` steps."""
        return dataclasses.replace(self, horizon=horizon)  # type: ignore[type-var]

    @property
    def origin(self) -> type[TaskFamily]:
        """The registered class, beneath the options that any family takes."""
        return type(self)

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that make this family, ready for JSON; `load(name, **settings)` gives it back."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]

    @property
    def num_tasks(self) -> int | None:
        """Number of different tasks, or None where they are not finitely many."""
        counts = [parameter.train.num_values for parameter in self.parameters.values()]
        return None if None in counts else int(np.prod([count for count in counts if count is not None]))

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits this family has: `extrapolation` only where a parameter has values outside the training range."""
        outside = any(parameter.extrapolation is not None for parameter in self.parameters.values())
        return SPLITS if outside else SPLITS[:-1]

    def _distributions(self, split: str) -> dict[str, Distribution]:
        if split not in SPLITS:
            raise MetarlError(f"split {split!r} is unknown; {did_you_mean(split, SPLITS)}")
        if split not in self.splits:
            raise MetarlError(
                f"family {self.name!r} has no extrapolation split: no task lies outside its training range; "
                f"take one of {', '.join(self.splits)}"
            )
        extrapolates = split == "extrapolation"
        return {
            name: p.extrapolation if extrapolates and p.extrapolation is not None else p.train
            for name, p in self.parameters.items()
        }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__dict__.get("parameters", True) == {}:
            raise MetarlError(f"family class {cls.__name__} has no task parameters; give `parameters` at least one")

    def sample(self, split: str, num_tasks: int, *, seed: int, start: int = 0) -> Tasks:
        """Return tasks `start` to `start + num_tasks` of the endless list that `split` and `seed` name.

        The lists of different splits and seeds share no random numbers, and a task does not depend on how many are
        asked for. Raises MetarlError for an unknown split and for fewer than one task.
        """
        if num_tasks < 1:
            raise MetarlError(f"num_tasks is {num_tasks}; it must be at least 1")
        distributions = self._distributions(split)
        index = np.arange(start, start + num_tasks)
        values = {
            name: distribution.sample(Streams.of(seed, "tasks", split, name, index))
            for name, distribution in distributions.items()
        }
        return Tasks(values, index)

    def contains(self, split: str, tasks: Tasks) -> np.ndarray:
        """Return whether each task lies in the range that `split` draws from, bool [task].

        `train`, `validation` and `test` have the same range: what keeps them apart is their random streams.
        """
        inside = [d.contains(tasks.values[name]) for name, d in self._distributions(split).items()]
        return np.logical_and.reduce(inside)

    def tasks(self, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Tasks:
        """Return a batch of tasks from one or several dicts of parameter values.

        Their random numbers are named by their values, so that each gives alone what it gives in the batch. Raises
        MetarlError for an unknown or missing parameter, a wrong shape, and a value that is not a finite number.
        """
        rows = [rows] if isinstance(rows, Mapping) else list(rows)
        if not rows:
            raise MetarlError(f"no task given for family {self.name!r}; give at least one")
        for row in rows:
            self._check_names(row)
        values = {
            name: np.stack([self._value(name, parameter, row[name]) for row in rows])
            for name, parameter in self.parameters.items()
        }
        return Tasks(values, np.array([_name_of({n: v[i] for n, v in values.items()}) for i in range(len(rows))]))

    def _check_names(self, row: Mapping[str, Any]) -> None:
        for name in row:
            if name not in self.parameters:
                raise MetarlError(
                    f"task parameter {name!r} is unknown to family {self.name!r}; {did_you_mean(name, self.parameters)}"
                )
        for name in self.parameters:
            if name not in row:
                raise MetarlError(f"task parameter {name!r} of family {self.name!r} is missing; give it a value")

    def _value(self, name: str, parameter: Parameter, value: Any) -> np.ndarray:
        shape = parameter.train.shape
        try:
            array = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            array = np.array(np.nan)
        if array.shape != shape or not np.isfinite(array).all():
            kind = f"{shape} finite numbers" if shape else "one finite number"
            raise MetarlError(f"task parameter {name!r} is {value!r}; family {self.name!r} takes {kind}")
        return array

    def make_vec(self, tasks: Tasks, replicas: int = 1, *, threads: int | None = None) -> BatchedEnv:
        """Return the batched environment of `replicas` worlds in each task.

        `threads` is the number of native simulation threads (default: one a core); it changes no result.
        """
        return BatchedEnv(self, tasks, replicas, threads=threads)


def _name_of(task: Values) -> int:
    """Return a whole number that follows from a task's values."""
    digest = hashlib.blake2b(digest_size=7)
    for name in sorted(task):
        digest.update(name.encode() + np.ascontiguousarray(task[name]).tobytes())
    return int.from_bytes(digest.digest(), "little")


FAMILIES: Registry[type[TaskFamily]] = Registry("family", "families", "metarl.families")
"""Every registered family; plug-ins join through the entry-point group `metarl.families`."""

F = TypeVar("F", bound=type[TaskFamily])


def register(name: str) -> Callable[[F], F]:
    """Register a family under `name`, and with Gymnasium as `metarl/<ClassName>-v0`.

    Raises MetarlError where another family has the name or the id; a class defined anew (a notebook's cell run again)
    takes its own place.
    """

    def decorate(cls: F) -> F:
        env_id = f"metarl/{cls.__name__}-v0"
        other = gymnasium.registry.get(env_id)
        if other is not None and other.kwargs.get("family") != name:
            raise MetarlError(
                f"Gymnasium id {env_id!r} belongs to family {other.kwargs.get('family')!r}; give the class another name"
            )
        FAMILIES.add(name, cls)
        cls.name = name
        if other is None:
            gymnasium.register(
                env_id,
                entry_point="metarl.adapters.gymnasium:make_single",
                vector_entry_point="metarl.adapters.gymnasium:make_batched",
                kwargs={"family": name},
            )
        return cls

    return decorate


def missing_requirement(cls: type[TaskFamily]) -> str:
    """Return what to install before a family can be used, in one line; '' where nothing is missing."""
    if not cls.requires or importlib.util.find_spec(cls.requires) is not None:
        return ""
    return f"family {cls.name!r} needs package {cls.requires!r}, which is not installed; pip install {cls.requires}"


def required_package(cls: type[TaskFamily]) -> Any:
    """Import and return the package that a family requires. Raises MetarlError where that fails."""
    try:
        return importlib.import_module(cls.requires)
    except ImportError as error:
        why = f"package {cls.requires!r} of family {cls.name!r} fails to import ({error}); install it anew"
        raise MetarlError(missing_requirement(cls) or why) from None


def describe(cls: type[TaskFamily]) -> str:
    """Return the first line of a family's docstring."""
    return (inspect.getdoc(cls) or "").split("\n", 1)[0]


def unchangeable(name: str, method: str) -> MetarlError:
    """Return the error of a family whose worlds cannot change their task in mid-episode for want of `method`."""
    return MetarlError(
        f"family {name!r} does not say how the task of a running environment changes; write its method `{method}`, or "
        "load it without switch_at"
    )
