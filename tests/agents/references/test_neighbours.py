"""Nearest neighbour on raw inputs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from gymnasium import spaces
from metarl.agents.references.neighbours import Examples, NearestNeighbour, RoundNeighbours

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.checks.check import check_agent
from metarl.checks.questions import Guess, Sort
from metarl.families.batch import State
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.families.question_batch import Questions
from metarl.families.spaces import ActionSpace
from metarl.families.task import Values
from metarl.trials.episodes import Episodes, Trial
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial


def played(family: TaskFamily, rounds: int, replicas: int) -> Trial:
    with contextlib.closing(family.make_vec(family.sample("test", 4, seed=0), replicas)) as envs:
        return run_trial(make_agent("nearest-neighbour", family), envs, rounds, seed=0)


def nearest(seen: Sequence[tuple[np.ndarray, np.ndarray]], question: np.ndarray) -> np.ndarray:
    """Return the answer of the nearest example, one example after the other."""
    best, found = np.inf, np.zeros(0)
    for example, answer in seen:
        distance = float(np.sum((example.astype(np.float64) - question.astype(np.float64)) ** 2))
        if distance < best:
            best, found = distance, answer
    return found


@pytest.mark.parametrize("name", ["numbers", "images"])
def test_answers_are_those_of_the_nearest_of_all_examples_of_the_same_replica(name: str) -> None:
    family = Guess() if name == "numbers" else load("image-classes", ways=3, queries=2)
    trial = played(family, rounds=3, replicas=2)
    for task, replica in np.ndindex(4, 2):
        seen: list[tuple[np.ndarray, np.ndarray]] = []
        for episodes in trial.rounds:
            assert episodes.targets is not None
            world = [each[:, task, replica] for each in (episodes.observations, episodes.actions, episodes.targets)]
            for question, answer, _ in zip(*world, strict=True):
                expected = nearest(seen, question) if seen else np.zeros_like(answer)
                np.testing.assert_array_equal(answer, expected)
            seen += [(question, right) for question, _, right in zip(*world, strict=True)]


def test_where_answers_are_revealed_by_step_each_counts_from_the_next_step_on() -> None:
    trial = played(Sort(), rounds=2, replicas=3)
    for task, replica in np.ndindex(4, 3):
        seen: list[tuple[np.ndarray, np.ndarray]] = []
        for episodes in trial.rounds:
            assert episodes.targets is not None
            for t, question in enumerate(episodes.observations[:, task, replica]):
                assert episodes.actions[t, task, replica] == (nearest(seen, question) if seen else 0)
                seen.append((question, episodes.targets[t, task, replica]))


def learner(numbers: Sequence[float], answers: Sequence[int], asked: Sequence[bool]) -> RoundNeighbours:
    """Return a learner of one world that has seen examples of two numbers, the second of which is zero."""
    agent = make_agent("nearest-neighbour", Classes())
    assert isinstance(agent, NearestNeighbour)
    known = RoundNeighbours(Examples(agent, (1, 1)))
    observations = np.stack([np.asarray(numbers), np.zeros(len(numbers))], axis=-1)[:, None, None]
    mask = np.array(asked)[:, None, None]
    none = np.zeros_like(mask)
    right = np.array(answers)[:, None, None]
    known.adapt(Episodes(observations, right, none * 1.0, none, none, mask, observations[-1], None, targets=right))
    return known


@dataclass(frozen=True)
class Classes(Guess):
    """The checks' questions with five classes, counted from 3."""

    action: ClassVar[ActionSpace] = spaces.Discrete(5, start=3)


def answer(known: RoundNeighbours, number: float) -> int:
    return int(known.answer(np.array([number, 0.0])[None, None, None], deterministic=True).item())


def test_of_equally_near_examples_the_first_counts() -> None:
    known = learner([0.5, -0.5, 0.5], [4, 5, 6], [True, True, True])
    assert [answer(known, number) for number in (0.0, 0.4, -0.4)] == [4, 4, 5]


def test_a_question_that_was_not_asked_is_no_example() -> None:
    known = learner([0.5, -0.5, 0.1], [4, 5, 6], [True, True, False])
    assert [answer(known, number) for number in (0.1, -0.1)] == [4, 5]
    assert answer(learner([0.5], [4], [False]), 0.5) == 3  # the first class, as before any example


@dataclass(frozen=True)
class Mixed(Guess):
    """A picture of one bright pixel, a number and a choice, which a Dict holds; the answer is the choice."""

    action: ClassVar[ActionSpace] = spaces.Discrete(3)

    @property
    def observation_space(self) -> spaces.Dict:  # type: ignore[override]
        picture = spaces.Box(0, 255, (4, 4, 1), np.uint8)
        return spaces.Dict({"choice": spaces.Discrete(3), "number": spaces.Box(-1, 1, (1,)), "picture": picture})

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        size = (self.num_questions(number),)
        choice = streams.integers(3, size)
        flat = np.zeros((*choice.shape, 18))
        flat[..., 0] = choice
        return Questions(flat, choice)

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return (answers == targets).astype(np.float64)


def test_parts_of_an_observation_are_compared_together_and_choices_as_one_hot_vectors() -> None:
    family = Mixed()
    agent = make_agent("nearest-neighbour", family)
    assert isinstance(agent, NearestNeighbour)
    rows = np.zeros((3, 18))
    rows[:, 0] = [0, 2, 0]
    rows[2, 2] = 255
    numbers = agent.numbers(rows)
    squares = ((numbers[0] - numbers[1:]) ** 2).sum(axis=-1)
    assert squares.tolist() == [2.0, 255.0**2]
    first, second = (episodes for episodes in played(family, rounds=2, replicas=1).rounds)
    assert first.targets is not None and second.targets is not None
    shown = (second.targets[:, None] == first.targets[None]).any(axis=1)
    assert 0.5 < shown.mean() < 1
    assert second.rewards[shown].all()


@pytest.mark.parametrize(
    ("family", "settings", "message"),
    [
        ("navigation-2d", {}, "keeps right answers, and family 'navigation-2d' knows none; take one that does"),
        ("sinusoid", {"reveal": "never"}, "family.reveal is 'never'; set it to round"),
        ("text-classes", {}, "measures distances, and the tokens of family 'text-classes' have none; .* 3-gram"),
    ],
    ids=["rewards", "hidden", "tokens"],
)
def test_what_has_no_examples_or_no_distances_is_refused(family: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(MetarlError, match=message):
        make_agent("nearest-neighbour", load(family, **settings))


def test_it_keeps_every_rule_of_agents() -> None:
    assert check_agent("nearest-neighbour", [Guess(), Sort(), Mixed()]) == []
