"""PPO of stable-baselines3 that sees the task: one policy that has nothing to find out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
from gymnasium import spaces

from metarl.base.errors import MetarlError
from metarl.base.settings import Settings
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.families.spaces import shape_of
from metarl.families.switching import SwitchingFamily
from metarl.families.task import Tasks
from metarl.trials.agent import Learner, Oracle, TrainableAgent
from metarl.trials.episodes import Episodes, TimeStep, Trial
from metarl.trials.registered import register_agent

from ..common.state import StateDict
from ..common.task_numbers import TaskNumbers
from .common import flatten_box, plain_actions
from .ppo import SB3PPO, SB3Learner, SB3PPOConfig, SB3PPOSettings


@dataclass(frozen=True)
class TaskView:
    """Observations of a family, each followed by the task's parameters as `TaskNumbers` scales them."""

    family: TaskFamily
    """The family whose tasks are shown."""

    @cached_property
    def _numbers(self) -> TaskNumbers:
        return TaskNumbers(self.family)

    @property
    def observation_space(self) -> spaces.Box:
        """Space of a flat observation followed by the task's numbers."""
        seen = flatten_box(self.family.observation_space)
        open_ended = np.full(len(self._numbers), np.inf, dtype=np.float32)
        low, high = (bound.astype(np.float32) for bound in (seen.low, seen.high))
        return spaces.Box(np.concatenate([low, -open_ended]), np.concatenate([high, open_ended]), dtype=np.float32)

    @property
    def action_space(self) -> spaces.Box | spaces.Discrete:
        """The family's own."""
        return plain_actions(self.family.action_space)

    def scaled(self, tasks: Tasks) -> np.ndarray:
        """Return the numbers shown of each task, standardised over training tasks, float32 [task, number]."""
        return self._numbers.scaled(tasks).astype(np.float32)

    def append_task(self, observations: np.ndarray, shown: np.ndarray) -> np.ndarray:
        """Return flat observations, each followed by its task's `shown` [task, number], [..., task, replica, d]."""
        lead = observations.ndim - len(shape_of(self.family.observation_space))
        flat = observations.reshape(*observations.shape[:lead], -1).astype(np.float32)
        behind = np.broadcast_to(shown[:, None], (*flat.shape[:-1], shown.shape[-1]))
        return np.concatenate([flat, behind], axis=-1)

    def episodes(self, episodes: Episodes, shown: np.ndarray) -> Episodes:
        """Return the episodes with each observation followed by its task's `shown` [task, number]."""
        return replace(
            episodes,
            observations=self.append_task(episodes.observations, shown),
            final_observations=self.append_task(episodes.final_observations, shown),
        )


@register_agent("sb3-ppo-oracle")
class SB3PPOOracle(Oracle, TrainableAgent):
    """Sees the task with each observation, in training too: stable-baselines3's PPO with nothing to find out.

    It does what `sb3-ppo` could do if adaptation were perfect and free: a ceiling for such agents, as high as its own
    training took it.
    """

    Config: ClassVar[type[Settings]] = SB3PPOSettings
    pools_replicas = False

    def __init__(self, config: SB3PPOSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        if isinstance(family, SwitchingFamily):
            raise MetarlError(
                "sb3-ppo-oracle would see all tasks of a trial but not which one is in force; leave switch_at out"
            )
        self.view = TaskView(family)
        self.ppo = SB3PPO(SB3PPOConfig(**config.model_dump()), self.view, seed=seed, device=device)

    def begin_knowing(self, tasks: Tasks, streams: Streams) -> OracleLearner:
        """Return a learner that plays the policy and sees `tasks`."""
        return OracleLearner(self.view, self.view.scaled(tasks), self.ppo.begin(streams))

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make the update of `sb3-ppo`, with the task after each observation."""
        shown = self.view.scaled(trial.tasks)
        rounds = tuple(self.view.episodes(episodes, shown) for episodes in trial.rounds)
        return self.ppo.update(replace(trial, rounds=rounds), rng)

    def state_dict(self) -> StateDict:
        """Return parameters and optimiser state."""
        return self.ppo.state_dict()

    def load_state_dict(self, state: StateDict) -> None:
        """Restore a state. Raises MetarlError where names or shapes differ."""
        self.ppo.load_state_dict(state)


class OracleLearner(Learner):
    """Hands each observation to another learner, followed by its task."""

    def __init__(self, view: TaskView, shown: np.ndarray, learner: SB3Learner) -> None:
        self.view, self.shown, self.learner = view, shown, learner

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return actions [task, replica, *action]."""
        seen = self.view.append_task(timestep.observations, self.shown)
        return self.learner.act(replace(timestep, observations=seen), deterministic=deterministic)
