"""Evaluation files from strangers: whatever is wrong in one costs one line that names the file."""

from __future__ import annotations

import copy
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metarl.base.errors import MetarlError
from metarl.evaluation import document as documents
from metarl.evaluation.calibration import Calibration
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.record import Evaluation
from metarl.families.load import load
from tests.scripted import Numbered, altered, constant, evaluation_of


def usual() -> dict[str, Any]:
    """Return an evaluation file with every entry filled, as JSON types."""
    evaluation = altered(
        evaluation_of(np.arange(6.0).reshape(3, 2), successes=np.eye(3, 2)),
        trained={"updates": 4, "checkpoint": "best", "agent_settings": {"sizes": [8]}},
        settings={"switch_at": [3, 9]},
        rewards=np.ones((3, 12)),
        by_instance=np.full((3, 4), 0.25),
        calibration=Calibration(
            np.array([4, 2] + [0] * 13), *np.array([[0.05, 0.1] + [np.nan] * 13, [0.5, 0] + [np.nan] * 13])
        ),
    )
    found: dict[str, Any] = json.loads(evaluation.to_json())
    return found


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every value inside a JSON document, the first few of each list."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*path, key))


DERIVED = {"num_different_tasks", "env_steps", "iqm", "interval", "gain", "mean", "mean_margin", "success_rate"}
DERIVED |= {"expected_calibration_error"}
"""Entries that follow from others: they are for readers of the file, and loading makes them again."""
PLACES = [path for path in places(usual()) if path and not {path[0], path[-1]} & DERIVED]
OPTIONAL = [("rewards",), ("by_instance",), ("calibration",), ("measure",)]
"""Entries that may be missing: a file without a measure is of returns."""
REPLACEMENTS = (
    *(None, True, -1, 0.5, "text", "", [], [1], {}, {"a": 1}, [[]], [None]),
    *(10**30, 10**400, 1e300, -1e300, "1", "\ud800", [[[[[[[[[[1]]]]]]]]]]),
)


def replaced(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def load_or_refuse(path: Path) -> Evaluation | None:
    """Return the evaluation in a file, None after an error of one line that names the file and the remedy."""
    try:
        return Evaluation.load(path)
    except MetarlError as error:
        line = str(error)
        assert str(path) in line and "metarl evaluate" in line and len(line.splitlines()) == 1, line
        return None


@pytest.mark.parametrize("value", REPLACEMENTS, ids=lambda value: repr(value)[:12])
def test_any_value_in_any_place_is_read_as_it_is_or_refused_in_one_line(value: Any, tmp_path: Path) -> None:
    document = usual()
    for path in PLACES:
        found = load_or_refuse(write(tmp_path / "evaluation.json", replaced(document, path, value)))
        if found is not None:
            inner: Any = json.loads(found.to_json())
            for key in path:
                inner = inner.get(key) if isinstance(inner, dict) else inner[key]
            assert inner == value or inner == float(value), path


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_an_entry_that_is_missing_is_refused_or_its_absence_means_nothing(
    path: tuple[Any, ...], tmp_path: Path
) -> None:
    changed = copy.deepcopy(usual())
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    found = load_or_refuse(write(tmp_path / "evaluation.json", changed))
    optional = path[0] in ("settings", "versions") or path[:2] == ("agent", "trained") or path in OPTIONAL
    assert (found is not None) == (optional and path not in (("settings",), ("agent", "trained"), ("versions",)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 5000), flip=st.integers(0, 255))
def test_a_cut_or_changed_byte_is_refused_in_one_line_or_leaves_a_whole_file(
    cut: int, flip: int, tmp_path: Path
) -> None:
    whole = json.dumps(usual()).encode()
    place = cut % len(whole)
    for content in (whole[:place], whole[:place] + bytes([flip]) + whole[place + 1 :]):
        path = tmp_path / "evaluation.json"
        path.write_bytes(content)
        load_or_refuse(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"agent": {**usual()["agent"], "trained": [1]}}, "agent.trained is [1]: it must be a valid dictionary"),
        ({"env_steps_per_task": [[5, 1e999]] * 3}, "not whole JSON"),
        ({"env_steps_per_task": [[5, 2**60]] * 3}, "env_steps_per_task.0.1 is"),
        ({"env_steps_per_task": [[5, -1]] * 3}, "env_steps_per_task.0.1 is -1"),
        ({"env_steps_per_task": [[5, 4]] * 3}, "fewer than a round before"),
        ({"successes": [[0.0, 1.5]] * 3}, "successes.0.1 is 1.5"),
        ({"returns": [[0.0, 1e101]] * 3}, "returns.0.1 is 1e+101"),
        ({"tasks": [{"number": 1.0}] * 2}, "tasks has 2 entries, and the plan has 3 tasks"),
        ({"tasks": [{"number": 1.0}] * 2 + [{"other": 1.0}]}, "task 2 has the parameters ['other']"),
        ({"tasks": [{"number": 1.0}] * 2 + [{"number": [1.0]}]}, "another shape"),
        ({"settings": {"switch_at": [9, 3]}}, "its steps must ascend"),
        ({"plan": {**usual()["plan"], "rounds": True}}, "rounds is True; it must be a whole number"),
        ({"plan": {**usual()["plan"], "split": "tset"}}, "split 'tset' is unknown"),
        ({"plan": {**usual()["plan"], "more": 1}}, "it must have the entries split, num_tasks, rounds"),
        ({"rewards": [[1.0], [1.0, 2.0], [3.0]]}, "rows of different lengths"),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_value(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps({**usual(), **changes}))
    with pytest.raises(MetarlError) as caught:
        Evaluation.load(path)
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ['{"format": 1, "format": 2}', '{"a": NaN}', "9" * 5000, "[" * 10**6, '"\\ud800"'])
def test_json_that_no_writer_writes_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(text)
    assert load_or_refuse(path) is None


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "evaluation.json")
    waiting = threading.Thread(target=refuse_fifo, args=(tmp_path / "evaluation.json",), daemon=True)
    waiting.start()
    waiting.join(timeout=5)
    assert not waiting.is_alive()


def refuse_fifo(path: Path) -> None:
    with pytest.raises(MetarlError, match="is a FIFO"):
        Evaluation.load(path)


def test_a_file_larger_than_any_evaluation_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "evaluation.json"
    with path.open("wb") as file:
        file.truncate(documents.MOST_BYTES + 1)  # sparse: it takes no room
    with pytest.raises(MetarlError, match="more than the 268,435,456 of any evaluation"):
        Evaluation.load(path)


def test_a_plan_whose_file_could_not_be_read_again_is_refused_before_it_is_played() -> None:
    with pytest.raises(MetarlError, match="an evaluation has at most 2000000: take fewer tasks"):
        evaluate(constant(1), Numbered(), num_tasks=10**5, rounds=21)
    with pytest.raises(MetarlError, match="an evaluation has at most 100000 tasks"):
        evaluate(constant(1), Numbered(), num_tasks=10**5 + 1, rounds=1)


def test_a_large_evaluation_is_below_the_largest_file() -> None:
    many = evaluation_of(np.full((1000, 20), -123456.789012345678), successes=np.full((1000, 20), 1 / 3))
    steps = np.full((1000, 20), 123456.7)
    size = len(altered(many, env_steps_per_task=np.cumsum(steps, axis=1)).to_json())
    assert size * documents.MOST_SCORES / 20_000 < documents.MOST_BYTES


@pytest.mark.parametrize("size", [1e100, 1.01e100, 1e308])
def test_returns_that_no_sum_could_hold_count_as_not_finite(size: float) -> None:
    class Explodes(Numbered):
        name = "explodes"

        def reward(self, before: Any, action: Any, after: Any, task: Any) -> np.ndarray:
            return np.where(after["solved"], size, 0.0)

    found = evaluate(constant(1), Explodes(), num_tasks=4, rounds=2)
    expected = size if size == 1e100 else np.nan
    np.testing.assert_array_equal(found.returns, np.full((4, 2), expected))


@pytest.mark.parametrize(
    "changes",
    [
        {"returns": np.full((3, 2), np.inf)},
        {"returns": np.full((3, 2), 1e101)},
        {"successes": np.full((3, 2), np.nan)},
        {"successes": np.full((3, 2), -0.1)},
        {"env_steps_per_task": np.full((3, 2), np.inf)},
        {"env_steps_per_task": np.full((3, 2), -1)},
        {"env_steps_per_task": np.array([[2, 1]] * 3)},
    ],
)
def test_numbers_that_no_trial_gives_are_refused(changes: dict[str, np.ndarray]) -> None:
    (name,) = changes
    with pytest.raises(MetarlError, match=name):
        altered(evaluation_of(np.zeros((3, 2))), **changes)


def test_a_real_family_with_arrays_as_parameters_is_read_back(tmp_path: Path) -> None:
    family = load("bernoulli-bandit")
    agent_file = tmp_path / "evaluation.json"
    evaluation = evaluation_of(np.zeros((3, 2)))
    tasks = family.sample("test", 3, seed=0)
    altered(evaluation, family=family.name, settings=family.settings, tasks=tasks).save(agent_file)
    again = Evaluation.load(agent_file)
    for name, values in tasks.values.items():
        np.testing.assert_array_equal(again.tasks.values[name], values)
