"""Trials that do not fit into memory are refused before they are played."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import metarl
from metarl.base.errors import MetarlError
from metarl.base.memory import _groups, _machine, available_memory
from metarl.runs.config import TrainConfig
from metarl.training.memory import require_training_memory
from metarl.trials.memory import trial_bytes
from metarl.trials.rollout import run_trial
from tests.families.kinds import OBSERVATIONS, Meters
from tests.small_runs import trained


def arrays_bytes(trial: metarl.Trial) -> int:
    found = [getattr(episodes, field.name) for episodes in trial.rounds for field in dataclasses.fields(episodes)]
    return sum(array.nbytes for array in found if isinstance(array, np.ndarray))


@pytest.mark.parametrize("name", ["navigation-2d", "half-cheetah-velocity", "bernoulli-bandit"])
def test_estimate_is_close_to_the_arrays_of_a_trial(name: str) -> None:
    family = metarl.load(name, horizon=20)
    agent = metarl.make_agent("random", family)
    with_envs = family.make_vec(family.sample("train", 4, seed=0), 3, threads=0)
    trial = run_trial(agent, with_envs, 2, seed=0)
    with_envs.close()
    assert arrays_bytes(trial) == pytest.approx(trial_bytes(family, tasks=4, replicas=3, rounds=2), rel=0.15)


@pytest.mark.parametrize("seen", OBSERVATIONS)
def test_estimate_counts_every_part_of_a_space(seen: str) -> None:
    family = Meters(seen=seen, acted="multi-discrete", horizon=50)
    with_envs = family.make_vec(family.sample("train", 2, seed=0), 2)
    trial = run_trial(metarl.make_agent("random", family), with_envs, 2, seed=0)
    assert arrays_bytes(trial) == pytest.approx(trial_bytes(family, tasks=2, replicas=2, rounds=2), rel=0.1)


def test_images_that_do_not_fit_are_refused_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metarl.trials.memory.available_memory", lambda: 100 * 2**20)
    agent: Any = metarl.make_agent("rl2", Meters(seen="image"))
    config = TrainConfig(family="meters", agent={"name": "rl2"}, meta_batch_size=10, replicas=1, rounds=2)
    require_training_memory(agent, Meters(seen="image"), config)
    with pytest.raises(MetarlError, match=r"a meta-batch would take about .* GiB .*lower meta_batch_size"):
        require_training_memory(agent, Meters(seen="image"), config.model_copy(update={"meta_batch_size": 20_000}))


def test_a_meta_batch_beyond_memory_is_refused_before_it_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(MetarlError) as caught:
        trained(tmp_path / "run", meta_batch_size=10**9, replicas=10**9, rounds=10**9)
    told = str(caught.value)
    assert told.startswith("a meta-batch would take about 3e+21 GiB (1000000000 tasks x 1000000000 replicas x 5 steps")
    assert told.endswith(
        "GiB of memory are free; lower meta_batch_size, replicas, rounds or family.horizon, or agent.task_chunk_size"
    )
    assert not (tmp_path / "run").exists()


def test_a_validation_beyond_memory_is_refused_before_the_first_update(tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=r"^the validation would take .*; lower evaluation.num_tasks, evaluation.rep"):
        trained(tmp_path / "run", evaluation={"num_tasks": 10**9})


def test_an_evaluation_beyond_memory_is_refused_unless_its_tasks_are_played_in_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    family = metarl.load("navigation-2d", horizon=100)
    agent = metarl.make_agent("random", family)
    monkeypatch.setattr("metarl.trials.memory.available_memory", lambda: 200_000)
    with pytest.raises(
        MetarlError, match=r"^the evaluation would take .*; take fewer tasks \(num_tasks, --tasks, --am"
    ):
        metarl.evaluate(agent, family, num_tasks=40, replicas=2, rounds=3)
    assert metarl.evaluate(agent, family, num_tasks=40, replicas=2, rounds=3, task_chunk_size=4).returns.shape == (
        40,
        3,
    )


def test_what_an_agent_takes_counts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cls = type(metarl.make_agent("maml-ppo", metarl.load("navigation-2d")))
    monkeypatch.setattr(cls, "memory_estimate", lambda self, num_tasks, replicas, rounds: 2**60 * num_tasks)
    with pytest.raises(MetarlError, match="a meta-batch would take about 3e"):
        trained(tmp_path / "run")


def test_networks_beyond_memory_are_not_blamed_on_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **settings: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

    family = metarl.load("navigation-2d")
    cls = type(metarl.make_agent("maml-ppo", family))
    monkeypatch.setattr(cls, "__init__", fail)
    with pytest.raises(MetarlError, match=r"agent 'maml-ppo' does not fit into memory .* take smaller networks"):
        metarl.make_agent("maml-ppo", family)


def test_free_memory_is_that_of_the_machine(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 900 kB\nMemFree: 1 kB\nMemAvailable: 500 kB\n")
    assert list(_machine(tmp_path / "meminfo")) == [500 * 1024]
    free = available_memory()
    assert free is None or free > 0


@pytest.mark.parametrize(
    ("line", "folder", "names"),
    [
        ("0::/a/b", "", ("memory.max", "memory.current", "inactive_file")),
        ("5:cpu,memory:/a/b", "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")),
    ],
)
def test_free_memory_is_no_more_than_the_limits_of_control_groups(
    line: str, folder: str, names: tuple[str, str, str], tmp_path: Path
) -> None:
    (tmp_path / "cgroup").write_text(f"1:name=systemd:/x\n{line}\n")
    limit, used, cached = names
    for group, most in (("a/b", "max"), ("a", "1000")):
        place = tmp_path / folder / group
        place.mkdir(parents=True, exist_ok=True)
        (place / limit).write_text(f"{most}\n")
        (place / used).write_text("600\n")
        (place / "memory.stat").write_text(f"anon 1\n{cached} 50\n")
    assert list(_groups(tmp_path / "cgroup", tmp_path)) == [450]
