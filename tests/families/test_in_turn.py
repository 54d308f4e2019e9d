"""Values in turn: every one is met, in orders that seeds and splits do not share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarl.base.streams import generator
from metarl.families import in_turn
from metarl.families.in_turn import InTurn
from metarl.families.task import Parameter
from tests.families.asked import Lines


def listed(num_values: int, count: int, seed: int = 0, split: str = "test") -> np.ndarray:
    return InTurn(tuple(map(float, range(num_values)))).tasks(np.arange(count), seed, "tasks", split, "user")


@given(num_values=st.integers(1, 30), turns=st.integers(1, 4), seed=st.integers(0, 10))
def test_every_turn_has_each_value_once(num_values: int, turns: int, seed: int) -> None:
    found = listed(num_values, turns * num_values, seed).reshape(turns, num_values)
    np.testing.assert_array_equal(np.sort(found, axis=1), np.tile(np.arange(num_values), (turns, 1)))


def test_turns_seeds_and_splits_have_orders_of_their_own() -> None:
    first, second = listed(50, 100).reshape(2, 50)
    orders = [first, second, listed(50, 50, seed=1), listed(50, 50, split="train")]
    for number, one in enumerate(orders):
        for other in orders[:number]:
            assert (one != other).any()


@pytest.mark.parametrize("start", [0, 7, 93])
def test_a_task_does_not_depend_on_how_many_are_listed(start: int) -> None:
    values = InTurn(tuple(map(float, range(9))))
    part = values.tasks(np.arange(start, start + 4), 3, "tasks", "test", "user")
    np.testing.assert_array_equal(part, values.tasks(np.arange(start + 30), 3, "tasks", "test", "user")[start:][:4])


def test_a_family_of_users_lists_all_of_them() -> None:
    @dataclass(frozen=True)
    class Users(Lines):
        parameters = {"slope": Parameter(InTurn((0.1, 0.2, 0.3)), None, "", "", None, InTurn((0.5, 0.6, 0.7, 0.8)))}

    assert sorted(Users().sample("test", 4, seed=5).values["slope"]) == [0.5, 0.6, 0.7, 0.8]
    assert set(Users().sample("train", 3, seed=5, start=3).values["slope"]) == {0.1, 0.2, 0.3}


def test_pairs_are_values_too() -> None:
    pairs = InTurn(((0.0, 1.0), (2.0, 3.0))).tasks(np.arange(2), 0, "tasks", "train", "p")
    assert sorted(map(tuple, pairs.tolist())) == [(0.0, 1.0), (2.0, 3.0)]


def test_an_epoch_orders_its_values_once_however_many_batches_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    in_turn._order.cache_clear()
    drawn: list[int] = []
    monkeypatch.setattr(in_turn, "generator", lambda *address: drawn.append(0) or generator(*address))
    values = InTurn(tuple(map(float, range(60))))
    for start in range(0, 60, 4):
        values.tasks(np.arange(start, start + 4), 5, "tasks", "train", "user")
    assert len(drawn) == 1
