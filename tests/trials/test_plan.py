"""A plan names its tasks and its random numbers, and refuses what cannot be played."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_type_hints

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.trials.plan import PlanFields, TrialPlan
from tests.scripted import Numbered


@pytest.mark.parametrize("name", ["num_tasks", "rounds", "replicas", "budget"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_count_below_one_is_refused_by_its_name(name: str, value: int) -> None:
    with pytest.raises(MetarlError, match=f"{name} is {value}; it must be at least 1"):
        TrialPlan(**{name: value})  # type: ignore[arg-type]


def test_an_unknown_split_is_refused_with_the_nearest() -> None:
    with pytest.raises(MetarlError, match="split 'tset' is unknown; did you mean 'test'"):
        TrialPlan(split="tset")


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(MetarlError, match="seed is -1; it must be at least 0"):
        TrialPlan(seed=-1)


@pytest.mark.parametrize("value", [2.5, "3", None, True, np.True_, [3]])
def test_a_count_that_is_no_whole_number_is_refused(value: Any) -> None:
    with pytest.raises(MetarlError, match=r"num_tasks is .*; it must be a whole number"):
        TrialPlan(num_tasks=value)


def test_numbers_of_numpy_become_those_of_python() -> None:
    plan = TrialPlan(num_tasks=np.int64(3), seed=np.uint8(4), deterministic=np.True_)  # type: ignore[arg-type]
    assert plan == TrialPlan(num_tasks=3, seed=4, deterministic=True)
    assert (type(plan.num_tasks), type(plan.seed), type(plan.deterministic)) == (int, int, bool)


@pytest.mark.parametrize("value", ["no", 1, None])
def test_deterministic_is_true_or_false(value: Any) -> None:
    with pytest.raises(MetarlError, match=r"deterministic is .*; it must be True or False"):
        TrialPlan(deterministic=value)


def test_a_budget_without_a_second_round_is_refused() -> None:
    with pytest.raises(MetarlError, match=r"budget is 5 and rounds is 1; .* take at least 2 rounds"):
        TrialPlan(rounds=1, budget=5)


def test_rounds_between_measured_ones_are_played() -> None:
    assert [TrialPlan(rounds=rounds, budget=3).rounds_played for rounds in (2, 3, 4)] == [4, 7, 10]
    assert TrialPlan(rounds=4).rounds_played == 4


def test_tasks_are_the_first_of_the_split_for_the_seed() -> None:
    plan = TrialPlan(split="validation", num_tasks=3, seed=5)
    assert list(plan.tasks(Numbered())) == list(Numbered().sample("validation", 8, seed=5))[:3]


def test_seed_and_split_name_the_episodes_and_nothing_else_does() -> None:
    plans = [TrialPlan(), TrialPlan(num_tasks=3, rounds=5, replicas=2, budget=2, deterministic=True)]
    assert len({plan.trial_seed for plan in plans}) == 1
    assert len({plan.trial_seed for plan in (*plans, TrialPlan(seed=1), TrialPlan(split="validation"))}) == 3


def test_keyword_arguments_are_the_fields_of_a_plan() -> None:
    assert get_type_hints(PlanFields) == get_type_hints(TrialPlan)
    assert list(PlanFields.__annotations__) == [field.name for field in fields(TrialPlan)]
