"""The table of evaluations for the terminal."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from ..base.terminal import one_line
from ..base.text import decimals_for, interval_text, number_text, with_noun
from .figure import require_evaluations
from .record import Evaluation
from .statistics import iqm


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
    plan = evaluation.plan
    counts = f"{with_noun(plan.num_tasks, 'task')}, {with_noun(plan.replicas, 'replica')}, seed {plan.seed}"
    lines = [one_line(f"{evaluation.label} on {evaluation.title}, {plan.split} split: {counts}")]
    number = functools.partial(number_text, decimals=decimals_for(evaluation.interval))
    rates = evaluation.success_rate
    header = ("round", "env steps by its end", "return (IQM)", "95% interval", "mean")
    rows = [(*header, *(() if rates is None else ("success rate",)))]
    for i in range(evaluation.rounds):
        interval = interval_text(evaluation.interval[i], number)
        rate = () if rates is None else (f"{rates[i]:.2f}",)
        steps = f"{evaluation.env_steps[i]:,.0f}"
        rows.append((str(i + 1), steps, number(evaluation.iqm[i]), interval, number(evaluation.mean[i]), *rate))
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines += ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if plan.budget > 1:
        more = with_noun(plan.budget - 1, "more round")
        lines.append(
            f"budget {plan.budget}: {more} after each but the last; the agent learns from them, and their steps count"
        )
    if evaluation.rounds > 1:
        interval = interval_text(evaluation.gain.interval, number)
        change = f"round {evaluation.rounds} minus round 1, paired by task"
        lines.append(f"gain ({change}): {number(evaluation.gain.iqm)}, 95% interval {interval}")
        total = evaluation.totals
        lines.append(f"trial (sum of all rounds): {number(float(iqm(total)))}, mean {number(float(total.mean()))}")
    if not evaluation.unseen:
        different = with_noun(evaluation.num_different_tasks, "different task")
        lines.append(f"not unseen: {different}, met in training; intervals show the chance within episodes alone")
    return "\n".join(lines)
