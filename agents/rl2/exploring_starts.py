"""Training trials that begin with exploration, so that the agent learns from states its policy does not reach."""

from __future__ import annotations

import numpy as np

from metarl.base.settings import Count, Fraction, Settings
from metarl.base.streams import Streams
from metarl.trials.agent import Learner
from metarl.trials.episodes import Episodes, TimeStep

from ..common.heads import ActionHead


class ExploringStarts(Settings):
    """How training trials begin: a share of them with exploring steps, which are not learned from.

    After the exploring starts of Sutton and Barto (2018), section 5.3, by actions instead of states: a learner cannot
    be put into a state of knowledge, but can be led there.
    """

    share: Fraction = 0.0
    """Share of the training trials that begin exploring."""
    steps: Count = 50
    """Most exploring steps; their number is drawn uniformly from one to this."""
    noise: Fraction = 0.25
    """Probability that an exploring step takes a uniformly random action instead of the policy's."""


class ExploringLearner(Learner):
    """A learner whose first actions in some trials are replaced by random ones; its memory sees what they lead to."""

    def __init__(self, learner: Learner, head: ActionHead, starts: ExploringStarts, streams: Streams) -> None:
        self.learner, self.head, self.noise, self.streams = learner, head, starts.noise, streams
        chosen, steps = streams.uniform() < starts.share, 1 + streams.integers(starts.steps)
        self.exploring_steps: np.ndarray = np.where(chosen, steps, 0)
        """Steps of each trial that explore. int64 [task, replica]"""
        self.taken = np.zeros(streams.shape, dtype=np.int64)
        """Steps taken so far in each trial. [task, replica]"""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the learner's actions [task, replica, *action], some of those at the start drawn at random."""
        actions = self.learner.act(timestep, deterministic=deterministic)
        exploring = (self.taken < self.exploring_steps) & timestep.active
        self.taken += timestep.active
        if not exploring.any():
            return actions
        # Only who explores uses up numbers: a trial's draws do not depend on how long its neighbours explore.
        streams = self.streams.where(exploring)
        astray = exploring & (streams.uniform() < self.noise)
        drawn = self.head.uniform(streams)
        return np.where(astray.reshape(*astray.shape, *(1,) * (actions.ndim - astray.ndim)), drawn, actions)

    def adapt(self, episodes: Episodes) -> None:
        """Let the learner adapt."""
        self.learner.adapt(episodes)
