"""Prototypes of character 3-grams."""

from __future__ import annotations

import math

import numpy as np
import pytest
from metarl.agents.references.ngrams import NgramLearner, count_pieces

from metarl.base.errors import MetarlError
from metarl.evaluation.evaluate import evaluate
from metarl.families.load import load
from metarl.trials.episodes import Episodes
from metarl.trials.registered import make_agent


def tokens(*texts: str) -> np.ndarray:
    """Return texts as questions of one world, [question, 1, 1, 12]."""
    rows = [list(text.encode().ljust(12, b"\0")) for text in texts]
    return np.array(rows, dtype=np.int16)[:, None, None]


def examples(texts: list[str], labels: list[int]) -> Episodes:
    shape = (len(texts), 1, 1)
    zeros, never = np.zeros(shape), np.zeros(shape, dtype=bool)
    return Episodes(
        observations=tokens(*texts),
        actions=zeros.astype(np.int64),
        rewards=zeros,
        terminations=never,
        truncations=never,
        mask=np.ones(shape, dtype=bool),
        final_observations=tokens(texts[-1])[0],
        successes=None,
        targets=np.array(labels)[:, None, None],
    )


def test_pieces_are_of_characters_with_a_space_at_both_ends() -> None:
    assert count_pieces(tokens("ÇaÇa")[0, 0, 0]) == {" Ça": 1, "ÇaÇ": 1, "aÇa": 1, "Ça ": 1}
    assert count_pieces(tokens("")[0, 0, 0]) == {}


def test_the_nearest_prototype_by_cosine_is_the_answer() -> None:
    learner = NgramLearner(3, (1, 1))
    learner.adapt(examples(["abcd", "bcde", "wxyz"], [2, 2, 1]))
    total = learner.sums[0, 0][2]
    # Of "abcd": " ab", "abc", "bcd", "cd "; of "bcde": " bc", "bcd", "cde", "de ". Both have length 2.
    assert total["bcd"] == pytest.approx(1.0) and total["abc"] == pytest.approx(0.5)
    assert math.hypot(*total.values()) == pytest.approx(math.sqrt(1 + 6 / 4))
    answers = learner.answer(tokens("abcd", "xyz", "nothing"), deterministic=True)
    assert answers[:, 0, 0].tolist() == [2, 1, 0]


def test_many_examples_that_share_a_little_do_not_outweigh_one_that_shares_all() -> None:
    learner = NgramLearner(2, (1, 1))
    learner.adapt(examples(["abcd", *(f"ab{letter}{letter}" for letter in "vwxyz")], [1, 0, 0, 0, 0, 0]))
    assert learner.answer(tokens("abcd"), deterministic=True).item() == 1


def test_counting_letters_tells_languages_apart_better_with_more_examples() -> None:
    means = []
    for preset in ("5-way-1-shot", "5-way-5-shot"):
        family = load("text-classes", preset)
        means.append(evaluate(make_agent("3-gram", family), family, num_tasks=100, rounds=2).mean[1])
    assert means == pytest.approx([0.305, 0.435], abs=0.03)


def test_a_family_that_hides_its_labels_is_refused() -> None:
    family = load("text-classes", reveal="never")
    with pytest.raises(
        MetarlError, match=r"'3-gram' learns from labels, and family.reveal is 'never'; set it to round"
    ):
        make_agent("3-gram", family)
