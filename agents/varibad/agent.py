"""VariBAD (Zintgraf et al., ICLR 2020): acts on a belief over tasks, which a variational auto-encoder learns.

An update is that of RL^2, whose memory here ends in a belief: network.py has the belief, elbo.py its loss, lesson.py
brings both together. Policy and belief are trained on the same minibatches of whole trials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from metarl.base.errors import MetarlError
from metarl.base.settings import Settings
from metarl.families.family import TaskFamily
from metarl.trials.episodes import Trial
from metarl.trials.registered import register_agent

from ..common.encoders import ObservationEncoder
from ..rl2.agent import RL2
from ..rl2.lesson import Lesson
from .config import VariBADConfig
from .lesson import BeliefLesson, TransitionReader
from .network import BeliefNetwork

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


@register_agent("varibad")
class VariBAD(RL2):
    """Acts on a belief over tasks, learned by decoding rewards of the whole trial (Zintgraf et al., ICLR 2020)."""

    Config: ClassVar[type[Settings]] = VariBADConfig
    config: VariBADConfig
    network: BeliefNetwork

    draw = 0
    """Names the random numbers of the update that is being made, alike in all processes."""

    def make_network(self, encoder: ObservationEncoder, num_task_numbers: int) -> BeliefNetwork:
        """Return the network around a belief."""
        reader, config = self.inputs, self.config
        self.transitions = TransitionReader(reader, observations=config.belief.decodes == "rewards+observations")
        return BeliefNetwork(
            reader.num_numbers,
            num_task_numbers,
            encoder,
            self.head,
            config,
            observed=torch.cat([reader.observed, torch.arange(encoder.num_encoded) + reader.num_numbers]),
            num_transition=self.transitions.num_inputs,
            num_decoded=self.transitions.num_outcomes,
        )

    def make_lesson(self, family: TaskFamily) -> Lesson:
        """Return the lesson of RL^2, and that of the belief."""
        policy = super().make_lesson(family)
        settings = self.config.belief
        return BeliefLesson(policy, self.network, settings, self.transitions, lambda: self.draw)

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make one meta-update over a batch of whole trials: PPO of the policy, and the bound of the beliefs.

        Raises MetarlError where a gradient is not finite, and leaves the agent as it was.
        """
        self.draw = int(rng.integers(2**62))
        return super().update(trial, rng)

    def memory_estimate(self, num_tasks: int, replicas: int, rounds: int) -> int:
        """Return about how many bytes an update takes: that of RL^2, the transitions, and what is decoded."""
        config, trials, time = self.config, num_tasks * replicas, rounds * self.horizon
        belief, itemsize = config.belief, self.network.policy.weight.element_size()
        prefixes, decoded = (min(count or time, time) for count in (belief.num_prefixes, belief.num_decoded))
        at_once = -(-trials // min(config.ppo.num_minibatches, trials))
        units = 2 * sum(belief.decoder_sizes) + self.transitions.num_outcomes
        held = itemsize * at_once * prefixes * decoded * units
        numbers = self.transitions.num_inputs + self.transitions.num_outcomes + belief.size
        return super().memory_estimate(num_tasks, replicas, rounds) + held + (8 + itemsize) * trials * time * numbers

    def divide(self, mesh: DeviceMesh) -> None:
        """Raise MetarlError: a belief is held whole."""
        raise MetarlError("varibad cannot be divided over processes; leave out parallel")
