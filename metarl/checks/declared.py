"""Checks of families whose settings alone make the environment, as in a YAML file: remedies that fit them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

from ..families.family import TaskFamily
from .extent import FULL, Extent
from .replay import play_new, shorten

FamilyCheck = Callable[[TaskFamily, Extent], Iterator[str]]

OTHER = "take another environment, or change it by a wrapper of your own: wrappers: ['module:Class']"
_SHARED = "vary an argument of the constructor instead of an attribute, or take another environment"
REMEDIES = {
    "check_gymnasium": OTHER,
    "check_repeats": OTHER,
    "check_seeds": f"it draws random numbers of its own: {OTHER}",
    "check_single": f"it keeps something over resets: {OTHER}",
    "check_batch": f"its objects share something: {_SHARED}",
    "check_neighbours": f"its objects share something: {_SHARED}",
    "check_pauses": f"its objects share something: {_SHARED}",
    "check_parameters": "vary another argument or attribute, or those that it computes from this one",
    "check_first_observation": "vary what it does not show, or write `shows_task: true` if that is the intent",
    "check_extremes": "write `unbounded` or {clip_reward: [LOW, HIGH]} under `wrappers`",
    "check_horizon": "write a `horizon` of at most as many steps",
}
"""What to write in YAML where a check finds a fault, by the check's name."""


def fit_remedies(check: FamilyCheck) -> FamilyCheck:
    """Return the check with its remedy for those who have no class to repair."""
    remedy = REMEDIES.get(check.__name__)
    if remedy is None:
        return check

    @functools.wraps(check)
    def fitted(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
        for finding in check(family, extent):
            yield f"{finding.partition(';')[0]}; {remedy}"

    return fitted


def check_success(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """A rule of success is decided in some episode."""
    rule = family.settings.get("success")
    entry = rule if isinstance(rule, str) else rule.get("info") if isinstance(rule, dict) else None
    if entry is None:
        return
    episodes = play_new(shorten(family, extent.rare_steps), family.sample("train", extent.few, seed=0))
    ended = family.horizon <= extent.rare_steps or any(each.terminations.any() for each in episodes)
    if ended and all(each.successes is None for each in episodes):
        yield (
            f"success.info is {entry!r}, an entry that no info of some episodes has; name another, or write a rule "
            "such as success: {return_at_least: 200}"
        )
