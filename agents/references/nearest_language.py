"""The agent that takes the translations of a related language: what looking up alone can tell of a new one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Protocol, cast

import numpy as np

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.trials.agent import Agent, AnsweringLearner, NoSettings
from metarl.trials.episodes import Episodes
from metarl.trials.registered import register_agent

from .common import require_family

Dictionary = Mapping[bytes, np.ndarray]
"""The translation of each phrase that a language has, as tokens [length]."""


class Phrases(Protocol):
    """Pairs of phrases by language, as tokens, those of a language behind each other; see the family."""

    @property
    def shared(self) -> Mapping[str, Sequence[int]]:
        """Places of the languages of each split."""
        ...

    @property
    def firsts(self) -> np.ndarray:
        """Place of each language's first pair, int64 [language]."""
        ...

    @property
    def counts(self) -> np.ndarray:
        """Pairs of each language, int64 [language]."""
        ...

    @property
    def sources(self) -> np.ndarray:
        """Tokens of what is asked, zeros behind them. [pair, length]"""
        ...

    @property
    def targets(self) -> np.ndarray:
        """Tokens of the right translation, zeros behind them. [pair, length]"""
        ...


class PhraseFamily(Protocol):
    """What the agent needs of `phrases`."""

    @property
    def pairs(self) -> Phrases:
        """The pairs of all languages."""
        ...

    @property
    def reveal(self) -> str:
        """When right translations are shown."""
        ...

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the chrF of answers, from 0 to 1."""
        ...


@register_agent("nearest-language")
class NearestLanguage(Agent):
    """Translates as the training languages do whose translations of the pairs so far are most like the right ones."""

    plays: ClassVar[tuple[str, ...]] = ("phrases",)
    pools_replicas = False

    def __init__(self, config: NoSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        self.family = cast(PhraseFamily, require_family(type(self), family))
        if self.family.reveal == "never":
            raise MetarlError(
                "agent 'nearest-language' learns from translations, and family.reveal is 'never'; set it to round"
            )
        self.dictionaries = dictionaries(self.family.pairs)

    def begin(self, streams: Streams) -> NearestLanguageLearner:
        """Return a learner that has seen no pair, and copies."""
        return NearestLanguageLearner(self, streams.shape)


class NearestLanguageLearner(AnsweringLearner):
    """Training languages of each task, the most similar first."""

    def __init__(self, agent: NearestLanguage, shape: tuple[int, ...]) -> None:
        self.agent = agent
        worlds = list(np.ndindex(shape))
        self.seen: dict[tuple[int, ...], list[tuple[np.ndarray, np.ndarray]]] = {world: [] for world in worlds}
        """Pairs by task and replica."""
        self.nearest: dict[tuple[int, ...], list[Dictionary]] = {world: [] for world in worlds}
        """Languages that are nearer than English, by task and replica."""

    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Return the translation by the nearest language that has the phrase; the phrase where none has it."""
        answers = observations.copy()
        for at in np.ndindex(observations.shape[:3]):
            phrase = observations[at]
            answers[at] = next(translations(self.nearest[at[1:]], phrase), phrase)
        return answers

    def adapt(self, episodes: Episodes) -> None:
        """Order the languages anew by all pairs so far."""
        assert episodes.targets is not None  # the agent plays no family that hides them
        for at in np.argwhere(episodes.mask):
            place = tuple(at.tolist())
            self.seen[place[1:]].append((episodes.observations[place], episodes.targets[place]))
        self.nearest = {world: self._order(pairs) for world, pairs in self.seen.items()}

    def _order(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Dictionary]:
        """Return the languages whose translations are more like the right ones than the phrases themselves are.

        A language that lacks a phrase is taken to copy it. Of equals the first in the order of codes comes first.
        """
        if not pairs:
            return []
        asked, right = (np.stack(side) for side in zip(*pairs, strict=True))

        def likeness(answers: np.ndarray) -> float:
            return float(self.agent.family.score(answers, right).mean())

        found = []
        for each in self.agent.dictionaries:
            found.append(likeness(np.stack([next(translations([each], phrase), phrase) for phrase in asked])))
        floor, order = likeness(asked), np.argsort([-score for score in found], kind="stable")
        return [self.agent.dictionaries[place] for place in order if found[place] > floor]


def translations(languages: Sequence[Dictionary], phrase: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the translations of a phrase, tokens [length], by the languages that have it, in their order."""
    key = phrase.astype(np.int64).tobytes()
    return (language[key] for language in languages if key in language)


def dictionaries(pairs: Phrases) -> list[Dictionary]:
    """Return the dictionary of each training language."""
    found: list[Dictionary] = []
    for language in pairs.shared["train"]:
        rows = slice(pairs.firsts[language], pairs.firsts[language] + pairs.counts[language])
        keys = (source.tobytes() for source in pairs.sources[rows].astype(np.int64))
        found.append(dict(zip(keys, pairs.targets[rows], strict=True)))
    return found
