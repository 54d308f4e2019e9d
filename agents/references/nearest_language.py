"""The agent that takes the translations of a related language: what looking up alone can tell of a new one."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.trials.agent import Agent, AnsweringLearner, NoSettings
from metarl.trials.episodes import Episodes
from metarl.trials.registered import register_agent
from metarl.trials.shown import reveals_targets

from ..sequences.related import Related
from .common import require_family


@register_agent("nearest-language")
class NearestLanguage(Agent):
    """Translates as the training languages do whose translations of the pairs so far are most like the right ones."""

    plays: ClassVar[tuple[str, ...]] = ("phrases",)

    def __init__(self, config: NoSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        if not reveals_targets(require_family(type(self), family)):
            raise MetarlError(
                "agent 'nearest-language' learns from translations, and family.reveal is 'never'; set it to round"
            )
        self.related = Related("agent 'nearest-language'", family, count=1)

    def begin(self, streams: Streams) -> NearestLanguageLearner:
        """Return a learner that has seen no pair, and copies."""
        return NearestLanguageLearner(self.related)


class NearestLanguageLearner(AnsweringLearner):
    """The pairs that were shown."""

    def __init__(self, related: Related) -> None:
        self.related, self.shown = related, list[Episodes]()

    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Return the translation by the nearest language that has the phrase; the phrase where none has it."""
        found = self.related.widen(observations, self.shown)[..., observations.shape[-1] :]
        return np.where((found != 0).any(axis=-1, keepdims=True), found, observations)

    def adapt(self, episodes: Episodes) -> None:
        """Keep the pairs of a round: languages are ordered by all so far."""
        self.shown.append(episodes)
