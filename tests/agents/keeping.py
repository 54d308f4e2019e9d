"""An agent whose learner a test can look into."""

from __future__ import annotations

from metarl.base.streams import Streams
from metarl.trials.agent import Agent, Learner


class Keeping(Agent):
    """Begins as another agent does, and keeps the learner."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    def begin(self, streams: Streams) -> Learner:
        self.learner = self.agent.begin(streams)
        return self.learner
