"""Tasks, the families they belong to, and the one registry of families."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, TypeVar, overload

import gymnasium
import numpy as np
from gymnasium import spaces
from pydantic import Field

from .distributions import Distribution
from .errors import MetarlError, did_you_mean
from .registry import Registry
from .streams import Streams

if TYPE_CHECKING:
    from .vector import Batch, BatchedEnv

SPLITS = ("train", "validation", "test", "extrapolation")
"""The four splits: `validation` and `test` are unseen draws from the training distribution; `extrapolation` is
    outside."""

Values = Mapping[str, np.ndarray]
"""Parameter values of a batch of tasks or worlds, by name: float64 [n, *shape of the parameter]."""

Horizon = Annotated[int, Field(ge=1, le=10**7, strict=True)]
"""Steps an episode."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a family's tasks: what it is drawn from, and in what unit."""

    train: Distribution
    """What the train, validation and test splits draw from."""
    extrapolation: Distribution | None = None
    """What the extrapolation split draws from, outside the range of `train`; None where nothing lies outside."""
    unit: str = ""
    """Unit of the values, '' where they have none."""
    meaning: str = ""
    """What the parameter does, in a few words."""


@dataclass(frozen=True)
class Tasks:
    """A batch of tasks of one family."""

    values: Values
    """Parameter values by name, float64 [task, *shape]."""
    index: np.ndarray
    """Place of each task in its split's list, which names its random numbers. int64 [task]"""

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self.index)

    @overload
    def __getitem__(self, item: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, item: slice | np.ndarray | Sequence[int]) -> Tasks: ...
    def __getitem__(self, item: int | slice | np.ndarray | Sequence[int]) -> dict[str, Any] | Tasks:
        """Return one task as a dict of numbers and lists, or a smaller batch, each task with its own random numbers."""
        if isinstance(item, (int, np.integer)):
            return {name: value[item].tolist() for name, value in self.values.items()}
        return Tasks({name: value[item] for name, value in self.values.items()}, self.index[item])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the tasks as dicts of numbers and lists."""
        return (self[i] for i in range(len(self)))


class TaskFamily(ABC):
    """A parameterised environment and the distributions its tasks are drawn from.

    Subclasses are frozen dataclasses: their fields are the family's settings (`horizon` and its own), and `presets`
    names the combinations of settings that papers use. Most families are written with `metarl.families.ArrayFamily`,
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
        from .vector import BatchedEnv

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
                entry_point="metarl.vector:make_single",
                vector_entry_point="metarl.vector:make_batched",
                kwargs={"family": name},
            )
        return cls

    return decorate


def load(name: str | Path, preset: str | None = None, **settings: Any) -> TaskFamily:
    """Return the family `name` with the settings of `preset` (default: its first), and `settings` over them.

    `name` may be the path of a YAML file that declares one (see `metarl.declared.read_family`). Beside its own settings
    any family takes `switch_at`, the steps of a trial after which its task changes, and a MuJoCo family `varies`, the
    fields of its model that differ from task to task. Raises MetarlError for an unknown family, preset or setting (with
    the nearest name), and for a setting of the wrong type or out of range.
    """
    from .declared import is_file, read_family

    if not isinstance(name, (str, Path)):
        raise MetarlError(f"family is {name!r}; give the name of a registered one, or the path of a YAML file")
    name = str(name)
    if is_file(name):
        declaration = read_family(name)
        try:
            return load(**{**declaration, **settings, **({} if preset is None else {"preset": preset})})
        except MetarlError as error:
            raise MetarlError(f"{name}: {error}") from None
    cls = FAMILIES[name]
    preset = next(iter(cls.presets), None) if preset is None else preset
    if preset is not None and (not isinstance(preset, str) or preset not in cls.presets):
        raise MetarlError(f"preset {preset!r} is unknown to family {name!r}; {did_you_mean(str(preset), cls.presets)}")
    known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    options = {option: settings.pop(option, None) for option in OPTIONS if option not in known}
    for setting in settings:
        if setting not in known:
            raise MetarlError(
                f"setting {setting!r} is unknown to family {name!r}; {did_you_mean(setting, [*known, *OPTIONS])}"
            )
    family = _validated(cls, {**(cls.presets[preset] if preset is not None else {}), **settings})
    return _with_options(family, **{option: value for option, value in options.items() if value is not None})


OPTIONS = ("varies", "switch_at")
"""What `load` takes for any family, beside its own settings."""


def _with_options(family: TaskFamily, varies: Mapping[str, Any] | None = None, switch_at: Any = None) -> TaskFamily:
    if varies is not None:
        from .declared import VariedFamily
        from .mujoco_family import MujocoFamily

        if not isinstance(family, MujocoFamily):
            raise MetarlError(
                f"family {family.name!r} has no MuJoCo model, so it takes no `varies`; leave it out, or declare `env: ID`"
            )
        family = VariedFamily(family, varies)
    if switch_at is not None:
        from .switching import SwitchingFamily

        steps = switch_at if isinstance(switch_at, (list, tuple)) else [switch_at]
        if not all(isinstance(step, int) and not isinstance(step, bool) for step in steps):
            raise MetarlError(f"switch_at is {switch_at!r}; it must be whole numbers of steps, ascending")
        family = SwitchingFamily(family, tuple(steps))
    return family


def _validated(cls: type[TaskFamily], settings: Mapping[str, Any]) -> TaskFamily:
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(cls).validate_python(dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        given = "" if first["type"] == "missing" else f" is {first['input']!r}"
        raise MetarlError(
            f"setting {where!r} of family {cls.name!r}{given}: {first['msg'].replace('Input should be', 'it must be')}"
        ) from None


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
