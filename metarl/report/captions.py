"""Captions and definitions: the protocol, seeds and steps of training, and how the numbers are pooled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..base.text import with_noun
from ..evaluation.record import Evaluation
from .cells import Text
from .groups import Group


def caption(statistic: str, groups: Sequence[Group], *, intervals: bool = True) -> str:
    """Return the caption of a table or plot: its statistic, its intervals if it has any, protocol, seeds and steps."""
    parts = [statistic, *([interval_sentence(groups)] if intervals else []), protocol_sentence(groups)]
    return " ".join(parts)


def protocol_sentence(groups: Sequence[Group]) -> str:
    """Return the tasks, rounds and episodes of the evaluations, and the seeds and steps of the training."""
    plans = [evaluation.plan for group in groups for evaluation in group.evaluations]
    splits = " and ".join(dict.fromkeys(plan.split for plan in plans))
    tasks = _count([plan.num_tasks for plan in plans], f"{splits} task")
    a_problem = " a problem" if len({group.problem for group in groups}) > 1 else ""
    rounds = _count([plan.rounds for plan in plans], "round")
    episodes = _count([plan.replicas for plan in plans], "episode")
    return f"{tasks}{a_problem}, {rounds} of {episodes} each; {training_sentence(groups)}"


def training_sentence(groups: Sequence[Group]) -> str:
    """Return how many seeds each setting was trained with, and for how many environment steps."""
    trained = [group for group in groups if group.runs]
    if not trained:
        return "no training."
    seeds = _count([len(group.runs) for group in trained], "training seed")
    steps = _range([run.env_steps for group in trained for run in group.runs], _millions)
    return f"{seeds} a setting, each trained for {steps} env steps."


def interval_sentence(groups: Sequence[Group]) -> str:
    """Return whether intervals are over tasks alone or over seeds and tasks."""
    counts = {len(group.evaluations) for group in groups}
    if counts == {1}:
        return "Intervals: 95 %, bootstrap over tasks of one training seed."
    note = "" if 1 not in counts else "; over tasks alone in rows of one seed"
    return f"Intervals: 95 %, crossed bootstrap over seeds and tasks{note}."


def definitions(groups: Sequence[Group]) -> list[list[Text]]:
    """Return the paragraphs that define the numbers of a page. Each is a list of parts, some with emphasis."""
    evaluations = list({group.problem: group.evaluations[0] for group in groups}.values())
    several = any(len(group.runs) > 1 for group in groups)
    warnings = [_seen_tasks(evaluation, several) for evaluation in evaluations]
    return [
        [Text(_definition(groups))],
        *(parts for n, parts in enumerate(warnings) if parts and parts not in warnings[:n]),
    ]


def _definition(groups: Sequence[Group]) -> str:
    modes = {evaluation.plan.deterministic for group in groups for evaluation in group.evaluations}
    but = ", except in rows that say 'deterministic'" if True in modes else ""
    # Their answers are not sampled, and nothing that was recorded tells them from policies that sample theirs.
    best = "; agents that learn from right answers give their best one"
    answered = best if any(group.measure.per_step for group in groups) else ""
    single = any(len(group.runs) == 1 for group in groups)
    return " ".join(
        [
            protocol_sentence(groups),
            f"{'; '.join(dict.fromkeys(group.measure.definition for group in groups))}. Policies act with exploration "
            f"noise{but}{answered}.",
            "Numbers are interquartile means (IQM) over training seeds and tasks, unless a heading or caption says "
            "otherwise.",
            interval_sentence(groups),
            *(["The interval of a single seed says nothing of other training seeds."] if single else []),
            "Gain is the last round less the first, paired by task.",
            _trial_sentence(groups),
            "Env steps and minutes are means over seeds; minutes are wall-clock time of rollouts and updates, without "
            "evaluations.",
            "The page 'How adaptation is measured' of metarl's documentation defines each measure.",
        ]
    )


def _trial_sentence(groups: Sequence[Group]) -> str:
    """Return what trials are compared by: means over the steps of a round have no sum."""
    means = {group.measure.per_step for group in groups}
    last = "" if means == {False} else "by their last round"
    total = "" if means == {True} else "by the sum of their returns"
    named = " where a round is measured by a mean, else " if last and total else ""
    return f"A trial is all rounds in one task; trials are compared {last}{named}{total}."


def _seen_tasks(evaluation: Evaluation, several_seeds: bool) -> list[Text]:
    """Return that the agents were trained on these tasks, in parts; nothing where the tasks are unseen."""
    if evaluation.unseen:
        return []
    if evaluation.plan.split == "train":
        warning = Text("none of these tasks is unseen", emphasis=True)
        return [Text("The agents were trained on this split: "), warning, Text(".")]
    different = with_noun(evaluation.num_different_tasks, "different task")
    seeds = " and between training seeds" if several_seeds else ""
    return [
        Text(f"{evaluation.title} has finitely many tasks; these are {different}: "),
        Text("none of these is unseen", emphasis=True),
        Text(f". Intervals show the chance within episodes{seeds}, not between tasks."),
    ]


def _range(values: Sequence[int], form: Callable[[int], str] = str) -> str:
    """Return the least and the largest value, or the one that all have."""
    return " to ".join(dict.fromkeys(map(form, (min(values), max(values)))))


def _count(numbers: Sequence[int], noun: str) -> str:
    """Return the least and the largest number with their noun, which is singular where all numbers are one."""
    return f"{_range(numbers)} {noun if max(numbers) == 1 else f'{noun}s'}"


def _millions(steps: int) -> str:
    return f"{steps / 1e6:.3g} M"
