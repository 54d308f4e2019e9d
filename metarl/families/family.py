"""Task families, and the registry of all families."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import gymnasium
import numpy as np
from gymnasium import spaces

from ..base.code import reference
from ..base.errors import MetarlError, did_you_mean
from ..base.registry import Registry
from .distributions import Distribution
from .outcomes import Outcome, Played
from .spaces import ActionSpace
from .task import SPLITS, Horizon, Measure, Parameter, Reveal, Tasks, Values
from .vector import BatchedEnv

if TYPE_CHECKING:
    from .batch import Batch


class TaskFamily(ABC):
    """A parameterised environment and the distributions that its tasks are drawn from.

    A subclass is a frozen dataclass. Its annotated fields are the family's settings, `horizon` among them; `presets`
    names combinations of settings that papers use. Constants are class attributes without an annotation, such as
    `action_space = Box(-1.0, 1.0, (1,))`; write a property where a value depends on settings.

    Derive a family from `ArrayFamily`, `MujocoFamily`, `ClassFamily` or `VectorFamily`, which step its worlds.
    """

    name: ClassVar[str]
    """Name in the registry, set by `register`. A class that is not registered has the name `module:Name`."""
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Settings by preset name. `load` takes the first preset where none is named."""
    source: ClassVar[str] = ""
    """Paper and repository that the family comes from."""
    shared_doc: ClassVar[str] = ""
    """Markdown that all families of a base class share, such as the tables of observation and action. `register`
    appends it to the docstring."""
    gymnasium_id: ClassVar[str] = ""
    """Gymnasium's environment with the same dynamics, '' where there is none. Tests and benchmarks compare with it."""
    shows_task: ClassVar[bool] = False
    """Whether the observation may reveal the task. `check_family` reports a fault where it does and this is False."""
    by_settings: ClassVar[bool] = False
    """Whether its settings alone make the environment, so that who uses it in a YAML file has no class to repair."""
    requires: ClassVar[str] = ""
    """Package that the family needs in addition to metarl's, by its import name; '' where it needs none. An instance
    whose settings do without the package says ''."""
    pauses: ClassVar[bool] = True
    """Whether a world can stand still in mid-episode while others step."""
    side_by_side: ClassVar[bool] = True
    """Whether several batches can step at the same time, each on its own thread, as `rollout_shards` needs."""
    horizon: Horizon

    @classmethod
    def model_digest(cls) -> str:
        """Return the digest of a model file of one's own that the class names; '' where it names none."""
        return ""

    @property
    @abstractmethod
    def parameters(self) -> Mapping[str, Parameter]:
        """The parameters of a task, by name."""

    @property
    @abstractmethod
    def observation_space(self) -> spaces.Space[Any]:
        """Space of one observation: Box, Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of them."""

    @property
    @abstractmethod
    def action_space(self) -> ActionSpace:
        """Space of one action: a bounded Box of floats, Discrete, MultiDiscrete or MultiBinary."""

    @property
    def target_space(self) -> ActionSpace | None:
        """Space of the action that would have been right in a step; None where the family knows none."""
        return None

    @property
    def measure(self) -> Measure:
        """What an episode is measured by; the undiscounted return by default."""
        return Measure()

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """What evaluations tell of a round beside `measure`, by name; nothing by default."""
        return {}

    def measure_round(self, values: Values, number: int, played: Played) -> Mapping[str, np.ndarray]:
        """Return the `outcomes` of a round, by name: float64 [task], mean over replicas; counts [task, kind] of pooled.

        `values` are the tasks' parameters, [task, *shape], and `number` is the round's, 0 for the first. Where the
        option `switch_at` changes tasks within the round, they are those of each step, [time, task, *shape]. NaN says
        that an outcome means nothing in this round of this task.
        """
        return {}

    @property
    def reveal(self) -> Reveal:
        """When a learner is shown the targets: after each step, after each round, or never."""
        return "round"

    @abstractmethod
    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return a batch with one world for each row of `values`.

        `threads` is the number of native threads (None: one a core). Families without native threads ignore it.
        """

    def require_changeable(self) -> None:  # noqa: B027 -- most families can
        """Raise MetarlError where the task of a running world cannot change, as the option `switch_at` needs."""

    def with_horizon(self, horizon: int) -> Self:
        """Return the same family with episodes of `horizon` steps."""
        return dataclasses.replace(self, horizon=horizon)  # type: ignore[type-var]

    @property
    def title(self) -> str:
        """Name of the family in tables and pictures; a YAML file may give its family one of its own."""
        return self.name

    @property
    def untitled(self) -> TaskFamily:
        """The family without a title of its own, which changes nothing of how it is played."""
        return self

    @property
    def origin(self) -> type[TaskFamily]:
        """The registered class, without the options that `load` adds to a family."""
        return type(self)

    @property
    def settings(self) -> dict[str, Any]:
        """The family's settings, ready for JSON. `load(name, **settings)` returns the same family."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]

    @property
    def num_tasks(self) -> int | None:
        """Number of different tasks, or None where there are infinitely many."""
        counts = [parameter.train.num_values for parameter in self.parameters.values()]
        return None if None in counts else math.prod(count for count in counts if count is not None)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits of this family. `extrapolation` is one of them where a parameter has values outside training."""
        outside = any(parameter.extrapolation is not None for parameter in self.parameters.values())
        return SPLITS if outside else SPLITS[:-1]

    def _distributions(self, split: str) -> dict[str, Distribution]:
        if split not in SPLITS:
            raise MetarlError(f"split {split!r} is unknown; {did_you_mean(split, SPLITS)}")
        if split not in self.splits:
            raise MetarlError(
                f"family {self.name!r} has no extrapolation split, because no task lies outside its training range; "
                f"take one of {', '.join(self.splits)}"
            )
        return {name: parameter.of(split) for name, parameter in self.parameters.items()}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__:
            cls.name = reference(cls)
        if cls.__dict__.get("parameters", True) == {}:
            raise MetarlError(f"family class {cls.__name__} has no task parameters; give `parameters` at least one")

    def is_unseen(self, split: str) -> bool:
        """Return whether training never has the tasks of a split, but by chance in infinitely many."""
        own = any(parameter.of(split) is not parameter.train for parameter in self.parameters.values())
        return split != "train" and (own or self.num_tasks is None)

    def sample(self, split: str, num_tasks: int, *, seed: int, start: int = 0) -> Tasks:
        """Return tasks `start` to `start + num_tasks` of an endless list, which `split` and `seed` determine.

        Lists of different splits or seeds share no random numbers. A task does not depend on `num_tasks`. Raises
        MetarlError for an unknown split and for fewer than one task.
        """
        if num_tasks < 1:
            raise MetarlError(f"num_tasks is {num_tasks}; it must be at least 1")
        distributions = self._distributions(split)
        index = np.arange(start, start + num_tasks)
        values = {
            name: distribution.tasks(index, seed, "tasks", split, name) for name, distribution in distributions.items()
        }
        return Tasks(values, index)

    def contains(self, split: str, tasks: Tasks) -> np.ndarray:
        """Return whether each task lies in the range that `split` draws from, bool [task].

        `train`, `validation` and `test` have the same range and differ only in their random streams, unless a parameter
        has a distribution of its own for one of them.
        """
        inside = [d.contains(tasks.values[name]) for name, d in self._distributions(split).items()]
        return np.logical_and.reduce(inside)

    def tasks(self, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Tasks:
        """Return a batch of tasks from one or several dicts of parameter values.

        The values of a task determine its random numbers, so it plays alone as it plays in a batch. Raises MetarlError
        for an unknown or missing parameter, a wrong shape, and a value that is not a finite number.
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
        return Tasks(values, np.array([_hash({n: v[i] for n, v in values.items()}) for i in range(len(rows))]))

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
            array = np.asarray(parameter.train.encode(value), dtype=np.float64)
        except MetarlError as error:
            raise MetarlError(f"task parameter {name!r} of family {self.name!r}: {error}; take one of them") from None
        except (TypeError, ValueError):
            array = np.array(np.nan)
        if array.shape != shape or not np.isfinite(array).all():
            kind = f"{shape} finite numbers" if shape else "one finite number"
            raise MetarlError(f"task parameter {name!r} is {value!r}; family {self.name!r} takes {kind}")
        return array

    def make_vec(self, tasks: Tasks, replicas: int = 1, *, threads: int | None = None) -> BatchedEnv:
        """Return the batched environment of `replicas` worlds in each task.

        `threads` is the number of native simulation threads (None: one a core). It does not change results.
        """
        return BatchedEnv(self, tasks, replicas, threads=threads)


def _hash(task: Values) -> int:
    """Return a whole number below 2^56 that depends on a task's values alone."""
    digest = hashlib.blake2b(digest_size=7)
    for name in sorted(task):
        digest.update(name.encode() + np.ascontiguousarray(task[name]).tobytes())
    return int.from_bytes(digest.digest(), "little")


def require_family_class(cls: object, title: str) -> None:
    """Raise MetarlError, which calls it `title`, unless `cls` is a whole class that extends `metarl.TaskFamily`."""
    if not (isinstance(cls, type) and issubclass(cls, TaskFamily)):
        raise MetarlError(f"{title} is {cls!r}; it must be a class that extends metarl.TaskFamily")
    if missing := sorted(cls.__abstractmethods__):
        raise MetarlError(f"{title}: class {cls.__name__} lacks {', '.join(missing)}; write them")
    if not dataclasses.is_dataclass(cls):
        raise MetarlError(f"{title}: class {cls.__name__} is no dataclass; decorate it with @dataclass(frozen=True)")


FAMILIES: Registry[type[TaskFamily]] = Registry("family", "families", "metarl.families", require_family_class)
"""Every registered family. Plug-ins register through the entry-point group `metarl.families`."""

F = TypeVar("F", bound=type[TaskFamily])


def register(name: str) -> Callable[[F], F]:
    """Register a family under `name`, and with Gymnasium as `metarl/<ClassName>-v0`.

    Also completes its docstring with `shared_doc`. Raises MetarlError where another family has the name or the id. A
    class that is defined again, as when a notebook's cell runs twice, replaces its older self.
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
        if (shared := inspect.cleandoc(cls.shared_doc)) not in (cls.__doc__ or ""):
            cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\n{shared}\n"
        if other is None:
            gymnasium.register(
                env_id,
                entry_point="metarl.adapters.gymnasium:make_single",
                vector_entry_point="metarl.adapters.gymnasium:make_batched",
                kwargs={"family": name},
            )
        return cls

    return decorate


def missing_requirement(family: TaskFamily | type[TaskFamily]) -> str:
    """Return one line that says which package to install before a family can be used, or '' where none is missing.

    A class is asked about its default settings, a family about its own.
    """
    package = family.requires
    if not package or importlib.util.find_spec(package) is not None:
        return ""
    return f"family {family.name!r} needs package {package!r}, which is not installed; pip install {package}"


def required_package(cls: type[TaskFamily]) -> Any:
    """Import and return the package that a family requires. Raises MetarlError where that fails."""
    try:
        return importlib.import_module(cls.requires)
    except ImportError as error:
        why = f"package {cls.requires!r} of family {cls.name!r} fails to import ({error}); reinstall it"
        raise MetarlError(missing_requirement(cls) or why) from None


def describe(cls: type[TaskFamily]) -> str:
    """Return the first line of a family's docstring."""
    return (inspect.getdoc(cls) or "").split("\n", 1)[0]
