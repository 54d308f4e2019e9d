"""The agent that copies."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.families.spaces import Tokens
from metarl.trials.registered import make_agent
from tests.families.asked import Lines


def sequences(asked: Tokens, answered: Tokens) -> TaskFamily:
    """Return a family with these spaces; it is not played."""

    @dataclasses.dataclass(frozen=True)
    class Sequences(Lines):
        observation_space = asked
        action_space = answered

    return Sequences()


def test_an_answer_is_its_question_cut_or_filled_to_its_length() -> None:
    questions = np.array([[[[3, 4, 5, 0]]], [[[1, 0, 0, 0]]]])
    for length, expected in ((2, [[3, 4], [1, 0]]), (6, [[3, 4, 5, 0, 0, 0], [1, 0, 0, 0, 0, 0]])):
        agent = make_agent("copy", sequences(Tokens(4, 9), Tokens(length, 9)))
        learner = agent.begin(Streams.of(0, np.zeros((1, 1), dtype=np.int64)))
        answers = learner.answer(questions, deterministic=True)  # type: ignore[attr-defined]
        assert answers[:, 0, 0].tolist() == expected


@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("sinusoid", "agent 'copy' answers tokens with themselves, and family 'sinusoid' has observations Box"),
        ("text-classes", "agent 'copy' answers tokens with themselves, and family 'text-classes'"),
        (sequences(Tokens(4, 9), Tokens(4, 8)), "needs one vocabulary, .* have 9 and 8 tokens"),
    ],
    ids=["numbers", "labels", "vocabularies"],
)
def test_families_whose_questions_are_no_answers_are_refused(family: TaskFamily | str, words: str) -> None:
    with pytest.raises(MetarlError, match=words):
        make_agent("copy", load(family) if isinstance(family, str) else family)
