"""Training runs to its end, resumes bit for bit, and leaves nothing half done."""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.maml.over_tasks import OverTasks

from metarl.base.errors import MetarlError
from metarl.base.ranks import Exchanged
from metarl.base.stopwatch import Stopwatch
from metarl.cli.main import main
from metarl.evaluation.evaluate import evaluate
from metarl.runs.checkpoint import load, save
from metarl.runs.config import TrainConfig
from metarl.runs.run import LAST, count_updates, load_run
from metarl.training import train
from metarl.training.log import RunLog
from metarl.training.metrics import time_shares
from metarl.training.train import meta_train
from metarl.trials.registered import AGENTS
from metarl.trials.shards import run_sharded_trial
from tests.small_runs import AGENTS as SMALL
from tests.small_runs import config, configured, read_metrics, saved, started, trained, write_config


def updates(run_dir: Path) -> list[int]:
    return [metrics["update"] for metrics in read_metrics(run_dir)]


def agent_of(run_dir: Path) -> str:
    return str(load_run(run_dir).config.agent["name"])


def test_a_run_leaves_config_metrics_checkpoints_and_picture(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert names == {
        "config.yaml", "run.json", "metrics.jsonl", "best.safetensors", "last.safetensors", "validation.png",
    }  # fmt: skip


def test_metrics_have_one_x_axis_and_both_returns(run: Path) -> None:
    metrics = read_metrics(run)
    assert [line["update"] for line in metrics] == [0, 1, 2, 3]
    # tasks x replicas x rounds x horizon steps an update, less those of the few episodes that reach their goal early.
    spent = np.diff([0, *(line["env_steps"] for line in metrics)])
    assert ((spent > 50) & (spent <= 60)).all()
    for line in metrics:
        assert list(line)[:2] == ["update", "env_steps"]
        assert {"return_before", "return_after", "agent/loss", "time/steps_per_second"} <= line.keys()
        shares = [line[f"time/{part}_share"] for part in ("rollout", "update", "evaluation")]
        assert 0 < sum(shares) <= 1
    assert ["validation/return_after" in line for line in metrics] == [False, True, False, True]


@pytest.mark.parametrize(("best_by", "measure"), [("last_round", "return_after"), ("trial", "return_trial")])
def test_the_best_checkpoint_is_the_one_with_the_best_validation_score(
    tmp_path: Path, best_by: str, measure: str
) -> None:
    evaluation = {"every": 1, "num_tasks": 3, "best_by": best_by}
    run = trained(tmp_path / "run", num_updates=8, seed=6, evaluation=evaluation)
    metrics = read_metrics(run)
    scores = {line["update"] + 1: line[f"validation/{measure}"] for line in metrics}
    _, best = load(run / "best.safetensors")
    _, last = load(run / "last.safetensors")
    other = "return_after" if best_by == "trial" else "return_trial"
    assert max(metrics, key=lambda line: line[f"validation/{other}"])["update"] + 1 != best.update, "tells nothing"
    assert best.update == max(scores, key=lambda update: scores[update])
    assert last.best == best.best == max(scores.values())
    assert last.update == 8


def test_training_draws_new_tasks_each_update_and_never_test_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metarl.envs.points.navigation_2d import Navigation2D  # type: ignore[import-not-found, unused-ignore]

    drawn: list[tuple[str, int, int]] = []
    sample = Navigation2D.sample

    def recorded(self: Any, split: str, num_tasks: int, *, seed: int, start: int = 0) -> Any:
        drawn.append((split, start, num_tasks))
        return sample(self, split, num_tasks, seed=seed, start=start)

    monkeypatch.setattr(Navigation2D, "sample", recorded)
    trained(tmp_path / "run")
    assert [call for call in drawn if call[0] == "train"] == [("train", start, 3) for start in (0, 3, 6, 9)]
    assert {call[0] for call in drawn} == {"train", "validation"}


@pytest.mark.parametrize("agent", sorted(SMALL))
def test_the_number_of_simulation_threads_changes_nothing(tmp_path: Path, agent: str) -> None:
    family = {"name": "half-cheetah-velocity", "horizon": 4}
    states = []
    for threads in (0, 2):
        run_dir = trained(tmp_path / str(threads), agent, family=family, threads=threads, num_updates=1)
        states.append(load(run_dir / "last.safetensors")[0])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("agent", sorted(SMALL))
def test_a_killed_run_resumes_bitwise_equal(tmp_path: Path, agent: str) -> None:
    changes: dict[str, Any] = {"checkpoint_every": 4, "evaluation": {"every": 5, "num_tasks": 2}}
    killed, path = tmp_path / "killed", write_config(tmp_path, agent, num_updates=100_000, **changes)
    metrics, quiet = killed / "metrics.jsonl", {"stdout": subprocess.DEVNULL}
    with started("train", path, "--run-dir", killed, metrics=metrics, lines=7, **quiet) as process:
        process.kill()
    assert process.returncode == -signal.SIGKILL
    # Past the next validation and checkpoint, wherever it was killed.
    last = count_updates(killed, configured(agent, **changes)) + 7
    assert main(["train", "--resume", str(killed), f"num_updates={last}"]) == 0
    whole = trained(tmp_path / "whole", agent, num_updates=last, **changes)
    assert (killed / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()
    assert saved(killed / "best.safetensors") == saved(whole / "best.safetensors")
    assert updates(killed) == updates(whole) == list(range(last))
    timeless = [
        [{k: v for k, v in line.items() if "time/" not in k} for line in read_metrics(d)] for d in (killed, whole)
    ]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize("killed_at", [0, 1, 2, 3])
def test_a_run_that_dies_at_any_update_resumes_bitwise_equal(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    original = train._Training._make_update

    def dying(self: Any) -> Any:
        if self.update == killed_at:
            raise KeyboardInterrupt
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(train._Training, "_make_update", dying)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "run", run.name)
    saved = load(tmp_path / "run" / LAST)[1].update if (tmp_path / "run" / LAST).exists() else 0
    assert saved == len(updates(tmp_path / "run")) == killed_at
    trained(tmp_path / "run", run.name, resume=True)
    for name in ("last.safetensors", "best.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()
    assert updates(tmp_path / "run") == [0, 1, 2, 3]


def test_a_finished_run_says_so_and_goes_on_when_asked_for_more(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    assert main(["train", "--resume", str(copy)]) == 0
    assert "is finished: 4 updates made; to train on, give num_updates=N above 4" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before
    assert main(["train", "--resume", str(copy), "num_updates=6"]) == 0
    assert updates(copy) == [0, 1, 2, 3, 4, 5]


def test_a_run_does_not_resume_under_another_config(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(copy), "seed=1", "num_updates=6"]) == 2
    assert "seed is 1, the run started with 0; leave it out, or begin a new run" in capsys.readouterr().err
    assert updates(copy) == [0, 1, 2, 3]


def test_a_folder_that_holds_a_run_is_not_written_over(copy: Path) -> None:
    with pytest.raises(MetarlError, match="holds a run already; resume it with `metarl train --resume"):
        trained(copy)


@pytest.mark.parametrize("broken", ["loss", "weight"])
def test_what_is_no_longer_finite_stops_training_with_update_and_term(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    cls: Any = AGENTS["maml-ppo"]
    update = cls.update

    def diverging(self: Any, trial: Any, rng: np.random.Generator) -> dict[str, float]:
        metrics = update(self, trial, rng)
        diverging.calls += 1  # type: ignore[attr-defined]
        if diverging.calls == 4 and broken == "loss":  # type: ignore[attr-defined]
            metrics["loss"] = float("nan")
        elif diverging.calls == 4:  # type: ignore[attr-defined]
            parameter = next(iter(self.parameters.values()))
            parameter.data[...] = float("inf")
        return dict(metrics)

    diverging.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(cls, "update", diverging)
    term = "agent/loss is nan" if broken == "loss" else "is no longer finite"
    with pytest.raises(MetarlError, match=rf"update 3: .*{term}"):
        trained(tmp_path / "run", num_updates=9, evaluation={"every": 50, "num_tasks": 2})
    assert load(tmp_path / "run" / "last.safetensors")[1].update == 3


def test_an_agent_that_does_not_learn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match="agent 'random' learns nothing in training"):
        meta_train(TrainConfig(**config(agent="maml-ppo") | {"agent": "random"}), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def _mounted(folder: Path, size: str) -> bool:
    folder.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        return False
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False)
    return done.returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte."""
    disk = tmp_path / "disk"
    if not _mounted(disk, "1m"):
        pytest.skip("mounting a tmpfs is not allowed here; the test of the file-size limit stands in for it")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def _fill(path: Path) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    with contextlib.suppress(OSError):
        while True:
            os.write(descriptor, b"x" * 4096)
    os.close(descriptor)


def test_a_full_disk_costs_one_line_and_what_was_saved_stays_loadable(
    run: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir, filler = small_disk / "run", small_disk / "filler"
    trained(run_dir, run.name, num_updates=2)
    before = (run_dir / "last.safetensors").read_bytes()
    _fill(filler)
    capsys.readouterr()
    assert main(["train", "--resume", str(run_dir), "num_updates=4"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("metarl: error: ")
    assert "No space left on device" in line
    assert (run_dir / "last.safetensors").read_bytes() == before
    assert load_run(run_dir, "last").agent is not None
    assert main(["evaluate", str(run_dir), "--tasks", "2"]) == 2
    filler.unlink()
    assert main(["train", "--resume", str(run_dir), "num_updates=4"]) == 0
    assert load(run_dir / "last.safetensors")[1].update == 4
    assert updates(run_dir) == [0, 1, 2, 3]


def test_a_file_that_may_not_grow_costs_one_line_and_what_was_saved_stays_loadable(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (copy / "last.safetensors").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) - 100, hard))
    try:
        assert main(["train", "--resume", str(copy), "num_updates=6"]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("metarl: error: ")
    assert "File too large" in line
    assert (copy / "last.safetensors").read_bytes() == before
    assert main(["train", "--resume", str(copy), "num_updates=6"]) == 0


def test_a_checkpoint_older_than_a_setting_is_read_with_its_default(copy: Path) -> None:
    for name in ("best.safetensors", "last.safetensors"):
        state, meta = load(copy / name)
        older = {key: value for key, value in meta.config.items() if key != "rounds"}
        older["agent"] = {key: value for key, value in older["agent"].items() if key != "discount"}
        save(copy / name, state, meta.model_copy(update={"config": older}))
    assert load_run(copy).agent is not None
    trained(copy, agent_of(copy), resume=True, num_updates=5)
    assert updates(copy) == [0, 1, 2, 3, 4]


def test_only_the_settings_that_differ_are_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, begun = {"rl2": ("agent.ppo.clip_range", 0.2), "maml-ppo": ("agent.outer.clip_range", 0.3)}[agent_of(copy)]
    assert main(["train", "--resume", str(copy), f"{key}=0.5", "num_updates=6"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"{key} is 0.5, the run started with {begun}; leave it out, or begin a new run")
    assert len(line) < 300


@pytest.mark.parametrize("dies_in", ["summarize", "_save_finished"])
def test_a_kill_before_the_last_checkpoint_is_made_good(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    original: Any = getattr(RunLog if dies_in == "summarize" else train._Training, dies_in)

    def dying(self: Any, *arguments: Any) -> Any:
        if dies_in == "summarize" or self.update == 4:
            raise KeyboardInterrupt
        return original(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(RunLog if dies_in == "summarize" else train._Training, dies_in, dying)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "run", run.name)
    assert count_updates(tmp_path / "run", configured(run.name)) < 4
    trained(tmp_path / "run", run.name, resume=True)
    for name in ("last.safetensors", "best.safetensors", "validation.png"):
        assert (tmp_path / "run" / name).read_bytes() == (run / name).read_bytes()


def test_a_run_stopped_before_its_first_checkpoint_says_that_it_begins_again(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (copy / LAST).read_bytes()
    (copy / LAST).unlink()
    with pytest.raises(MetarlError, match=r"has metrics of 4 updates, but no last.safetensors; .*start_from="):
        trained(copy, agent_of(copy), resume=True)
    metrics = copy / "metrics.jsonl"
    metrics.write_text("".join(metrics.read_text().splitlines(keepends=True)[:2]))
    trained(copy, agent_of(copy), resume=True)
    assert "stopped before its first last.safetensors: it starts again, and its 2 updates are dropped" in (
        capsys.readouterr().err
    )
    assert (copy / LAST).read_bytes() == whole


def test_a_finished_run_is_not_called_so_under_another_config(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(copy), "--seed", "7"]) == 2
    assert "seed is 7, the run started with 0; leave it out" in capsys.readouterr().err
    assert main(["train", "--resume", str(copy), "num_updates=2"]) == 0
    assert "has 4 updates already, more than num_updates=2; to train on" in capsys.readouterr().out


def test_a_first_update_that_fails_does_not_keep_the_folder(tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match="needs at least 2"):
        trained(tmp_path / "run", rounds=1)
    trained(tmp_path / "run", num_updates=1)
    assert updates(tmp_path / "run") == [0]


@pytest.mark.parametrize("changed", [{"num_tasks": 4}, {"replicas": 3}, {"best_by": "trial"}])
def test_the_best_score_is_forgotten_where_validation_changes(copy: Path, changed: dict[str, int]) -> None:
    state, meta = load(copy / "last.safetensors")
    save(copy / "last.safetensors", state, meta.model_copy(update={"best": 1e9}))
    trained(copy, agent_of(copy), resume=True, num_updates=6, evaluation={"every": 2, "num_tasks": 3, **changed})
    assert load(copy / "best.safetensors")[1].update == 6
    measure = "return_trial" if "best_by" in changed else "return_after"
    assert load(copy / "last.safetensors")[1].best == read_metrics(copy)[-1][f"validation/{measure}"]


def test_the_best_score_is_kept_where_validation_stays_the_same(copy: Path) -> None:
    state, meta = load(copy / "last.safetensors")
    save(copy / "last.safetensors", state, meta.model_copy(update={"best": 1e9}))
    evaluation = {"every": 1, "num_tasks": 3, "replicas": 2}  # replicas spelled out, which were the training's before
    trained(copy, agent_of(copy), resume=True, num_updates=6, evaluation=evaluation)
    assert load(copy / "last.safetensors")[1].best == 1e9


def test_a_missing_file_of_an_environment_is_not_blamed_on_the_run_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from metarl.envs.points.navigation_2d import Navigation2D  # type: ignore[import-not-found, unused-ignore]

    def missing(*arguments: Any, **keywords: Any) -> None:
        raise FileNotFoundError(2, "No such file or directory", "ant.xml")

    monkeypatch.setattr(Navigation2D, "make_vec", missing)
    assert main(["train", str(write_config(tmp_path)), "--run-dir", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("metarl: error: ant.xml: No such file or directory")
    assert str(tmp_path / "run") not in line


def test_what_a_killed_save_left_behind_is_swept_when_the_run_goes_on(copy: Path) -> None:
    left = copy / ".last.safetensors.4194304.tmp"
    left.write_bytes(b"half")
    trained(copy, agent_of(copy), resume=True, num_updates=5)
    assert not left.exists()


def test_the_rate_counts_the_time_of_training_alone() -> None:
    stopwatch = Stopwatch()
    stopwatch.began -= 100.0
    stopwatch.seconds = {"trial": 2.0, "simulation": 1.0, "adaptation": 0.5, "update": 3.0, "evaluation": 95.0}
    metrics = time_shares(stopwatch, 50, Exchanged())
    assert metrics["time/steps_per_second"] == 10.0
    assert metrics["time/evaluation_share"] == pytest.approx(0.95, abs=0.01)
    assert metrics["time/rollout_share"] == pytest.approx(0.015, abs=0.001)
    assert metrics["time/adaptation_share"] == pytest.approx(0.005, abs=0.001)


def test_every_update_tells_the_return_of_every_round_and_where_the_time_went(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert line["return_round/1"] == line["return_before"]
        assert line["return_round/2"] == line["return_after"]
        shares = [line[f"time/{part}_share"] for part in ("rollout", "adaptation", "update", "evaluation")]
        assert all(share >= 0 for share in shares)
        assert sum(shares) <= 1


def test_a_trial_too_short_for_the_agent_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match="rounds is 1; 'maml-ppo' needs at least 2: 1 to adapt on and one to measure"):
        trained(tmp_path / "run", rounds=1)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["rl2", "multi-task-ppo"])
def test_trials_of_one_round_are_trained_and_validated(name: str, tmp_path: Path) -> None:
    small = {"name": name, "hidden_sizes": [8]} if name == "multi-task-ppo" else SMALL["rl2"]
    meta_train(TrainConfig(**config() | {"agent": small, "rounds": 1}), tmp_path / "run", progress=False)
    last = read_metrics(tmp_path / "run")[-1]
    assert last["validation/return_before"] == last["validation/return_after"]
    assert "validation/gain" not in last


def test_an_update_that_fails_stops_training_with_the_agent_of_before_in_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = OverTasks.task_gradients, []

    def poisoned(over_tasks: Any, rounds: Any) -> Any:
        gradients, outcome = real(over_tasks, rounds)
        calls.append(0)
        if len(calls) > 2 * 5 + 1:  # 2 epochs an update: in the second epoch of the sixth
            gradients["log_std"][0] = np.nan
        return gradients, outcome

    trained(tmp_path / "plain", num_updates=5)
    monkeypatch.setattr(OverTasks, "task_gradients", poisoned)
    with pytest.raises(MetarlError) as caught:
        trained(tmp_path / "run", num_updates=9, checkpoint_every=3)
    line = str(caught.value)
    assert line.startswith("update 5: outer epoch 2: the meta-gradient of log_std is nan in 1 of ")
    assert "take a lower agent.inner_lr or agent.outer.learning_rate" in line
    assert line.endswith("last.safetensors holds the agent from before")
    state, meta = load(tmp_path / "run" / "last.safetensors")
    assert meta.update == 5
    expected, _ = load(tmp_path / "plain" / "last.safetensors")
    assert all(np.array_equal(np.asarray(value), np.asarray(expected[name])) for name, value in state.items())


def test_runs_of_different_seeds_are_validated_on_the_same_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def recorded(*arguments: Any, **keywords: Any) -> Any:
        seen.append(evaluate(*arguments, **keywords))
        return seen[-1]

    monkeypatch.setattr(train, "evaluate", recorded)
    for seed in (1, 2):
        trained(tmp_path / str(seed), seed=seed, num_updates=1)
    first, second = seen
    assert list(first.tasks) == list(second.tasks)
    assert first.plan == second.plan
    assert (first.plan.split, first.plan.seed) == ("validation", 0)


def test_every_update_has_random_numbers_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds, drawn = [], []
    cls: Any = AGENTS["maml-ppo"]
    update = cls.update

    def played(*arguments: Any, seed: int, **keywords: Any) -> Any:
        seeds.append(seed)
        return run_sharded_trial(*arguments, seed=seed, **keywords)

    def updated(self: Any, trial: Any, rng: np.random.Generator) -> Any:
        drawn.append(float(rng.random()))
        return update(self, trial, rng)

    monkeypatch.setattr(train, "run_sharded_trial", played)
    monkeypatch.setattr(cls, "update", updated)
    trained(tmp_path / "run")
    trained(tmp_path / "other", seed=1)
    assert len(set(seeds)) == len(seeds) == 8
    assert len(set(drawn)) == len(drawn) == 8


def test_a_trial_that_leaves_the_numbers_stops_training_as_an_update_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = OverTasks.start, []

    def poisoned(over_tasks: Any, num_tasks: int) -> Any:
        calls.append(0)
        return {
            n: value * (math.nan if len(calls) > limit else 1.0) for n, value in real(over_tasks, num_tasks).items()
        }

    monkeypatch.setattr(OverTasks, "start", poisoned)
    # Two learners an update, and one in the evaluation of every second.
    limit = 10
    with pytest.raises(MetarlError, match=r"^update 4: .*are not finite .*; training stopped, .* holds the agent"):
        trained(tmp_path / "run", num_updates=9, rounds=3, rollout_shards=1)
    assert load(tmp_path / "run" / "last.safetensors")[1].update == 4
    limit = 9
    calls.clear()
    with pytest.raises(MetarlError, match=r"^update 3: evaluation: .*are not finite .*; training stopped, .* holds"):
        trained(tmp_path / "other", num_updates=9, rounds=3, rollout_shards=1)
    assert load(tmp_path / "other" / "last.safetensors")[1].update == 3
