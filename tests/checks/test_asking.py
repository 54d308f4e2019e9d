"""Families whose splits share classes, whose labels stay, or whose questions follow from answers are found out."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
from gymnasium import spaces

from metarl.base.streams import Streams
from metarl.checks.check import check_family
from metarl.families.batch import State
from metarl.families.distributions import Choice, Subset
from metarl.families.question_batch import Questions
from metarl.families.questions import QuestionFamily
from metarl.families.task import Parameter, Values


def numbers(low: int, high: int) -> Subset:
    return Subset(tuple(map(float, range(low, high))), 3)


@dataclass(frozen=True)
class Numbers(QuestionFamily):
    """Tell three numbers apart."""

    name = "numbers"
    shows_task = True
    parameters = {"classes": Parameter(numbers(0, 9), None, "", "", numbers(9, 12), numbers(12, 16))}
    observation_space = spaces.Box(0.0, 20.0, (1,), np.float32)
    action_space = spaces.Discrete(3)

    def num_questions(self, number: int) -> int:
        return 6

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        labels = streams.integers(3, (6,))
        shown = np.take_along_axis(task["classes"], labels, axis=1)
        return Questions(shown[..., None].astype(np.float32), labels)

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return (answers == targets).astype(np.float64)


def with_parameter(parameter: Parameter) -> QuestionFamily:
    cls = type("Other", (Numbers,), {"parameters": {"classes": parameter}})
    return dataclass(frozen=True)(cls)()  # type: ignore[no-any-return]


def test_a_family_that_deals_labels_anew_and_shares_no_class_keeps_every_rule() -> None:
    assert check_family(Numbers()) == []


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_class_in_two_splits_is_found(split: str) -> None:
    shared = dataclasses.replace(Numbers.parameters["classes"], **{split: numbers(8, 12)})
    assert any(
        f"'train' and '{split}' share values of parameter 'classes', such as (8.0,)" in finding
        for finding in check_family(with_parameter(shared))
    )


def test_a_drawn_value_in_two_splits_is_found() -> None:
    pairs = Parameter(Choice(((0.0, 1.0, 2.0), (2.0, 1.0, 0.0))), test=Choice(((2.0, 1.0, 0.0), (3.0, 4.0, 5.0))))
    assert any(
        "'train' and 'test' share values of parameter 'classes', such as (2.0, 1.0, 0.0)" in finding
        for finding in check_family(with_parameter(pairs))
    )


class Ascending(Subset):
    def sample(self, streams: Streams) -> np.ndarray:
        return np.sort(super().sample(streams))


def test_classes_in_one_order_are_found() -> None:
    ascending = Ascending(numbers(0, 9).values, 3)
    found = check_family(with_parameter(dataclasses.replace(Numbers.parameters["classes"], train=ascending)))
    assert any("parameter 'classes' has its values in one order in every task" in finding for finding in found)


@dataclass(frozen=True)
class Sorts(Numbers):
    """Labels the numbers by size, whatever the task says."""

    name = "sorts"

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        return super().ask({"classes": np.sort(task["classes"], axis=1)}, trial, number, streams)


def test_labels_that_stay_with_their_classes_are_found() -> None:
    assert any("the same targets when the values of 'classes' change places" in each for each in check_family(Sorts()))


@dataclass(frozen=True)
class Follows(Numbers):
    """Asks what follows from the answer before."""

    name = "follows"
    answers: tuple[int, ...] = (0,)

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        asked = super().ask(task, trial, number, streams)
        return asked._replace(observations=asked.observations + self.answers[0])

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        object.__setattr__(self, "answers", (int(np.max(answers)),))
        return super().score(answers, targets)


def test_questions_that_follow_from_answers_are_found() -> None:
    assert any("other answers give other questions" in finding for finding in check_family(Follows()))
