"""The agent that acts at random: the floor of every comparison."""

from __future__ import annotations

import numpy as np
from gymnasium import spaces

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.trials.agent import Agent, Learner, NoSettings
from metarl.trials.episodes import TimeStep
from metarl.trials.registered import register_agent


@register_agent("random")
class RandomAgent(Agent):
    """Acts uniformly over a bounded action space, and never adapts."""

    def __init__(self, config: NoSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        action_space = family.action_space
        if isinstance(action_space, spaces.Box) and not action_space.is_bounded():
            raise MetarlError(
                f"the random agent needs a bounded action space, not {action_space}; give the family finite bounds"
            )
        self.action_space = action_space

    def begin(self, streams: Streams) -> RandomLearner:
        """Return a learner that draws its actions from `streams`."""
        return RandomLearner(self.action_space, streams)


class RandomLearner(Learner):
    """Draws every action from its world's own stream."""

    def __init__(self, action_space: spaces.Box | spaces.Discrete, streams: Streams) -> None:
        self.action_space, self.streams = action_space, streams

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return uniform actions, [task, replica, *action], also with `deterministic`: no action is more likely."""
        streams, space = self.streams.where(timestep.active), self.action_space
        if isinstance(space, spaces.Discrete):
            return streams.integers(int(space.n)) + space.start
        draws = streams.uniform(space.shape)
        return (space.low + draws * (space.high - space.low)).astype(space.dtype)
