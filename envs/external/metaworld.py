"""Meta-World's meta-learning sets ML1, ML10 and ML45: a robot arm, and goals that it is not shown."""

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
"""Six numbers for every environment, as many as the largest one takes."""


class Draws:
    """Takes the place of an environment's generator: gives a task's own numbers first, then more that follow from them.

    Environments draw again while goal and object are too close. With Meta-World's own frozen numbers that never ends.
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
    """An environment of Meta-World with one place of object and goal."""

    source: ClassVar[str] = "Yu et al., Meta-World, CoRL 2019, github.com/Farama-Foundation/Metaworld (V3 environments)"
    requires: ClassVar[str] = "metaworld"
    shows_task: ClassVar[bool] = True

    @abstractmethod
    def environment(self, task: dict[str, Any]) -> str:
        """Return the name of the task's environment."""

    def make(self, task: dict[str, Any], render_mode: str | None) -> Any:
        """Return the environment of one task, its object and goal placed for good and the goal hidden."""
        known = required_package(type(self)).ALL_V3_ENVIRONMENTS
        env = known[self.environment(task)](render_mode=render_mode)
        env.max_path_length = self.horizon
        env._set_task_called = True
        env._freeze_rand_vec, env.seeded_rand_vec = False, True
        env.np_random = Draws(np.array(task["place"]))
        env.reset_model()
        env._freeze_rand_vec = True
        low, high = env.observation_space.low.copy(), env.observation_space.high.copy()
        low[-3:], high[-3:] = -1.0, 1.0  # Gymnasium warns of a space without width, which is what the hidden goal's is
        env.observation_space = spaces.Box(low, high, dtype=np.float64)
        return env


@register("metaworld-ml1")
@dataclass(frozen=True)
class MetaWorldML1(MetaWorld):
    """One task of Meta-World with a hidden goal.

    | observation | meaning | unit |
    |---|---|---|
    | 0-2 | position x, y, z of the hand | m |
    | 3 | opening of the gripper | 0 closed, 1 open |
    | 4-17 | position and quaternion of up to two objects, 0 where there is none | m |
    | 18-35 | the same, one step before | |
    | 36-38 | position of the goal, hidden: always 0 | |

    | action | meaning | range |
    |---|---|---|
    | 0-2 | move of the hand along x, y, z | -1 to 1, in cm a step |
    | 3 | effort of the fingers | -1 to 1 |

    Reward: Meta-World's own (version 2), 0 to 10 a step. An episode is a success if any of its steps is. Never
    terminates, on success neither. Every episode of a task begins alike: nothing is random in it.
    Task: `place`, six numbers uniform on (0, 1): where in the environment's range the object and the goal are, the
    first three alone where an environment takes three. Objects are seen, so the observation tells that part of the task.
    Presets: `reach`, `push`, `pick-place`; `task_name` takes any of the 50 environments. Needs
    `pip install metaworld`.

    Departures from Meta-World: training draws new places without end instead of 50 fixed ones, and train, validation
    and test never share a place; a place too close for the environment is drawn again from numbers that follow from
    the task's own. The task is what its parameters say: seeds, resets and pickling do not change it.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        name: {"task_name": f"{name}-v3"} for name in ("reach", "push", "pick-place")
    }
    task_name: str = "reach-v3"
    horizon: Horizon = 500

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The place of object and goal."""
        return {"place": PLACE}

    def environment(self, task: dict[str, Any]) -> str:
        """Return the setting `task_name`. Raises MetarlError where Meta-World has no such environment."""
        known = required_package(type(self)).ALL_V3_ENVIRONMENTS
        if self.task_name not in known:
            raise MetarlError(f"task_name {self.task_name!r} is unknown; {did_you_mean(self.task_name, known)}")
        return self.task_name


class MetaWorldSet(MetaWorld):
    """A set of Meta-World's environments, some for training and five that are held out."""

    num_train: ClassVar[int]
    """Environments to train on."""

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The environment's number, and the place of object and goal in it."""
        numbers = tuple(float(number) for number in range(self.num_train + 5))
        train, held_out = Choice(numbers[: self.num_train]), Choice(numbers[self.num_train :])
        return {"environment": Parameter(train, held_out, meaning="number in `environments`"), "place": PLACE}

    @property
    def environments(self) -> tuple[str, ...]:
        """Names of the environments by number: those to train on, then those held out."""
        sets = getattr(required_package(type(self)).env_dict, f"ML{self.num_train}_V3")
        return (*sets["train"], *sets["test"])

    def environment(self, task: dict[str, Any]) -> str:
        """Return the environment of the task's number. Raises MetarlError where there is none."""
        names = self.environments
        if task["environment"] not in range(len(names)):
            raise MetarlError(
                f"environment is {task['environment']:g}; it must be a whole number from 0 to {len(names) - 1}"
            )
        return names[int(task["environment"])]


@register("metaworld-ml10")
@dataclass(frozen=True)
class MetaWorldML10(MetaWorldSet):
    """Ten tasks of Meta-World to train on and five that are held out.

    Observation, action, reward and success as in `metaworld-ml1`.
    Task: `environment`, the number of one of ten environments, each as likely, and `place`, as in `metaworld-ml1`.
    Extrapolation: the five environments held out, numbers 10 to 14, which is what Meta-World calls its test tasks;
    validation and test are unseen places in the ten. `environments` lists their names by number.
    """

    num_train: ClassVar[int] = 10
    horizon: Horizon = 500


@register("metaworld-ml45")
@dataclass(frozen=True)
class MetaWorldML45(MetaWorldSet):
    """Forty-five tasks of Meta-World to train on and five that are held out.

    Observation, action, reward and success as in `metaworld-ml1`.
    Task: `environment`, the number of one of 45 environments, each as likely, and `place`, as in `metaworld-ml1`.
    Extrapolation: the five environments held out, numbers 45 to 49; validation and test are unseen places in the 45.
    """

    num_train: ClassVar[int] = 45
    horizon: Horizon = 500
