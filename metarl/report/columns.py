"""What the columns of the tables of results mean, in a sentence each; docs/evaluation.md has the definitions."""

from __future__ import annotations

import re

_COLUMNS = {
    "problem": "Family of tasks, with the settings that tell it from others.",
    "less": "The other agent, whose numbers are taken away.",
    "seed": "Seed of the training.",
    "seeds": "Seeds of the training runs that are pooled.",
    "env steps": "Environment steps of training, mean over seeds.",
    "minutes": "Wall-clock minutes of rollouts and updates, without evaluations.",
    "return": "Undiscounted return of an episode: interquartile mean over seeds and tasks, and its 95 % interval.",
    "return, mean": "Undiscounted return of an episode: mean over seeds and tasks, and its 95 % interval.",
    "gain": "Last round less the first, paired by task: interquartile mean and its 95 % interval.",
    "trial": "Sum over rounds of the return: what is lost while exploring counts too. Interquartile mean, 95 % interval.",
    "trial, mean": "Sum over rounds of the return, mean over tasks: the score that bandits are judged by.",
    "success by round": "Share of episodes with a success in any step.",
    "rounds to 90 % of the gain": "Rounds before the first one that has 90 % of what is gained from the first to the last.",
    "env steps to 90 % of the gain": "Environment steps spent in the new task before that round.",
    "mean difference of the trial's return": "Ours less theirs in the same tasks, mean over seeds and tasks, 95 % interval.",
    "of the other's": "That difference as a share of the other's mean.",
    "probability of improvement": "How often a seed of ours beats one of theirs in a task, a draw half; 95 % interval.",
    "score, first round": "Return on the scale of the title: interquartile mean over seeds and tasks, and its 95 % interval.",
    "score, last round": "Return on the scale of the title: interquartile mean over seeds and tasks, and its 95 % interval.",
    "optimality gap": "How far the last round is below the upper end of the scale in the same task, nowhere counting more; mean and 95 % interval.",
    "change at step": "Steps of the trial before the task became another.",
    "reward a step before": "Mean over the last steps before the change: interquartile mean over seeds and tasks, 95 % interval.",
    "right after": "The same over the first steps after it.",
    "at the end": "The same over the last steps before the next change, or of the trial.",
    "env steps to 90 %": "Steps from the change until rewards are 90 % of the way from right after to the end.",
    "last round in": "Tasks of another split, in which the same agents were measured.",
    "return there": "Return of the last round in those tasks: interquartile mean, 95 % interval.",
    "return here": "Return of the last round in the tasks of the other tables.",
    "gap": "What is lost by going further from what was trained on: interquartile means, and the 95 % interval of the difference.",
    "IQM by round": "Interquartile mean over tasks of the return, round by round.",
    "mean by round": "Mean over tasks of the return, round by round.",
    "checkpoint of update": "Update after which the measured checkpoint was saved, of all.",
    "commit": "Commit of the source that trained it.",
}
_PATTERNS = {
    r"round \d+|first round|last round": "Undiscounted return of an episode in that round: interquartile mean over seeds "
    "and tasks, and its 95 % interval.",
    r"worst tenth, .*": "Mean of the lowest tenth of returns over seeds and tasks: what the mean of many good tasks hides.",
    r"regret beside .*": "How much less a trial earns than that agent's in the same tasks: mean, and its 95 % interval.",
    r"reach .*": "Share of seeds and tasks with a round at or above that return.",
    r"rounds to .*, median": "Median over all of the rounds before they reach it; never where half do not.",
    r"env steps to .*, median": "Median over all of the environment steps before they reach it; never where half do not.",
}
"""Headings that are made of numbers, as regular expressions."""


def explained(heading: str) -> str:
    """Return what a column is, '' for one that says it by itself."""
    if heading in _COLUMNS:
        return _COLUMNS[heading]
    return next((text for pattern, text in _PATTERNS.items() if re.fullmatch(pattern, heading)), "")
