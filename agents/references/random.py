"""The agent that acts at random: the floor of every comparison."""

from __future__ import annotations

import numpy as np

from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.families.spaces import ActionSpace, draw_actions, require_actions
from metarl.trials.agent import Agent, Learner, NoSettings
from metarl.trials.episodes import TimeStep
from metarl.trials.registered import register_agent


@register_agent("random")
class RandomAgent(Agent):
    """Acts uniformly over a bounded action space, and never adapts."""

    def __init__(self, config: NoSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        require_actions(family.name, family.action_space)
        self.action_space = family.action_space

    def begin(self, streams: Streams) -> RandomLearner:
        """Return a learner that draws its actions from `streams`."""
        return RandomLearner(self.action_space, streams)


class RandomLearner(Learner):
    """Draws every action from its world's own stream."""

    def __init__(self, action_space: ActionSpace, streams: Streams) -> None:
        self.action_space, self.streams = action_space, streams

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return uniform actions, [task, replica, *action], also with `deterministic`: no action is more likely."""
        return draw_actions(self.action_space, self.streams.where(timestep.active))
