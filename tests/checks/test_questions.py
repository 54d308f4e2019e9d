"""The rule of answers: agents whose answers lean on other questions are found out."""

from __future__ import annotations

import numpy as np

from metarl.base.streams import Streams
from metarl.checks.check import check_agent, check_family
from metarl.checks.questions import Guess, Sort
from metarl.families.load import load
from metarl.trials.agent import Agent, AnsweringLearner
from metarl.trials.episodes import Episodes


class Mean(Agent):
    """Answers with the mean right answer of the round before."""

    def begin(self, streams: Streams) -> AnsweringLearner:
        return self.learner(streams)  # type: ignore[no-any-return, attr-defined]


class Honest(AnsweringLearner):
    def __init__(self, streams: Streams) -> None:
        self.shape, self.mean = streams.shape, np.zeros((streams.shape[0], 1, 1), dtype=np.float32)

    def adapt(self, episodes: Episodes) -> None:
        assert episodes.targets is not None
        self.mean = episodes.targets.mean(axis=(0, 2), keepdims=True)[0].astype(np.float32)

    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        return np.zeros((*observations.shape[:-1], 1), dtype=np.float32) + self.mean


class LeansOnOthers(Honest):
    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        centred = observations - observations.mean(axis=0)
        return centred[..., :1] + self.mean


class LeansOnOrder(Honest):
    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        return np.clip(np.cumsum(observations, axis=0)[..., :1], -1.0, 1.0) + self.mean


def findings(learner: type[AnsweringLearner]) -> str:
    return "\n".join(check_agent(type("Checked", (Mean,), {"learner": staticmethod(learner)}), [Guess()]))


def test_a_statistic_of_the_questions_is_found() -> None:
    assert not findings(Honest)
    assert "a question alone gets another answer" in findings(LeansOnOthers)
    assert "questions in another order get other answers" in findings(LeansOnOrder)


def test_the_families_of_the_check_and_the_sinusoids_keep_the_rules_of_families() -> None:
    for family in (Guess(), Sort(), load("sinusoid")):
        assert check_family(family) == []
