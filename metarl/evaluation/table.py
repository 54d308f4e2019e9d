"""The table of evaluations for the terminal."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..base.terminal import one_line
from ..base.text import decimals_for, interval_text, number_text, ordinal, with_noun
from .figure import require_evaluations
from .record import Evaluation
from .statistics import iqm

Digits = Callable[[float], str]
"""Writes a number."""


def table(evaluations: Sequence[Evaluation]) -> str:
    """Return the numbers of each evaluation as text. Raises MetarlError without an evaluation."""
    require_evaluations(evaluations)
    return "\n\n".join([*(_block(evaluation) for evaluation in evaluations), *_interval_notes(evaluations)])


def _interval_notes(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return what the intervals are over; nothing where no task is unseen, since each block then says it."""
    unseen = [evaluation for evaluation in evaluations if evaluation.unseen]
    if any(evaluation.agent.trained for evaluation in unseen):
        return ["Intervals are over the tasks of one training run; they say nothing of other training seeds."]
    return ["Intervals are over tasks."] if unseen else []


def _block(evaluation: Evaluation) -> str:
    plan, measure = evaluation.plan, evaluation.measure
    counts = f"{with_noun(plan.num_tasks, 'task')}, {with_noun(plan.replicas, 'replica')}, seed {plan.seed}"
    lines = [one_line(f"{evaluation.label} on {evaluation.title}, {plan.split} split: {counts}")]
    decimals = 2 if measure.percent else decimals_for(evaluation.interval)
    number = functools.partial(number_text, decimals=decimals)
    lines += _aligned(_round_rows(evaluation, number))
    lines += _aligned(_instance_rows(evaluation, number))
    lines += _aligned(_outcome_rows(evaluation))
    if (known := evaluation.calibration) is not None:
        lines.append(
            f"calibration in round {evaluation.rounds}: expected calibration error {100 * known.error:.2f} %; mean "
            f"confidence {100 * known.mean_confidence:.2f} %, right {100 * known.mean_accuracy:.2f} %"
        )
    if plan.budget > 1:
        more = with_noun(plan.budget - 1, "more round")
        lines.append(
            f"budget {plan.budget}: {more} after each but the last; the agent learns from them, and their steps count"
        )
    if evaluation.rounds > 1:
        interval = interval_text(measure.tell(np.array(evaluation.gain.interval)), number)
        change = f"round {evaluation.rounds} minus round 1, paired by task"
        gain = float(measure.tell(np.array(evaluation.gain.iqm)))
        lines.append(f"gain ({change}): {number(gain)}, 95% interval {interval}")
    if evaluation.rounds > 1 and not measure.per_step:
        total = evaluation.totals
        lines.append(f"trial (sum of all rounds): {number(float(iqm(total)))}, mean {number(float(total.mean()))}")
    if not evaluation.unseen:
        different = with_noun(evaluation.num_different_tasks, "different task")
        lines.append(f"not unseen: {different}, met in training; intervals show the chance within episodes alone")
    return "\n".join(lines)


def _round_rows(evaluation: Evaluation, number: Digits) -> list[tuple[str, ...]]:
    """Return the header and a row for each round."""
    measure, rates = evaluation.measure, evaluation.success_rate
    name = one_line(f"{measure.name} (IQM, %)" if measure.percent else f"{measure.name} (IQM)")
    mean = "mean ± 1.96 SE" if measure.per_step else "mean"
    rows = [
        ("round", "env steps by its end", name, "95% interval", mean, *(() if rates is None else ("success rate",)))
    ]
    told = [measure.tell(each) for each in (evaluation.iqm, evaluation.interval, evaluation.mean)]
    for i, (middle, ends, mean_of) in enumerate(zip(*told, strict=True)):
        rate = () if rates is None else (f"{rates[i]:.2f}",)
        half = "none" if evaluation.num_tasks == 1 else number(float(measure.tell(evaluation.mean_margin)[i]))
        margin = f" ± {half}" if measure.per_step else ""
        steps = f"{evaluation.env_steps[i]:,.0f}"
        rows.append(
            (str(i + 1), steps, number(middle), interval_text(ends, number), f"{number(mean_of)}{margin}", *rate)
        )
    return rows


def _instance_rows(evaluation: Evaluation, number: Digits) -> list[tuple[str, ...]]:
    """Return the header and a row for each instance of a class; nothing where no class is shown."""
    measure, found, ends = evaluation.measure, evaluation.by_instance, evaluation.instance_interval
    if found is None or ends is None:
        return []
    name = one_line(f"{measure.name} (mean, %)" if measure.percent else f"{measure.name} (mean)")
    means = measure.tell(found.mean(axis=0))
    return [
        ("instance of a class in round 1", name, "95% interval"),
        *(
            (ordinal(n + 1), number(float(mean)), interval_text(measure.tell(ends[n]), number))
            for n, mean in enumerate(means)
        ),
    ]


def _outcome_rows(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Return the header and a row for each outcome: its means in the rounds, with 1.96 standard errors over tasks."""
    if not evaluation.outcomes:
        return []
    rounds = [f"round {number + 1}" for number in range(evaluation.rounds)]
    rows = [("mean ± 1.96 SE", *rounds)]
    for name, told in evaluation.outcomes.items():
        means = [told.mean(number) for number in range(evaluation.rounds)]
        rows.append((one_line(f"{name} (%)" if told.percent else name), *(_mean_text(*each) for each in means)))
    return rows


def _mean_text(mean: float, margin: float) -> str:
    """Return a mean with its error, as far as there are any."""
    if np.isnan(mean):
        return "none"
    if np.isnan(margin):
        return number_text(mean, decimals=decimals_for(np.array([mean])))
    decimals = decimals_for(np.array([mean - margin, mean + margin]))
    return f"{number_text(mean, decimals=decimals)} ± {number_text(margin, decimals=decimals)}"


def shots_table(evaluations: Mapping[int, Evaluation]) -> str:
    """Return the last round of evaluations that differ in the number of examples, by that number, as text."""
    rows: list[tuple[str, ...]] = []
    for shots, evaluation in sorted(evaluations.items()):
        decimals = 2 if evaluation.measure.percent else decimals_for(evaluation.measure.tell(evaluation.interval))
        (_, *heading), *_, (_, *cells) = _round_rows(evaluation, functools.partial(number_text, decimals=decimals))
        rows = rows or [("shots", *heading)]
        rows.append((str(shots), *cells))
    first = next(iter(evaluations.values()))
    counts = f"{with_noun(first.num_tasks, 'task')}, seed {first.plan.seed}"
    title = one_line(f"{first.label} on {first.title}, {first.plan.split} split, round {first.rounds}: {counts}")
    return "\n".join([title, *_aligned(rows), "", *_interval_notes(list(evaluations.values()))])


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return rows as lines, each column to the right."""
    if not rows:
        return []
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
