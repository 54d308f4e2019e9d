"""The tables of an explanation: which answers and examples they name, and by how much."""

from __future__ import annotations

import re

import numpy as np
import pytest

from metarl.evaluation.deletion import Deletion
from metarl.evaluation.explanation import Explanation, Told, ToldAnswer
from metarl.evaluation.record import AgentRecord
from metarl.report.explanation import explanation_markdown, explanation_text, most_moved, movers
from metarl.trials.plan import TrialPlan


def explanation(influence: np.ndarray, *, classes: bool = False, film: str = "film") -> Explanation:
    examples = [Told(f"{film} {n}", f"{n} stars", [n], n) for n in range(len(influence))]
    sure = 0.75 if classes else None
    answers = [ToldAnswer(Told(f"asked {q}", "3 stars", [q], 3), "4 stars", 4, sure) for q in range(influence.shape[1])]
    return Explanation(
        "ratings", {}, AgentRecord("melu"), TrialPlan(), 7, {"user": 3.0}, classes, examples, answers, influence
    )


INFLUENCE = np.array([[0.0, 0.5, 0.0], [0.125, -1.5, 0.0], [0.25, 0.75, 0.0], [-0.0625, 2.0, 0.0]])


def cells(text: str) -> list[list[str]]:
    return [re.split(r" {2,}", line) for line in text.splitlines()]


def test_an_answer_names_those_that_moved_it_up_then_those_that_moved_it_down() -> None:
    assert movers(INFLUENCE[:, 1]) == [3, 2, 0, 1]
    assert movers(INFLUENCE[:, 0]) == [2, 1, 3]
    assert movers(INFLUENCE[:, 2]) == []
    assert movers(np.array([5.0, 4, 3, 2, -1, -2, -3, -4])) == [0, 1, 2, 7, 6, 5]
    assert most_moved(explanation(INFLUENCE), 2).tolist() == [1, 0]


def test_the_table_has_question_answer_right_answer_and_what_moved_it() -> None:
    text = explanation_text(explanation(INFLUENCE))
    assert text.startswith("melu on ratings, test task 7: 3 answers after 4 examples\n")
    assert cells(text)[3:11] == [
        ["asked", "answer", "right", "by", "example"],
        ["asked 1", "4 stars", "3 stars", "+2.000", "film 3: 3 stars"],
        ["", "+0.750", "film 2: 2 stars"],
        ["", "+0.500", "film 0: 0 stars"],
        ["", "-1.500", "film 1: 1 stars"],
        ["asked 0", "4 stars", "3 stars", "+0.250", "film 2: 2 stars"],
        ["", "+0.125", "film 1: 1 stars"],
        ["", "-0.062", "film 3: 3 stars"],
    ]
    assert "no example moves it" in text and "asked 2" not in explanation_text(explanation(INFLUENCE), answers=2)
    assert ["film 3: 3 stars", "0.688"] in cells(text)  # the mean of 0.0625, 2 and 0


def test_classes_say_how_sure_the_learner_was() -> None:
    text = explanation_text(explanation(INFLUENCE, classes=True))
    assert "4 stars (75%)" in text and "by: the confidence in the answer" in text


def test_the_deletion_table_has_the_curve_and_its_score() -> None:
    targeted = np.array([[0.5, 0.75, 1.0], [0.5, 1.25, 1.0]])
    deletion = Deletion(np.array([1, 2, 3]), targeted, np.full((2, 4, 3), 0.25))
    text = explanation_text(explanation(INFLUENCE), deletion)
    assert cells(text)[-5][:4] == ["1", "0.500", "0.250", "0.250"]
    assert cells(text)[-4] == ["2", "1.000", "0.250", "0.750", "[0.500, 1.000]"]
    assert "2 tasks, 4 random draws in each" in text
    assert text.endswith("the mean difference for 2 deleted: 0.750 [0.500, 1.000]")


@pytest.mark.parametrize("film", ["a | b", "<script>", "[x](javascript:y)"])
def test_words_of_a_family_are_words_in_markdown(film: str) -> None:
    page = explanation_markdown(explanation(INFLUENCE, film=film))
    rows = [line for line in page.splitlines() if line.startswith("| asked 1")]
    assert len(rows) == 1 and len(re.findall(r"(?<!\\)\|", rows[0])) == 6
    assert "<script>" not in page and not re.search(r"(?<!\\)\[x", page)
    assert page.startswith("# melu on ratings, test task 7") and "\n| --- | --- | --- | --- | --- |\n" in page
