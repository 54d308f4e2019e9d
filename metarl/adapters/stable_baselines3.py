"""Families for stable-baselines3: a `VecEnv` around the batched environment, without loss of speed."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import Wrapper, spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvObs, VecEnvStepReturn

from ..base.errors import MetarlError
from ..families.family import TaskFamily
from ..families.layout import map_arrays
from ..families.load import load
from ..families.spaces import from_zero, limits, shape_of
from ..families.switching import SwitchingFamily
from ..families.task import Tasks
from ..families.vector import BatchedEnv
from .worlds import share_worlds

__all__ = ["SB3VecEnv", "make_sb3_vec"]


def make_sb3_vec(
    family: TaskFamily | str,
    num_envs: int = 1,
    *,
    preset: str | None = None,
    tasks: Tasks | Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None,
    split: str | None = None,
    seed: int = 0,
    threads: int | None = None,
    render_mode: str | None = None,
    **settings: Any,
) -> SB3VecEnv:
    """Return `num_envs` worlds of a family as a `VecEnv`, for any algorithm of stable-baselines3.

    Without `tasks`, every episode plays a new task of `split` (default: `train`), as in multi-task training. With
    `tasks`, the worlds are shared equally among them and keep them. `seed` determines the drawn tasks and the worlds'
    random numbers until `VecEnv.seed` gives another one, as SB3's algorithms do. `threads` is that of
    `TaskFamily.make_vec`.

    Raises MetarlError for an unknown family, preset, setting, split or task; for a number of worlds that is not a
    multiple of the number of tasks; for a family with `switch_at`, because SB3 plays single episodes; and without
    `tasks` for a family that cannot change the task of a running environment.
    """
    family = _load(family, preset, settings)
    if num_envs < 1:
        raise MetarlError(f"num_envs is {num_envs}; it must be at least 1")
    if tasks is not None and split is not None:
        raise MetarlError(f"split is {split!r}, and tasks are given; give one of them")
    if tasks is None:
        split = split or "train"
        family.require_changeable()
        given = family.sample(split, num_envs, seed=seed)
    else:
        given = tasks if isinstance(tasks, Tasks) else family.tasks(tasks)
    envs = share_worlds(family, given, num_envs, threads=threads, render_mode=render_mode)
    return SB3VecEnv(family, envs, split, seed)


def _load(family: TaskFamily | str, preset: str | None, settings: Mapping[str, Any]) -> TaskFamily:
    """Return the family, loaded where it is a name. Raises MetarlError for one that stable-baselines3 cannot play."""
    if isinstance(family, str):
        family = load(family, preset, **settings)
    elif preset is not None or settings:
        raise MetarlError("preset and settings belong to a family's name; the given family has its own, leave them out")
    if isinstance(family, SwitchingFamily):
        raise MetarlError(
            "switch_at counts steps of a trial, and stable-baselines3 plays single episodes; leave it out"
        )
    return family


def _choose(where: np.ndarray, chosen: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the rows of `chosen` where `where` is true, bool [world], and of `others` elsewhere."""
    return np.where(where.reshape(-1, *(1,) * (chosen.ndim - 1)), chosen, others)


def _shown_space(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """Return a space of observations as stable-baselines3 takes it."""
    match space:
        case spaces.Box():
            return space
        case spaces.Dict():
            return spaces.Dict([(key, _shown_space(inner)) for key, inner in space.spaces.items()])
        case spaces.Tuple():
            return spaces.Dict([(str(place), _shown_space(inner)) for place, inner in enumerate(space.spaces)])
    return from_zero(space)


def _shown(space: spaces.Space[Any], observations: Any) -> Any:
    """Return a batch of observations of `space` in its `_shown_space`."""
    match space:
        case spaces.Box():
            return observations
        case spaces.Dict():
            return {key: _shown(inner, observations[key]) for key, inner in space.spaces.items()}
        case spaces.Tuple():
            return {str(place): _shown(inner, observations[place]) for place, inner in enumerate(space.spaces)}
    made = from_zero(space)
    return (observations - limits(space)[0]).reshape(len(observations), *shape_of(made)).astype(made.dtype)


class SB3VecEnv(VecEnv):
    """Worlds of one family for stable-baselines3. A world begins a new episode in the step that ends its last one.

    In such a step `infos[i]` has `terminal_observation`, `TimeLimit.truncated`, and `is_success` in families that know
    a success: whether any step of the episode was one. For a family around a class that reports success only
    sometimes, it is there from the first report on. `unstable` is true where the physics broke down and cut the episode
    off. Discrete parts of observations and actions count from 0 and have rank 1, and a Tuple is a Dict with the keys
    '0', '1' and so on, as SB3 expects. Use `make_sb3_vec` to make one.
    """

    def __init__(self, family: TaskFamily, envs: BatchedEnv, split: str | None, seed: int) -> None:
        self._family, self._envs, self._split, self._seed = family, envs, split, seed
        # One row of values for each world, replaced when the world begins an episode in another task.
        self._values = {name: np.repeat(value, envs.replicas, axis=0) for name, value in envs.tasks.values.items()}
        self._drawn = 0
        self._begun = False
        self._successes: np.ndarray | None = None
        self._actions: np.ndarray | None = None
        space = envs.single_action_space
        shown = space if isinstance(space, spaces.Box) else from_zero(space)
        super().__init__(envs.num_envs, _shown_space(envs.single_observation_space), shown)

    @property
    def family(self) -> TaskFamily:
        """The family of the worlds."""
        return self._family

    def task(self, world: int) -> dict[str, Any]:
        """Return the current task of a world, as numbers and lists by parameter name."""
        return {name: value[world].tolist() for name, value in self._values.items()}

    def reset(self) -> VecEnvObs:
        """Begin new episodes in all worlds. After `seed`, tasks and random numbers start again; else both go on."""
        given = self._seeds[0]  # SB3 gives world i the seed plus i
        restart = given is not None or not self._begun
        if restart:
            self._seed = self._seed if given is None else given
            self._drawn, self._begun = 0, True
        if any(self._options):
            raise MetarlError(f"options are {self._options[0]}; a reset of all worlds takes none, leave them out")
        self._reset_seeds()
        self._draw(np.ones(self.num_envs, dtype=bool))
        self._successes = None if self._successes is None else np.zeros_like(self._successes)
        observations, _ = self._envs.reset(seed=self._seed if restart else None)
        return self._show(observations)

    def _show(self, observations: Any) -> Any:
        return _shown(self._envs.single_observation_space, observations)

    def _draw(self, where: np.ndarray) -> None:
        """Give the marked worlds the next tasks of the split, unless the worlds keep their tasks."""
        if self._split is None:
            return
        count = int(where.sum())
        drawn = self.family.sample(self._split, count, seed=self._seed, start=self._drawn)
        self._drawn += count
        for name, value in drawn.values.items():
            self._values[name][where] = value
        self._envs.change(where, self._values)

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions, [world, *action], for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step all worlds, and begin a new episode where one has ended."""
        if self._actions is None:
            raise MetarlError("step_wait without step_async; give actions first")
        actions, self._actions = np.asarray(self._actions), None
        space = self._envs.single_action_space
        if not isinstance(space, spaces.Box):
            actions = actions.reshape(self.num_envs, *shape_of(space)) + limits(space)[0]
        observations, rewards, terminations, truncations, flags = self._envs.step(actions)
        observations = self._show(observations)
        ended = terminations | truncations
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if "success" in flags:
            self._successes = flags["success"] if self._successes is None else self._successes | flags["success"]
        for world in np.flatnonzero(ended):
            infos[world]["terminal_observation"] = map_arrays(operator.itemgetter(world), observations)
            infos[world]["TimeLimit.truncated"] = bool(truncations[world])
            if "unstable" in flags and flags["unstable"][world]:
                infos[world]["unstable"] = True
            if self._successes is not None:
                infos[world]["is_success"] = bool(self._successes[world])
        if ended.any():
            if self._successes is not None:
                self._successes = self._successes & ~ended
            self._draw(ended)
            fresh, _ = self._envs.reset(options={"reset_mask": ended})
            observations = map_arrays(functools.partial(_choose, ended), self._show(fresh), observations)
        return observations, rewards.astype(np.float32), ended, infos

    def close(self) -> None:
        """Release windows and simulation threads."""
        self._envs.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a picture of each world."""
        return self._envs.render() or [None] * self.num_envs

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of each world.

        Known are `task`, `family`, `observation_space`, `action_space` and `render_mode`; others raise AttributeError.
        """
        known = {
            "family": self.family,
            "observation_space": self._envs.single_observation_space,
            "action_space": self._envs.single_action_space,
            "render_mode": self._envs.render_mode,
        }
        worlds = self._worlds(indices)
        if attr_name == "task":
            return [self.task(world) for world in worlds]
        if attr_name not in known:
            raise AttributeError(f"worlds have no attribute {attr_name!r}; known: {', '.join(('task', *known))}")
        return [known[attr_name] for _ in worlds]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Raise MetarlError, because the worlds step together and have no attributes of their own."""
        raise MetarlError(f"{attr_name} cannot be set, because the worlds step together; give it to make_sb3_vec")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Call `render` of each world. Other methods raise MetarlError, because the worlds step together."""
        if method_name == "render":
            pictures = self.get_images()
            return [pictures[world] for world in self._worlds(indices)]
        raise MetarlError(f"{method_name} cannot be called on single worlds, which step together; only render can")

    def env_is_wrapped(
        self, wrapper_class: type[Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Return False for each world: there are no Gymnasium wrappers."""
        return [False] * len(self._worlds(indices))

    def _worlds(self, indices: VecEnvIndices) -> list[int]:
        if indices is None:
            return list(range(self.num_envs))
        worlds = [int(i) for i in indices] if isinstance(indices, Iterable) else [int(indices)]
        if outside := [world for world in worlds if not 0 <= world < self.num_envs]:
            raise MetarlError(f"world {outside[0]} does not exist; take one of 0 to {self.num_envs - 1}")
        return worlds

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled environment: as the batch in it, it begins with its seed."""
        self.__dict__.update(state)
        self._begun = False
