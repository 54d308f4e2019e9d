"""PPO of stable-baselines3 that sees the task: one policy that has nothing to find out."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from metarl.base.errors import MetarlError
from metarl.base.settings import Settings
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.families.switching import SwitchingFamily
from metarl.families.task import Tasks
from metarl.trials.agent import Oracle, TrainableAgent
from metarl.trials.episodes import Trial
from metarl.trials.registered import register_agent

from ..common.state import StateDict
from ..common.task_numbers import TaskNumbers
from .ppo import SB3PPO, SB3Learner, SB3PPOConfig, SB3PPOSettings


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
        self.numbers = TaskNumbers(family)
        settings = SB3PPOConfig(**config.model_dump())
        self.ppo = SB3PPO(settings, family, seed=seed, device=device, num_told=len(self.numbers))

    def begin_knowing(self, tasks: Tasks, streams: Streams) -> SB3Learner:
        """Return a learner that plays the policy and sees `tasks`."""
        return self.ppo.begin(streams, self.numbers.scaled(tasks))

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make the update of `sb3-ppo`, with the task beside each observation."""
        return self.ppo.update(trial, rng, self.numbers.scaled(trial.tasks))

    def state_dict(self) -> StateDict:
        """Return parameters and optimiser state."""
        return self.ppo.state_dict()

    def load_state_dict(self, state: StateDict) -> None:
        """Restore a state. Raises MetarlError where names or shapes differ."""
        self.ppo.load_state_dict(state)
