"""The learner of RL^2: a memory at play."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from metarl.base.streams import Streams
from metarl.base.threads import acting
from metarl.trials.agent import Learner
from metarl.trials.episodes import Episodes, TimeStep
from metarl.trials.export import ExportedStep

from .exported import exported_step

if TYPE_CHECKING:
    from .agent import RL2


class RL2Learner(Learner):
    """One memory for each replica of each task, kept through all rounds of a trial."""

    def __init__(self, agent: RL2, streams: Streams) -> None:
        self.agent, self.streams = agent, streams
        self.state = agent.network.memory.initial_state(int(np.prod(streams.shape)))
        self.begun = False

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Advance the memory where the world is active, and return actions [task, replica, *action]."""
        agent, shape = self.agent, self.streams.shape
        with acting(), agent.exchanging():
            inputs = agent.inputs(timestep, np.full(shape, not self.begun))
            self.begun = True
            # Held still where the episode is over: a memory that ran on would tell of the neighbours' longer episodes.
            moving = torch.as_tensor(timestep.active.reshape(-1), device=agent.device)
            encoded = agent.network.encode(inputs).flatten(0, 1)
            features, self.state = agent.network.memory.step(encoded, self.state, moving)
            outputs = agent.network.actions(features).unflatten(0, shape)
            if agent.answers is not None:
                self.confidences = agent.answers.confidence(outputs)
                return agent.answers.best(outputs)
            self.outputs = outputs.cpu().numpy()
            if deterministic:
                return agent.head.mode(outputs)
            return agent.head.sample(outputs, self.streams.where(timestep.active))

    def adapt(self, episodes: Episodes) -> None:
        """Keep the memory, which holds what was learned."""

    def exported_step(self) -> ExportedStep:
        """Return the step with the memory as an input. Raises MetarlError unless that is a GRU, an LSTM or none."""
        return exported_step(self.agent.network, self.agent.inputs, self.agent.config)
