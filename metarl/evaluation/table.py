"""Evaluations as a table for the terminal."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from ..base.text import counted, decimals_for, interval_text, number_text
from .figure import _require_some
from .record import Evaluation
from .statistics import iqm


def table(evaluations: Sequence[Evaluation]) -> str:
    """Return the numbers of each evaluation as text to print. Raises MetarlError where there is none."""
    _require_some(evaluations)
    note = "Intervals are over tasks, for this one training run each; they say nothing of other training seeds."
    return "\n\n".join([*(_block(evaluation) for evaluation in evaluations), note])


def _block(evaluation: Evaluation) -> str:
    counts = f"{counted(evaluation.num_tasks, 'task')}, {counted(evaluation.plan.replicas, 'replica')}, seed {evaluation.plan.seed}"
    lines = [f"{evaluation.label} on {evaluation.family}, {evaluation.plan.split} split: {counts}"]
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
    if evaluation.plan.budget > 1:
        more = counted(evaluation.plan.budget - 1, "more round")
        lines.append(
            f"budget {evaluation.plan.budget}: {more} behind each but the last, learned from, their steps counted with it"
        )
    if evaluation.rounds > 1:
        interval = interval_text(evaluation.gain.interval, number)
        change = f"round {evaluation.rounds} minus round 1, paired by task"
        lines.append(f"gain ({change}): {number(evaluation.gain.iqm)}, 95% interval {interval}")
        total = evaluation.totals
        lines.append(f"trial (sum of all rounds): {number(float(iqm(total)))}, mean {number(float(total.mean()))}")
    if not evaluation.unseen:
        different = counted(evaluation.num_different_tasks, "different task")
        lines.append(f"not unseen: {different}, of those trained on; intervals are of their episodes' chance alone")
    return "\n".join(lines)
