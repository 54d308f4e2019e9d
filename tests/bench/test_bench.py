"""The benchmark measures what it says, and its commands run."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import re
from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from metarl.bench import rivals
from metarl.bench import simulation as bench_sim
from metarl.cli.main import main
from metarl.families.load import load
from metarl.families.mujoco.family import MujocoFamily
from tests.small_runs import write_config

CARTPOLE = rivals.gymnasium_maker("CartPole-v1")


def a_comparison(**changes: object) -> bench_sim.Comparison:
    given = {"ours": (1.0, 3.0, 9.0), "theirs": (2.0, 4.0, 10.0), "goal": 0.7, **changes}
    return bench_sim.Comparison("limit", "body", "limit", 64, **given)  # type: ignore[arg-type]


def a_mujoco_family(name: str) -> MujocoFamily:
    family = load(name)
    assert isinstance(family, MujocoFamily)
    return family


def test_each_measurement_is_paired_with_its_neighbours_in_time() -> None:
    limits = iter([10.0, 20.0, 40.0])
    assert bench_sim.measure_pairs(lambda seconds: 3.0, lambda seconds: next(limits), 0.1, 2) == [
        (3.0, 15.0),
        (3.0, 30.0),
    ]


def test_ratio_is_the_median_of_paired_ratios() -> None:
    assert a_comparison().cells() == ("body", "64", "3.0", "limit", "4.0", "0.75", "0.50-0.90", "0.70", "met")


@pytest.mark.parametrize(
    ("goals", "met"),
    [
        ({"goal": 0.76}, False),
        ({"goal": None}, None),
        ({"rate_goal": 3.0}, True),
        ({"rate_goal": 3.1}, False),
        ({"goal": 0.76, "rate_goal": 3.0}, False),
    ],
)
def test_goals_are_met_by_the_median_alone(goals: dict[str, float | None], met: bool | None) -> None:
    assert a_comparison(**goals).met is met


def test_rate_counts_every_world(monkeypatch: pytest.MonkeyPatch) -> None:
    family = load("point-sparse")
    envs = family.make_vec(family.sample("train", 4, seed=0), 2)
    rate = rivals.stepping_rate(envs)
    clock = iter(range(100))
    monkeypatch.setattr(rivals.time, "perf_counter", lambda: next(clock))
    assert rate(25.0) == 24 * 8 / 25  # one second a step, over the end of an episode of 20


@pytest.mark.parametrize("rival", [rivals.gymnasium_sync, rivals.gymnasium_async, rivals.sb3_subprocesses])
def test_rivals_step_and_leave_no_process(rival: Callable[..., contextlib.AbstractContextManager[rivals.Rate]]) -> None:
    before = set(multiprocessing.active_children())
    with rival([CARTPOLE] * 3) as rate:
        assert rate(0.05) > 0
    assert set(multiprocessing.active_children()) <= before


def test_envpool_steps_the_same_environment() -> None:
    pytest.importorskip("envpool")
    with rivals.envpool("HalfCheetah-v5", 3) as rate:
        assert rate(0.05) > 0


def test_empty_class_has_the_spaces_and_the_horizon_of_the_family() -> None:
    family = load("point-sparse")
    env = rivals.Empty(family)
    assert (env.observation_space, env.action_space) == (family.observation_space, family.action_space)
    env.reset()
    ends = [env.step(env.action_space.sample())[3] for _ in range(family.horizon)]
    assert ends == [False] * (family.horizon - 1) + [True]


def test_limit_takes_each_tasks_model_for_as_long_as_its_episodes_last() -> None:
    models, episode = rivals._models_and_episode(a_mujoco_family("hopper-dynamics"), 3, 0)
    assert len(models) == 3
    assert 5 < episode < 60  # it falls
    models, episode = rivals._models_and_episode(a_mujoco_family("half-cheetah-velocity"), 1, 0)
    assert (len(models), episode) == (1, 200)


def test_a_simulation_is_measured_once() -> None:
    names = (
        "half-cheetah-velocity",
        "half-cheetah-direction",
        "half-cheetah-dynamics",
        "half-cheetah-slope",
        "point-sparse",
    )
    found = [family.name for family in bench_sim._simulations([load(name) for name in names])]
    assert found == ["half-cheetah-velocity", "half-cheetah-dynamics"]


def test_goals_name_environments_of_gymnasium() -> None:
    for name in (*bench_sim.LIMIT_GOALS, *bench_sim.RIVAL_GOALS):
        gymnasium.spec(name)


def test_making_a_batch_is_compared_with_ten_steps() -> None:
    row = bench_sim._making(a_mujoco_family("half-cheetah-dynamics"), bench_sim._Meter(0.02, 1))
    assert (row.worlds, row.rival) == (200, "ten steps")
    assert 0.05 < row.ratio < 50


@pytest.mark.parametrize("agent", ["maml-ppo", "rl2"])
def test_training_is_timed_in_its_parts_at_once_and_one_by_one(
    agent: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", str(write_config(tmp_path, agent)), "--device", "cpu", "--updates", "1"]
    assert main(["bench", *words]) == 0
    together, alone = (line.split() for line in capsys.readouterr().out.splitlines()[-2:])
    assert together[0].endswith(f"{agent}.yaml")
    assert alone[:3] == ["one", "by", "one"]
    for shares in (together[2:6], alone[4:8]):
        assert all(share.endswith("%") for share in shares)
        assert 20 < sum(int(share.rstrip("%")) for share in shares) <= 102  # the rest is the rollout's bookkeeping
    assert main(["bench", *words, "--no-loop"]) == 0
    assert "one by one" not in capsys.readouterr().out.splitlines()[-1]


def test_training_is_timed_for_the_agent_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "configs" / "bench"
    folder.mkdir(parents=True)
    for agent in ("maml-ppo", "rl2"):
        write_config(folder, agent)
    assert main(["bench", "train", "--agent", "rl2", "--device", "cpu", "--updates", "1", "--no-loop"]) == 0
    told = capsys.readouterr().out
    assert "rl2.yaml" in told and "maml-ppo.yaml" not in told
    assert main(["bench", "train", "--agent", "maml-pop"]) == 2
    assert re.search(r"none of .* trains it; did you mean 'maml-ppo'", capsys.readouterr().err)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--updates", "0"], "must be at least 1"),
        (["sim", "--worlds", "-1"], "must be at least 1"),
        (["sim", "--seconds", "0"], "must be above 0"),
        (["sin"], "did you mean 'sim'?"),
        (["train", "--device", "gpu"], "gpu"),
        (["sim", "--families", "point-sparce"], "point-sparse"),
        (["sim", "--json", "."], "is a folder"),
        (["train", "--json", "a.json"], "argument '--json' is unknown"),
        (["sim", "--agent", "rl2"], "argument '--agent' is unknown"),
    ],
)
def test_bad_option_is_told_in_one_line(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if words[0] == "train":
        (tmp_path / "configs" / "bench").mkdir(parents=True)
        write_config(tmp_path / "configs" / "bench")
    monkeypatch.chdir(tmp_path)
    assert main(["bench", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_bench_without_a_part_measures_the_simulation(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        "metarl.bench.simulation.bench_simulation",
        lambda names, *, report, **how: asked.append((names, how)) or [],
    )
    for words in ([], ["sim"]):
        assert main(["bench", *words]) == 0
    assert asked == [((), {"worlds": 64, "seconds": 0.5, "repeats": 5, "rivals": True})] * 2


def test_figures_are_written_with_what_made_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bench.json"
    words = ["sim", "--families", "point-sparse", "--no-rivals", "--seconds", "0.02", "--repeats", "4"]
    assert main(["bench", *words, "--json", str(file)]) == 0
    assert "2,000,000/s" in capsys.readouterr().out
    found = json.loads(file.read_text())
    (row,) = found["comparisons"]
    assert row["subject"] == "point-sparse" and len(row["ours"]) == len(row["theirs"]) == 2
    assert found["versions"]["numpy"] == np.__version__


@pytest.mark.slow
def test_simulation_is_measured_with_its_goals(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--families", "half-cheetah-velocity", "hopper-dynamics", "cartpole-physics", "--seconds", "0.05"]
    assert main(["bench", "sim", *words, "--repeats", "1"]) == 0
    told = capsys.readouterr().out
    for word in ("limit", "AsyncVectorEnv", "SubprocVecEnv", "SyncVectorEnv", "one model", "ten steps", "CartPole-v1"):
        assert word in told
