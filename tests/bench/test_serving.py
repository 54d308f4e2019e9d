"""The benchmark of serving: its answers are those of an evaluation, and its table says what was measured."""

from __future__ import annotations

import contextlib
import re
from typing import Any

import numpy as np
import pytest

import metarl
from metarl.bench.serving import Serving, bench_serving
from metarl.cli.main import main
from metarl.families.family import TaskFamily
from metarl.trials.plan import TrialPlan
from metarl.trials.registered import make_agent
from metarl.trials.rollout import rounds_of
from tests.families.asked import Bindings, Lines

SMALL_RL2 = {"learns_from": "targets", "memory": {"name": "gru", "hidden_size": 8}}


@pytest.mark.parametrize(
    ("name", "settings", "family"),
    [
        ("maml", {"hidden_sizes": [8], "num_inner_steps": 2}, Lines()),
        ("ridge", {"hidden_sizes": [8]}, Lines()),
        ("prototypes", {"hidden_sizes": [4]}, Bindings()),
        ("rl2", SMALL_RL2, Lines(reveal="step")),
        ("nearest-neighbour", {}, Bindings(reveal="step")),
    ],
)
def test_loop_and_batch_give_the_answers_of_an_evaluation(
    name: str, settings: dict[str, Any], family: TaskFamily
) -> None:
    agent = make_agent(name, family, settings, seed=1)
    found = bench_serving(agent, family, name=name, users=4, batch=6, task_chunk_size=4)
    plan = TrialPlan(num_tasks=6)
    with contextlib.closing(family.make_vec(plan.tasks(family), threads=0)) as envs:
        played = rounds_of(agent, envs, seed=plan.trial_seed)
        next(played)
        expected = np.moveaxis(next(played).actions[:, :4, 0], 1, 0)
    assert len(np.unique(expected)) > 1
    if expected.dtype.kind == "f":
        expected = expected.clip(-3, 3)
        found.batch_answers.clip(-3, 3, out=found.batch_answers)
    np.testing.assert_allclose(found.answers, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.batch_answers, expected, rtol=1e-4, atol=1e-6)
    assert found.new_user.shape == (4,) and found.answer.shape == expected.shape[:2]
    assert (found.at_once is None) == (family.reveal == "step")
    assert found.at_once is None or (found.at_once > 0).all()
    assert (found.new_user > 0).all() and (found.answer > 0).all() and found.batch_seconds > 0


def serving(**changes: Any) -> Serving:
    fields: dict[str, Any] = {
        "agent": "maml",
        "family": "ratings",
        "examples": 10,
        "new_user": np.array([0.002, 0.004, 0.006]),
        "answer": np.full((3, 5), 0.001),
        "answers": np.zeros((3, 5)),
        "at_once": np.array([0.001, 0.002, 0.003]),
        "batch": 2000,
        "batch_seconds": 1.0,
        "batch_answers": np.zeros((3, 5)),
        "peak_bytes": 300 * 2**20,
    }
    return Serving(**{**fields, **changes})


def test_the_table_has_percentiles_in_milliseconds_and_the_goals() -> None:
    told = serving().table()
    rows = [re.split(r" {2,}", line) for line in told.splitlines()]
    assert rows[2] == ["new user, 10 right answers", "4.00", "5.80", "10", "met"]
    assert rows[3] == ["one answer behind it", "1.00", "1.00"]
    assert rows[4] == ["user with 5 answers", "9.00", "10.80"]
    assert rows[5] == ["user with 5 answers, all at once", "2.00", "2.90", "10", "met"]
    assert "all at once" not in serving(at_once=None).table()
    assert "2,000 users in a batch: 1.00 s, 2,000 users/s (goal 2 s: met); peak memory 300 MiB" in told


def test_a_goal_that_is_missed_is_told() -> None:
    told = serving(
        new_user=np.array([0.02, 0.03]), answer=np.full((2, 5), 0.001), batch_seconds=2.5, at_once=None
    ).table()
    assert told.count("missed") == 2 and not re.search(r"\bmet\b", told)


def test_the_command_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "serve", "--family", "sinusoid", "--agent", "ridge", "agent.hidden_sizes=[4]", "--quiet"]
    assert main([*words, "--users", "3", "--batch", "5", "--side-by-side", "2"]) == 0
    out = capsys.readouterr().out
    assert "ridge (untrained) on sinusoid, 3 users one after the other by metarl.Policy" in out
    assert "new user, 10 right answers" in out and "5 users in a batch: " in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "no run was given; write `metarl bench serve RUN`"),
        (["--family", "point-dense", "--agent", "random"], "'point-dense' asks no questions"),
        (["--family", "sinusoid", "--agent", "maml", "--users", "1"], "1 is too small"),
    ],
)
def test_a_mistake_is_told_in_one_line(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "serve", *words, "--quiet"]) == 2
    assert told in capsys.readouterr().err.splitlines()[-1]


def test_a_policy_looks_a_familys_spaces_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    family = metarl.load("sinusoid")
    policy = metarl.Policy(make_agent("random", family), family)
    looks = []
    space = family.action_space
    monkeypatch.setattr(type(family), "action_space", property(lambda self: looks.append(1) or space))
    for place in range(5):
        policy.act(np.zeros(1, dtype=np.float32), **({"target": np.zeros(1, dtype=np.float32)} if place else {}))
    assert not looks
