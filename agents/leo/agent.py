"""LEO (Rusu et al., Meta-Learning with Latent Embedding Optimization, ICLR 2019), for right answers and for rewards.

With right answers, head.py decodes a linear head from a code of each output. With rewards, agents/maml/codes.py decodes
a policy from one code, and MAML's rounds, baseline and PPO do the rest.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

import numpy as np

from metarl.base.errors import MetarlError
from metarl.base.settings import Settings
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.trials.agent import Learner, TrainableAgent
from metarl.trials.episodes import Trial
from metarl.trials.registered import register_agent
from metarl.trials.shown import reveals_targets

from ..common.state import StateDict
from ..maml.agent import MAML
from ..supervised.head_agent import HeadAgent
from .config import OF_ANSWERS, LEOConfig
from .head import LatentHead


class LEOFromTargets(HeadAgent):
    """Decodes heads from codes of right answers, and adapts the codes."""

    Config: ClassVar[type[Settings]] = LEOConfig
    title = "leo"
    takes_boxes = True

    def make_head(self, size: int) -> LatentHead:
        """Return the head."""
        assert isinstance(self.config, LEOConfig)
        return LatentHead(self.config, self.answers, size)


@register_agent("leo")
class LEO(TrainableAgent):
    """Decodes a head or a policy from a code of what a task has shown, and adapts the code (LEO, Rusu et al., 2019)."""

    Config: ClassVar[type[Settings]] = LEOConfig
    shaped_by: ClassVar[tuple[str, ...]] = ("activation",)
    sums_over_ranks = True

    def __init__(self, config: LEOConfig, family: TaskFamily, *, seed: int, device: str) -> None:
        """Take the world of the settings, or of the family: right answers where it reveals them, else rewards.

        Raises MetarlError for a setting that means nothing for rewards.
        """
        self.world: LEOFromTargets | MAML
        if config.learns_from.name == "targets" or (config.learns_from.name == "auto" and reveals_targets(family)):
            self.world = LEOFromTargets(config, family, seed=seed, device=device)
        else:
            _require_of_rewards(config)
            self.world = MAML(config.of_policy(), family, seed=seed, device=device)
            self.memory_setting = "learns_from={name: rewards, task_chunk_size: ...}"  # type: ignore[misc]
        self.answers_in_training = self.world.answers_in_training
        self.can_be_taught = self.world.can_be_taught

    @property
    def min_rounds(self) -> int:
        """Two rounds: one to encode, and one to measure."""
        return self.world.min_rounds

    def begin(self, streams: Streams) -> Learner:
        """Return a learner whose codes know nothing of their tasks."""
        return self.world.begin(streams)

    def freeze(self, names: Collection[str]) -> None:
        """Keep these parameters as they are in updates. Raises MetarlError for other names."""
        self.world.freeze(names)

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make one meta-update from a trial and return what to log.

        Raises MetarlError for fewer than two rounds, and if a term is not finite. The agent is then unchanged.
        """
        return self.world.update(trial, rng)

    def memory_estimate(self, num_tasks: int, replicas: int, rounds: int) -> int:
        """Return about how many bytes of the machine's memory an update takes."""
        return self.world.memory_estimate(num_tasks, replicas, rounds)

    def state_dict(self) -> StateDict:
        """Return the parameters, the optimiser's state, and what else training has changed."""
        return self.world.state_dict()

    def load_state_dict(self, state: StateDict) -> None:
        """Restore the result of `state_dict`. Raises MetarlError where names or shapes differ."""
        self.world.load_state_dict(state)


def _require_of_rewards(config: LEOConfig) -> None:
    """Raise MetarlError for a setting that counts for right answers alone and is not at its default."""
    for name in OF_ANSWERS:
        if (value := getattr(config, name)) != LEOConfig.model_fields[name].default:
            raise MetarlError(
                f"agent.{name} is {value}, but 'leo' learns from rewards here, which has no use for it; leave it out"
            )
