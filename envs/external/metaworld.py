"""Meta-World's sets ML1, ML10 and ML45: a robot arm with hidden goals."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from metarl.base.errors import MetarlError, did_you_mean
from metarl.families.classes import ClassFamily
from metarl.families.distributions import Choice, Uniform
from metarl.families.family import register, required_package
from metarl.families.task import Horizon, Parameter

PLACE = Parameter(Uniform(0.0, 1.0, (6,)), unit="share of the range", meaning="where the object and the goal are")
"""Six numbers for every environment, because one of them takes six."""


class Draws:
    """A generator for an environment that returns a task's own numbers first, then random ones that they determine.

    Environments draw again while goal and object are too close. With Meta-World's frozen numbers that would never end.
    """

    def __init__(self, place: np.ndarray) -> None:
        self.place: np.ndarray | None = place
        self.generator = np.random.default_rng(np.frombuffer(place.tobytes(), dtype=np.uint64))

    def uniform(self, low: np.ndarray, high: np.ndarray, size: int) -> np.ndarray:
        """Return numbers between `low` and `high`, [size]."""
        shares = self.generator.random(size) if self.place is None else self.place[:size]
        self.place = None
        return low + (high - low) * shares


class MetaWorld(ClassFamily):
    """An environment of Meta-World whose task is the place of object and goal."""

    source = "Yu et al., Meta-World, CoRL 2019, github.com/Farama-Foundation/Metaworld (V3 environments)"
    requires = "metaworld"
    shows_task = True

    @abstractmethod
    def environment(self, task: dict[str, Any]) -> str:
        """Return the name of the task's environment."""

    def make(self, task: dict[str, Any], render_mode: str | None) -> Any:
        """Return the environment of one task, with object and goal at their places and the goal hidden."""
        known = required_package(type(self)).ALL_V3_ENVIRONMENTS
        env = known[self.environment(task)](render_mode=render_mode)
        env.max_path_length = self.horizon
        env._set_task_called = True
        env._freeze_rand_vec, env.seeded_rand_vec = False, True
        env.np_random = Draws(np.array(task["place"]))
        env.reset_model()
        env._freeze_rand_vec = True
        low, high = env.observation_space.low.copy(), env.observation_space.high.copy()
        low[-3:], high[-3:] = -1.0, 1.0  # the hidden goal's space has no width, of which Gymnasium would warn
        env.observation_space = spaces.Box(low, high, dtype=np.float64)
        return env


@register("metaworld-ml1")
@dataclass(frozen=True)
class MetaWorldML1(MetaWorld):
    """One environment of Meta-World with a hidden goal.

    | observation | meaning | unit |
    |---|---|---|
    | 0-2 | position x, y, z of the hand | m |
    | 3 | opening of the gripper | 0 closed, 1 open |
    | 4-17 | position and quaternion of up to two objects, 0 for a missing one | m |
    | 18-35 | the same, one step before | |
    | 36-38 | position of the goal, hidden: always 0 | |

    | action | meaning | range |
    |---|---|---|
    | 0-2 | move of the hand along x, y, z | -1 to 1, in cm a step |
    | 3 | effort of the fingers | -1 to 1 |

    Reward: Meta-World's own (version 2), 0 to 10 a step. An episode is a success if any of its steps is. Never
    terminates, not even on success. All episodes of a task start alike, and nothing in them is random. 500 steps.
    Task: `place`, six numbers uniform on (0, 1), the places of object and goal as shares of the environment's range.
    An environment that needs three numbers takes the first three. Objects are observed, so the observation reveals
    that part of the task. Presets: `reach`, `push`, `pick-place`. Setting `task_name` takes any of the 50 environments.
    Needs `pip install metaworld`.

    Differences from Meta-World: training draws from infinitely many places instead of 50 fixed ones, and train,
    validation and test never share a place. A place that is too close for the environment is drawn again, from numbers
    that the task determines. Seeds, resets and pickling do not change the task.
    """

    presets = {name: {"task_name": f"{name}-v3"} for name in ("reach", "push", "pick-place")}
    parameters = {"place": PLACE}
    task_name: str = "reach-v3"
    horizon: Horizon = 500

    def environment(self, task: dict[str, Any]) -> str:
        """Return the setting `task_name`. Raises MetarlError for a name that Meta-World does not have."""
        known = required_package(type(self)).ALL_V3_ENVIRONMENTS
        if self.task_name not in known:
            raise MetarlError(f"task_name {self.task_name!r} is unknown; {did_you_mean(self.task_name, known)}")
        return self.task_name


class MetaWorldSet(MetaWorld):
    """A set of Meta-World's environments: some for training, and five held out."""

    num_train: ClassVar[int]
    """Number of environments to train on."""

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The environment's number, and the place of object and goal."""
        numbers = tuple(float(number) for number in range(self.num_train + 5))
        train, held_out = Choice(numbers[: self.num_train]), Choice(numbers[self.num_train :])
        return {"environment": Parameter(train, held_out, meaning="number in `environments`"), "place": PLACE}

    @property
    def environments(self) -> tuple[str, ...]:
        """Names of the environments in the order of their numbers, those held out last."""
        sets = getattr(required_package(type(self)).env_dict, f"ML{self.num_train}_V3")
        return (*sets["train"], *sets["test"])

    def environment(self, task: dict[str, Any]) -> str:
        """Return the name of the task's environment. Raises MetarlError for a number that no environment has."""
        names = self.environments
        if task["environment"] not in range(len(names)):
            raise MetarlError(
                f"environment is {task['environment']:g}; it must be a whole number from 0 to {len(names) - 1}"
            )
        return names[int(task["environment"])]


@register("metaworld-ml10")
@dataclass(frozen=True)
class MetaWorldML10(MetaWorldSet):
    """Ten environments of Meta-World to train on, and five held out.

    Observation, action, reward and success are those of `metaworld-ml1`. Never terminates. 500 steps. Task:
    `environment`, the number of one of ten environments with equal chances, and `place`, as in `metaworld-ml1`.
    Extrapolation: the five environments held out, numbers 10 to 14, which Meta-World calls its test tasks. Validation
    and test are unseen places in the ten. Property `environments` has the names in order.
    """

    num_train = 10
    horizon: Horizon = 500


@register("metaworld-ml45")
@dataclass(frozen=True)
class MetaWorldML45(MetaWorldSet):
    """Forty-five environments of Meta-World to train on, and five held out.

    Observation, action, reward and success are those of `metaworld-ml1`. Never terminates. 500 steps. Task:
    `environment`, the number of one of 45 environments with equal chances, and `place`, as in `metaworld-ml1`.
    Extrapolation: the five environments held out, numbers 45 to 49. Validation and test are unseen places in the 45.
    """

    num_train = 45
    horizon: Horizon = 500
