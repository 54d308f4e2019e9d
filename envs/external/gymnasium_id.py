"""Any environment of Gymnasium, with constructor arguments or fields of its MuJoCo model as the task."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium
from gymnasium import spaces
from gymnasium.envs.registration import load_env_creator

from metarl.base.errors import MetarlError, did_you_mean, first_line
from metarl.families.classes import ClassFamily
from metarl.families.distributions import Choice
from metarl.families.family import register
from metarl.families.layout import layout_of
from metarl.families.model_files import adopt, located
from metarl.families.model_parts import SUFFIXES
from metarl.families.mujoco.varied import require_applicable
from metarl.families.spaces import LEAVES, require_actions
from metarl.families.task import Horizon, Parameter
from metarl.families.variation import Variation, parse_variations

from .gymnasium_names import find_spec, make_env
from .gymnasium_success import SuccessEnv, parse_rule
from .gymnasium_task import TaskEnv, find_model
from .gymnasium_trial import try_tasks
from .gymnasium_wrappers import parse_wrappers, wrap

PENDULUM: Mapping[str, Any] = {
    "env": "Pendulum-v1",
    "varies": {
        "g": {
            "train": {"uniform": [5, 15]},
            "extrapolation": {"uniform": [15, 20]},
            "unit": "m/s^2",
            "meaning": "gravity, an argument of the environment",
        }
    },
}
INVERTED_PENDULUM: Mapping[str, Any] = {
    "env": "InvertedPendulum-v5",
    "horizon": 1000,
    "varies": {
        "mass": {
            "train": {"log_uniform": [0.5, 2]},
            "extrapolation": {"log_uniform": [2, 3]},
            "meaning": "factor of the pole's mass, a field of the model",
            "scale": ["body_mass[pole]", "body_inertia[pole]"],
        }
    },
}


@register("gymnasium")
@dataclass(frozen=True)
class AnyGymnasium(ClassFamily):
    """Any environment of Gymnasium, with constructor arguments, attributes or model fields as the task.

    Reward and end of an episode are the environment's own, and so are its observations, but for whole numbers, which
    become one-hot vectors. `env` is the environment's id and `arguments` are constructor arguments for every task.
    `varies` declares the task parameters (see `metarl.families.variation.parse_variations`): with `set`, `scale` or
    `add` a parameter changes a field of the MuJoCo model (see `metarl.families.mujoco.changes.Change`), with
    `attribute` it is an attribute of the environment's object, with `argument` a constructor argument, and without them
    the constructor argument of its name. `wrappers` lists wrappers by name, the first innermost, such as
    `[grey, {frame_stack: 4}]`. `success` says what a success is, such as `{return_at_least: 200}`. `horizon` replaces
    the environment's time limit. Worlds step one after the other; a MuJoCo family of metarl with the option `varies` is
    faster, because it steps all worlds in one native call. Presets, as examples: `pendulum-gravity`,
    `inverted-pendulum-mass`.
    """

    source = "gymnasium.farama.org"
    by_settings = True
    presets = {
        "pendulum-gravity": PENDULUM,
        "inverted-pendulum-mass": INVERTED_PENDULUM,
    }
    env: str = "Pendulum-v1"
    arguments: Mapping[str, Any] = field(default_factory=dict)
    varies: Mapping[str, Any] = field(default_factory=lambda: PENDULUM["varies"])
    wrappers: list[Any] = field(default_factory=list)
    success: Any = None
    horizon: Horizon = 200

    def __post_init__(self) -> None:
        entry_point = find_spec(self.env).entry_point
        if entry_point is None:
            raise MetarlError(
                f"environment {self.env!r} exists in Gymnasium as a vector environment only; take another"
            )
        object.__setattr__(self, "arguments", adopt(self.arguments, SUFFIXES))
        parse_wrappers(self.wrappers)
        if self.success is not None:
            parse_rule(self.success)
        for name, variation in self.declared.items():
            if variation.argument and _holds(self.arguments, variation.argument):
                raise MetarlError(f"varies.{name} and arguments.{variation.argument} are both given; leave one out")
        changed = [name for name, variation in self.declared.items() if variation.changes]
        if changed:
            arguments = self._arguments_of(self.sample("train", 1, seed=0)[0])
            _require_model(changed[0], self._construct(arguments), self.declared)
        try_tasks(self)

    @functools.cached_property
    def declared(self) -> Mapping[str, Variation]:
        """The declared parameters, with what they act on."""
        return parse_variations(self.varies)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The declared parameters."""
        return {name: variation.parameter for name, variation in self.declared.items()}

    def make(self, task: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
        """Return the environment with the task's arguments, model and attributes, in its wrappers."""
        env = self._construct(self._arguments_of(task), render_mode)
        if any(variation.changes or variation.attributes for variation in self.declared.values()):
            env = TaskEnv(env, self.declared)
            env.set_task(self._decode(task))
        env = wrap(_Limited(env, self.horizon), parse_wrappers(self.wrappers)) if self.wrappers else env
        _require_readable(self.env, env.observation_space, env.action_space)
        if isinstance(env.observation_space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
            env = gymnasium.wrappers.FlattenObservation(env)
        return env if self.success is None else SuccessEnv(env, parse_rule(self.success), self.horizon)

    def change(self, env: gymnasium.Env[Any, Any], task: dict[str, Any]) -> None:
        """Change a running environment. Raises MetarlError where the task has constructor arguments."""
        self.require_changeable()
        while not isinstance(env, TaskEnv):
            env = env.env  # type: ignore[attr-defined]
        env.set_task(self._decode(task))

    def require_changeable(self) -> None:
        """Raise MetarlError where the task has constructor arguments."""
        for name, variation in self.declared.items():
            if variation.argument:
                raise MetarlError(
                    f"varies.{name} is a constructor argument of {self.env!r}, which cannot change in a running "
                    "environment; load it without switch_at, or vary attributes or fields of its model"
                )

    def _decode(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Return a task's values in the types that the environment expects: a whole number of a choice is an int."""
        return {name: _decode_value(self.declared[name].parameter, value) for name, value in task.items()}

    def _arguments_of(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Return the constructor arguments for a task: those of every task, and its own."""
        arguments = copy.deepcopy(dict(self.arguments))
        for name, value in self._decode(task).items():
            if path := self.declared[name].argument:
                _put(arguments, path, value)
        return arguments

    def _construct(self, arguments: Mapping[str, Any], render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        try:
            # -1 removes the environment's own time limit, which `horizon` replaces.
            return make_env(
                self.env,
                max_episode_steps=-1,
                disable_env_checker=True,
                render_mode=render_mode,
                **located(arguments),
            )
        except Exception as error:  # the environment's code may raise anything
            if isinstance(error, TypeError):
                _require_known_arguments(self.env, arguments, self.varies)
            missing = isinstance(error, (ImportError, gymnasium.error.DependencyNotInstalled))
            remedy = (
                "install its dependency, or take another" if missing else "give arguments that its constructor takes"
            )
            raise MetarlError(
                f"environment {self.env!r} cannot be made with {arguments}: {first_line(error)}; {remedy}"
            ) from None


class _Limited(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment whose spec tells wrappers the horizon; the batch ends episodes there."""

    def __init__(self, env: gymnasium.Env[Any, Any], horizon: int) -> None:
        super().__init__(env)
        self.horizon = horizon

    @property
    def spec(self) -> Any:  # type: ignore[override]  # a property of Gymnasium's wrappers too
        """The environment's, with the horizon as its time limit."""
        found = copy.copy(self.env.spec)
        if found is not None:
            found.max_episode_steps = self.horizon
        return found


def _decode_value(parameter: Parameter, value: Any) -> Any:
    value = parameter.train.decode(value)
    if not isinstance(parameter.train, Choice):
        return value
    if isinstance(value, list):
        return [int(number) if float(number).is_integer() else number for number in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _holds(arguments: Mapping[str, Any], path: str) -> bool:
    """Return whether nested arguments give a value for a dotted path."""
    inner: Any = arguments
    for part in path.split("."):
        if not isinstance(inner, Mapping) or part not in inner:
            return False
        inner = inner[part]
    return True


def _put(arguments: dict[str, Any], path: str, value: Any) -> None:
    """Put a value under a dotted path into nested arguments, in place."""
    *way, last = path.split(".")
    inner: Any = arguments
    for number, part in enumerate(way):
        inner = inner.setdefault(part, {})
        if not isinstance(inner, dict):
            place = ".".join(way[: number + 1])
            raise MetarlError(f"arguments.{place} is {inner!r}, so {path!r} is not in it; make it a mapping")
    inner[last] = value


def _require_readable(env: str, seen: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
    """Raise MetarlError for spaces that no agent takes, with what to write in YAML."""
    if isinstance(seen, spaces.Dict):
        wrong = [name for name, part in seen.items() if not isinstance(part, (*LEAVES, spaces.Dict, spaces.Tuple))]
        if wrong and len(wrong) < len(seen):
            keep = ", ".join(name for name in seen if name not in wrong)
            raise MetarlError(
                f"part {wrong[0]!r} of the observations of environment {env!r} is {seen[wrong[0]]}, which no agent "
                f"reads; leave it out with wrappers: [{{keep: [{keep}]}}]"
            )
    try:
        layout_of(seen)
        require_actions("", actions)
    except MetarlError as error:
        problem = str(error).replace("family '' has", "there is").partition(";")[0].partition(": turn")[0]
        raise MetarlError(
            f"environment {env!r}: {problem}, which no agent takes; change it by a wrapper of your own, with "
            "wrappers: ['module:Class']"
        ) from None


def _require_known_arguments(env: str, arguments: Mapping[str, Any], varied: Mapping[str, Any]) -> None:
    """Raise MetarlError for an argument that the environment's constructor does not have."""
    entry = find_spec(env).entry_point
    creator = load_env_creator(entry) if isinstance(entry, str) else entry
    if creator is None:
        return
    parameters = inspect.signature(creator).parameters.values()
    known = {each.name for each in parameters} - {"self"}
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return
    for name in arguments:
        if name not in known:
            attribute = f"; for an attribute of the environment, write attribute: {name}" if name in varied else ""
            raise MetarlError(
                f"argument {name!r} is unknown to environment {env!r}; {did_you_mean(name, known)}{attribute}"
            )


def _require_model(first: str, env: gymnasium.Env[Any, Any], declared: Mapping[str, Variation]) -> None:
    model = find_model(env)
    if model is None:
        env.close()
        raise MetarlError(
            f"varies.{first} names a field of a MuJoCo model, but the environment has no model; remove set, "
            "scale and add"
        )
    for name, variation in declared.items():
        if any(change.target.startswith("limb_length") for change in variation.changes):
            raise MetarlError(
                f"varies.{name}: limb_length works with families of metarl only; write `family: NAME` instead of `env`"
            )
    require_applicable(model, declared)
    env.close()
