"""The agent that answers with the question: the floor of translation between languages of one alphabet."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.families.spaces import Tokens
from metarl.trials.agent import Agent, AnsweringLearner, NoSettings
from metarl.trials.registered import register_agent


@register_agent("copy")
class Copy(Agent):
    """Answers each question, a sequence of tokens, with itself, and never adapts."""

    plays: ClassVar[tuple[str, ...]] = ("scan", "phrases")
    pools_replicas = False

    def __init__(self, config: NoSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        asked, answered = family.observation_space, family.action_space
        if not (isinstance(asked, Tokens) and isinstance(answered, Tokens)):
            raise MetarlError(
                f"agent 'copy' answers tokens with themselves, and family {family.name!r} has observations {asked} and "
                f"actions {answered}; take one of sequences, such as phrases"
            )
        if asked.nvec[0] != answered.nvec[0]:
            raise MetarlError(
                f"agent 'copy' needs one vocabulary, and those of family {family.name!r} have {asked.nvec[0]} and "
                f"{answered.nvec[0]} tokens; take a family whose questions and answers share one"
            )
        self.action_space = answered

    def begin(self, streams: Streams) -> CopyLearner:
        """Return a learner that copies."""
        return CopyLearner(self.action_space)


class CopyLearner(AnsweringLearner):
    """Repeats what it is asked."""

    def __init__(self, action_space: Tokens) -> None:
        self.action_space = action_space

    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Return the questions, cut or filled with zeros to the length of an answer."""
        length = len(self.action_space.nvec)
        answers = np.zeros((*observations.shape[:3], length), dtype=self.action_space.dtype)
        kept = min(length, observations.shape[-1])
        answers[..., :kept] = observations[..., :kept]
        return answers
