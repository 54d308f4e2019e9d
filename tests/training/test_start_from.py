"""A run starts from the best checkpoint of another run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metarl.base.errors import MetarlError
from metarl.runs.checkpoint import load
from metarl.runs.record import minutes_by_update, read_sessions
from metarl.runs.run import LAST, load_run
from metarl.training import train
from metarl.trials.shards import run_sharded_trial
from tests.small_runs import AGENTS as SMALL
from tests.small_runs import read_metrics, trained


def agent_of(run_dir: Path) -> str:
    return str(load_run(run_dir).config.agent["name"])


def test_a_run_starts_from_the_best_checkpoint_of_another_with_its_steps_and_minutes(run: Path, tmp_path: Path) -> None:
    name = agent_of(run)
    other = trained(tmp_path / "other", name, rounds=3, start_from=str(run), num_updates=2, seed=5, checkpoint_every=1)
    begun, meta = load(run / "best.safetensors")
    # 90 steps an update, but where an episode ended at its goal.
    steps = np.diff([meta.env_steps, *(line["env_steps"] for line in read_metrics(other))])
    assert ((steps > 80) & (steps <= 90)).all()
    fresh = trained(tmp_path / "fresh", name, rounds=3, num_updates=2, seed=5)
    assert (fresh / "last.safetensors").read_bytes() != (other / "last.safetensors").read_bytes()
    (session,) = read_sessions(other)
    spent = minutes_by_update(read_metrics(run), read_sessions(run))[meta.update - 1]
    assert session["started_from"] == {
        "run": str(run), "updates": meta.update, "env_steps": meta.env_steps, "minutes": pytest.approx(spent),
        "taken": [],
    }  # fmt: skip
    minutes = minutes_by_update(read_metrics(other), [session])
    assert spent < minutes[0] < minutes[1] < spent + 5
    assert load_run(other).provenance["training_env_steps"] > meta.env_steps


@pytest.mark.parametrize(
    ("name", "part", "count"), [("rl2", "ppo", "num_updates"), ("maml-ppo", "outer", "meta_step.num_updates")]
)
def test_what_a_run_starts_from_is_what_the_other_had_learned_and_schedules_begin_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, part: str, count: str
) -> None:
    monkeypatch.setitem(SMALL[name], part, {"learning_rate": {"start": 1e-3, "end": 1e-5, "updates": 4}})
    first = trained(tmp_path / "first-3", name)
    begun = []

    def recorded(agent: Any, *args: Any, **kwargs: Any) -> Any:
        begun.append(agent.state_dict())
        return run_sharded_trial(agent, *args, **kwargs)

    monkeypatch.setattr(train, "run_sharded_trial", recorded)
    second = trained(tmp_path / "second", name, seed=3, start_from=str(tmp_path / "first-{seed}"))
    state, _ = load(first / "best.safetensors")
    assert int(state[count]) > 0 == int(begun[0][count])
    assert all(torch.equal(begun[0][key], tensor) for key, tensor in state.items() if key != count)
    rates = [[line.get("agent/learning_rate") for line in read_metrics(run)] for run in (first, second)]
    assert rates[0] == rates[1]


def test_a_run_that_started_from_another_and_was_killed_goes_on_without_it(tmp_path: Path) -> None:
    first = trained(tmp_path / "first", "rl2")
    changes: dict[str, Any] = {"start_from": str(first), "seed": 4}
    whole, killed = trained(tmp_path / "whole", "rl2", **changes), tmp_path / "killed"
    trained(killed, "rl2", **changes, num_updates=2)
    shutil.rmtree(first)
    trained(killed, "rl2", **changes, resume=True)
    assert load(killed / "last.safetensors")[1].env_steps == load(whole / "last.safetensors")[1].env_steps
    assert (killed / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()
    assert [session.get("started_from", {}).get("run") for session in read_sessions(killed)] == [str(first), None]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"start_from": "nowhere"}, "start_from is 'nowhere': run nowhere does not exist"),
        ({"agent": "rl2"}, "it trains 'maml-ppo'; 'rl2' can start only from a run of 'rl2'"),
        ({"family": {"name": "half-cheetah-velocity", "horizon": 5}}, "has shape .* here it is"),
    ],
)
def test_a_run_to_start_from_that_is_missing_or_does_not_fit_costs_one_line_and_makes_nothing(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    first = trained(tmp_path / "first", num_updates=1)
    with pytest.raises(MetarlError, match=complaint):
        trained(tmp_path / "second", **{"start_from": str(first), **changes})
    assert not (tmp_path / "second").exists()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda run: (run / "best.safetensors").unlink(), "has no best.safetensors yet"),
        (lambda run: (run / "metrics.jsonl").write_text('{"foo": 1}\n'), "metrics.jsonl:1 has no number 'update'"),
        (lambda run: (run / "metrics.jsonl").write_text(""), "has 0 of the . updates of its best.safetensors"),
    ],
)
def test_a_damaged_run_is_not_started_from(
    copy: Path, tmp_path: Path, damage: Callable[[Path], None], complaint: str
) -> None:
    name = agent_of(copy)
    damage(copy)
    with pytest.raises(MetarlError, match=f"start_from is .*{complaint}"):
        trained(tmp_path / "second", name, start_from=str(copy))


def test_weights_are_not_read_by_other_networks_of_the_same_shapes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SMALL["rl2"], "memory", {"name": "transformer", "hidden_size": 8})
    first = trained(tmp_path / "first", "rl2", num_updates=2)
    with pytest.raises(
        MetarlError,
        match=r"agent.memory.num_heads is 2, but run .* was trained with 4: .* take agent.memory.num_heads=4",
    ):
        load_run(first, overrides=["agent.memory.num_heads=2"])
    monkeypatch.setitem(SMALL["rl2"], "memory", {"name": "transformer", "hidden_size": 8, "num_heads": 2})
    with pytest.raises(MetarlError, match=r"start_from is .*: agent.memory.num_heads is 2, but .*was trained with 4"):
        trained(tmp_path / "second", "rl2", start_from=str(first))


def test_a_run_that_starts_from_another_of_its_seed_does_not_meet_its_tasks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def recorded(agent: Any, family: Any, tasks: Any, *args: Any, **kwargs: Any) -> Any:
        drawn.extend(str(task) for task in tasks)
        return run_sharded_trial(agent, family, tasks, *args, **kwargs)

    monkeypatch.setattr(train, "run_sharded_trial", recorded)
    first = trained(tmp_path / "first", "rl2")
    trained(tmp_path / "second", "rl2", start_from=str(first))
    third = trained(tmp_path / "third", "rl2", start_from=str(tmp_path / "second"))
    assert len(set(drawn)) == len(drawn) == 3 * 4 * 3
    assert load(third / LAST)[1].start_env_steps == load(tmp_path / "second" / "best.safetensors")[1].env_steps
