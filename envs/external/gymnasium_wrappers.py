"""Gymnasium's wrappers by short names, as the setting `wrappers` of a YAML family lists them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from metarl.base.code import find_class
from metarl.base.errors import MetarlError, did_you_mean, first_line

Env = gymnasium.Env[Any, Any]


class Unbounded(gymnasium.ObservationWrapper[Any, Any, Any]):
    """An environment whose observations may leave the bounds that it states."""

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, spaces.Box) or not np.issubdtype(space.dtype, np.floating):
            raise ValueError(f"observations are {space}, not a Box of floating-point numbers")
        self.observation_space = spaces.Box(-np.inf, np.inf, space.shape, space.dtype.type)

    def observation(self, observation: Any) -> Any:
        """Return the observation as it is."""
        return observation


@dataclass(frozen=True)
class Known:
    """A wrapper with a short name."""

    class_name: str
    """Its class in `gymnasium.wrappers`."""
    takes: tuple[str, ...] = ()
    """Arguments that a bare value or a list gives, in this order."""
    requires: str = ""
    """Package that it imports, by its import name."""
    install: str = ""
    """What to install for it."""


WRAPPERS: Mapping[str, Known] = {
    "atari": Known("AtariPreprocessing", ("frame_skip",), "cv2", "opencv-python-headless"),
    "clip_action": Known("ClipAction"),
    "clip_reward": Known("ClipReward", ("min_reward", "max_reward")),
    "delay": Known("DelayObservation", ("delay",)),
    "discretize_action": Known("DiscretizeAction", ("bins",)),
    "dtype": Known("DtypeObservation", ("dtype",)),
    "flatten": Known("FlattenObservation"),
    "frame_stack": Known("FrameStackObservation", ("stack_size",)),
    "grey": Known("GrayscaleObservation", ("keep_dim",)),
    "keep": Known("FilterObservation", ("filter_keys",)),
    "max_and_skip": Known("MaxAndSkipObservation", ("skip",)),
    "repeat_action": Known("RepeatAction", ("num_repeats",)),
    "rescale_action": Known("RescaleAction", ("min_action", "max_action")),
    "rescale_observation": Known("RescaleObservation", ("min_obs", "max_obs")),
    "reshape": Known("ReshapeObservation", ("shape",)),
    "resize": Known("ResizeObservation", ("shape",), "cv2", "opencv-python-headless"),
    "sticky_action": Known("StickyAction", ("repeat_action_probability",)),
    "time_aware": Known("TimeAwareObservation", ("flatten",)),
    "unbounded": Known(""),
}
"""Wrappers by their short names. Those that keep statistics over episodes are left out: they would make an episode
depend on earlier ones."""


@dataclass(frozen=True)
class Wrapper:
    """One entry of `wrappers`."""

    name: str
    """Short name, or `module:Class`."""
    arguments: Mapping[str, Any]
    """Keyword arguments of the class."""


def parse_wrappers(given: Any) -> tuple[Wrapper, ...]:
    """Return the entries of the setting. Raises MetarlError that names the wrong one."""
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise MetarlError(f"wrappers is {given!r}; it must be a list, such as [flatten] or [{{frame_stack: 4}}]")
    return tuple(_parse_one(f"wrappers[{place}]", entry) for place, entry in enumerate(given))


def _parse_one(key: str, entry: Any) -> Wrapper:
    if isinstance(entry, Mapping) and len(entry) == 1:
        name, value = next(iter(entry.items()))
    else:
        name, value = entry, None
    if not isinstance(name, str):
        raise MetarlError(f"{key} is {entry!r}; it must be a name, or one name with its value: {{frame_stack: 4}}")
    if ":" not in name and name not in WRAPPERS:
        raise MetarlError(
            f"{key} is {name!r}, an unknown wrapper; write module:Class for one of your own; "
            f"{did_you_mean(name, WRAPPERS)}"
        )
    if isinstance(value, Mapping):
        if not all(isinstance(argument, str) for argument in value):
            raise MetarlError(f"{key}: {name} has arguments {value!r}; each must have a name")
        return Wrapper(name, dict(value))
    if value is None:
        return Wrapper(name, {})
    takes = () if ":" in name else WRAPPERS[name].takes
    values = value if isinstance(value, (list, tuple)) and len(takes) != 1 else [value]
    if len(values) > len(takes):
        what = (
            f"takes {', '.join(takes)}" if takes else "takes arguments by name only" if ":" in name else "takes nothing"
        )
        raise MetarlError(f"{key}: {name} {what}; {value!r} is too much")
    return Wrapper(name, dict(zip(takes, values, strict=False)))


def wrap(env: Env, wrappers: Sequence[Wrapper]) -> Env:
    """Return the environment inside its wrappers, the first innermost. Raises MetarlError where one refuses it."""
    for wrapper in wrappers:
        known = WRAPPERS.get(wrapper.name)
        if known and known.requires and importlib.util.find_spec(known.requires) is None:
            raise MetarlError(
                f"wrapper {wrapper.name!r} needs package {known.requires!r}, which is not installed; "
                f"pip install {known.install}"
            )
        cls = _class_of(wrapper.name)
        arguments = {name: _as_gymnasium_takes(name, value) for name, value in wrapper.arguments.items()}
        try:
            env = cls(env, **arguments)
        except Exception as error:  # the wrapper's code may raise anything
            given = ", ".join(f"{name}={value!r}" for name, value in wrapper.arguments.items())
            raise MetarlError(
                f"wrapper {wrapper.name}({given}) refuses the environment: {first_line(error)}; change its arguments, "
                "its place in `wrappers`, or leave it out"
            ) from None
    return env


def _as_gymnasium_takes(name: str, value: Any) -> Any:
    """Return a value of YAML in the type that Gymnasium's wrappers take: shapes are tuples, bounds float arrays."""
    if isinstance(value, list) and name in ("shape", "bins", "screen_size", "filter_keys"):
        return tuple(value)
    if name in ("min_action", "max_action", "min_obs", "max_obs"):
        return np.float32(value) if not isinstance(value, list) else np.array(value, dtype=np.float32)
    return np.dtype(value).type if name == "dtype" and isinstance(value, str) else value


def _class_of(name: str) -> type[gymnasium.Wrapper[Any, Any, Any, Any]]:
    """Return the class of a wrapper. Raises MetarlError unless `module:Class` is a class of wrappers."""
    if name == "unbounded":
        return Unbounded
    if ":" not in name:
        return getattr(gymnasium.wrappers, WRAPPERS[name].class_name)
    if ".py:" in name:
        raise MetarlError(f"wrapper {name!r} names a file; write module:Class, with the name of the file's module")
    cls = find_class(name)
    # Before it is called: a config must not call whatever it names.
    if not (isinstance(cls, type) and issubclass(cls, gymnasium.Wrapper)):
        raise MetarlError(f"wrapper {name!r} is {cls!r}; it must be a class derived from gymnasium.Wrapper")
    return cls
