"""An explanation as tables that a person reads, in the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..base.terminal import one_line
from ..base.text import align_columns, decimals_for, interval_text, number_text, with_noun
from ..evaluation.deletion import Deletion, total_influence
from ..evaluation.explanation import Explanation
from .escape import markdown_text

MOST_EXAMPLES = 3
"""Most examples of an answer in each direction."""
MOST_RANKED = 5
"""Most examples in the ranking over all answers."""
_WIDTH = 40
"""Most characters of a cell."""


class _Table(NamedTuple):
    """A table with its title and the notes below it."""

    title: str
    rows: list[tuple[str, ...]]
    notes: list[str]


def explanation_text(explanation: Explanation, deletion: Deletion | None = None, *, answers: int = 5) -> str:
    """Return the tables for a terminal, with the `answers` that the examples moved most."""
    parts = [_headline(explanation)]
    for table in _tables(explanation, deletion, answers):
        parts.append("\n".join([table.title, align_columns(table.rows), *table.notes]))
    return "\n\n".join(parts)


def explanation_markdown(explanation: Explanation, deletion: Deletion | None = None, *, answers: int = 5) -> str:
    """Return the same tables as a page of Markdown."""
    parts = [f"# {markdown_text(_headline(explanation))}"]
    for title, (head, *rows), notes in _tables(explanation, deletion, answers):
        lines = [_line(head), _line(["---"] * len(head), escape=False), *map(_line, rows)]
        parts += [f"## {markdown_text(title)}", "\n".join(lines), *map(markdown_text, notes)]
    return "\n\n".join(parts) + "\n"


def _line(cells: Sequence[str], *, escape: bool = True) -> str:
    return f"| {' | '.join(markdown_text(cell) if escape else cell for cell in cells)} |"


def _headline(explanation: Explanation) -> str:
    examples, answers = len(explanation.examples), len(explanation.answers)
    return (
        f"{explanation.agent.name} on {explanation.family}, {explanation.plan.split} task {explanation.number}: "
        f"{with_noun(answers, 'answer')} after {with_noun(examples, 'example')}"
    )


def _tables(explanation: Explanation, deletion: Deletion | None, answers: int) -> list[_Table]:
    found = [_moved(explanation, answers), _ranking(explanation)]
    return found if deletion is None else [*found, _curve(deletion, explanation)]


def most_moved(explanation: Explanation, answers: int) -> np.ndarray:
    """Return the places of the answers that the examples moved most, the first first."""
    return np.argsort(-np.abs(explanation.influence).mean(axis=0), kind="stable")[:answers]


def movers(influence: np.ndarray) -> list[int]:
    """Return the examples that moved one answer most, [example]: first those that moved it up, then down."""
    order = np.argsort(-influence, kind="stable")
    up = [int(each) for each in order[:MOST_EXAMPLES] if influence[each] > 0]
    return up + [int(each) for each in order[::-1][:MOST_EXAMPLES] if influence[each] < 0]


def example_words(explanation: Explanation, number: int) -> str:
    """Return an example with its right answer."""
    question, right, *_ = explanation.examples[number]
    return f"{_cell(question)}: {_cell(right)}"


def _cell(text: str) -> str:
    return one_line(text, _WIDTH)


def _signed(value: float, decimals: int) -> str:
    return f"{value:+z,.{decimals}f}"


def _moved(explanation: Explanation, answers: int) -> _Table:
    influence, decimals = explanation.influence, max(2, decimals_for(explanation.influence))
    rows: list[tuple[str, ...]] = [("asked", "answer", "right", "by", "example")]
    for query in most_moved(explanation, answers):
        answer = explanation.answers[query]
        sure = "" if answer.confidence is None else f" ({answer.confidence:.0%})"
        lead = (_cell(answer.asked.question), f"{_cell(answer.answer)}{sure}", _cell(answer.asked.right))
        by = [
            (_signed(influence[each, query], decimals), example_words(explanation, each))
            for each in movers(influence[:, query])
        ]
        for cells in by or [("", "no example moves it")]:
            rows.append((*lead, *cells))
            lead = ("", "", "")
    note = (
        "by: the confidence in the answer, minus that with which it is given without the example; 0 for another answer"
        if explanation.classes
        else "by: the answer, minus the answer without the example"
    )
    return _Table("Answers that the examples moved most", rows, [note])


def _ranking(explanation: Explanation) -> _Table:
    totals = total_influence(explanation.influence)
    decimals = max(2, decimals_for(totals))
    rows: list[tuple[str, ...]] = [("example", "moves an answer by")]
    for each in np.argsort(-totals, kind="stable")[:MOST_RANKED]:
        rows.append((example_words(explanation, int(each)), number_text(totals[each], decimals)))
    return _Table("Examples that moved the answers most", rows, ["mean absolute change over all answers"])


def _curve(deletion: Deletion, explanation: Explanation) -> _Table:
    decimals = max(2, decimals_for(np.concatenate([deletion.targeted.ravel(), deletion.random.ravel()])))

    def told(value: float) -> str:
        return number_text(value, decimals)

    rows: list[tuple[str, ...]] = [("deleted", "most influential", "random", "difference", "95 % interval")]
    random = deletion.random.mean(axis=(0, 1))
    columns = zip(deletion.sizes, deletion.targeted.mean(axis=0), random, deletion.fidelity, strict=True)
    for (size, top, chance, gap), ends in zip(columns, deletion.interval, strict=True):
        rows.append((str(size), told(top), told(chance), told(gap), interval_text(ends, told)))
    over = with_noun(deletion.num_tasks, "task") if deletion.num_tasks > 1 else f"task {explanation.number} alone"
    draws = with_noun(deletion.random.shape[1], "random draw")
    notes = [f"mean absolute change of the answers; {over}, {draws} in each"]
    if deletion.area is not None:
        mean, *ends = deletion.area
        several = deletion.sizes[deletion.scored]
        span = f"{several[0]} to {several[-1]}" if len(several) > 1 else str(several[0])
        notes.append(
            f"deletion fidelity, the mean difference for {span} deleted: {told(mean)} {interval_text(ends, told)}"
        )
    return _Table("Deletion of the most influential examples, beside random ones", rows, notes)
