"""Groups of runs: pooled numbers, names, and evaluations that do not compare."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.base.streams import generator
from metarl.evaluation.statistics import crossed_bootstrap, iqm
from metarl.families.load import load
from metarl.report.groups import group_runs
from metarl.report.runs import read_run
from tests.report.run_folders import (
    TASKS,
    page,
    run_folder,
    scores,
    three_seeds,
    write_reference,
    write_variant,
)


def test_numbers_pool_seeds_and_tasks_as_an_independent_computation_does(tmp_path: Path) -> None:
    (group,) = group_runs([read_run(path) for path in three_seeds(tmp_path)])
    pooled = np.concatenate([scores(seed) for seed in (1, 2, 3)])
    ordered = np.sort(pooled, axis=0)
    np.testing.assert_allclose(group.iqm, ordered[6:18].mean(axis=0))
    change = np.sort(pooled[:, 1] - pooled[:, 0])
    assert group.gain[0] == pytest.approx(change[6:18].mean())
    # The interval itself is tested in test_statistics.py; this is that the right numbers come to it.
    drawn = generator(0, "bootstrap")
    low, high = crossed_bootstrap(np.stack([scores(seed) for seed in (1, 2, 3)]), iqm, rng=drawn)
    np.testing.assert_array_equal(group.interval, np.stack([low, high], axis=-1))


def test_settings_of_one_agent_are_named_by_the_keys_that_differ(tmp_path: Path) -> None:
    runs = three_seeds(tmp_path)
    other = run_folder(tmp_path / "other", scores(9), seed=1)
    text = (other / "config.yaml").read_text().replace("inner_lr: 0.1", "inner_lr: 0.25")
    (other / "config.yaml").write_text(text)
    groups = group_runs([read_run(path) for path in [*runs, other]])
    assert [group.name for group in groups] == ["maml-ppo", "maml-ppo agent.inner_lr=0.25"]
    assert [len(group.runs) for group in groups] == [3, 1]


def test_a_single_seed_has_the_intervals_of_its_evaluation_file(tmp_path: Path) -> None:
    run = read_run(run_folder(tmp_path / "run", scores(0), seed=3))
    (group,) = group_runs([run])
    np.testing.assert_array_equal(group.interval, run.evaluation.interval)
    np.testing.assert_array_equal(group.gain[1], run.evaluation.gain.interval)


def test_runs_that_do_not_compare_are_refused_in_one_line(tmp_path: Path) -> None:
    first = run_folder(tmp_path / "a", scores(1), seed=1)
    others = {
        "c/evaluation.json are of different tasks: number 1 is .*; ": run_folder(
            tmp_path / "c", scores(0), seed=7, tasks=load("navigation-2d").sample("test", TASKS, seed=1)
        ),
        "differ in seed: 0, 1; ": run_folder(tmp_path / "s", scores(0), seed=7, tasks_seed=1),
        "a and .*d have the same setting and seed": run_folder(tmp_path / "d", scores(0), seed=1),
        "a/evaluation.json and .*e/evaluation.json differ in rounds: 2, 1; ": run_folder(
            tmp_path / "e", scores(0)[:, :1], seed=7, env_steps_per_task=np.full((TASKS, 1), 10.0)
        ),
        "differ in num_tasks: 8, 4; ": run_folder(tmp_path / "g", scores(0)[:4], seed=7),
        "differ in split: 'test', 'extrapolation'; ": run_folder(
            tmp_path / "h", scores(0), seed=7, split="extrapolation"
        ),
        "differ in replicas: 2, 1; ": run_folder(tmp_path / "i", scores(0), seed=7, replicas=1),
    }
    for message, other in others.items():
        with pytest.raises(MetarlError, match=message):
            group_runs([read_run(first), read_run(other)])


def test_references_of_one_name_with_different_returns_are_refused(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2)]
    for run, theirs in zip(runs, (scores(8), scores(9)), strict=True):
        write_reference(run, "sb3-ppo", returns=theirs)
    with pytest.raises(
        MetarlError, match=r"are both of agent 'sb3-ppo', with different returns.*; leave one of them out"
    ):
        group_runs([read_run(run) for run in runs])


def test_untrained_agents_of_several_runs_are_seeds_of_one_reference(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2, 3)]
    for run, theirs in zip(runs, (scores(7), scores(8), scores(7)), strict=True):
        write_reference(run, "sb3-ppo (untrained)", returns=theirs)
    _, scratch = group_runs([read_run(run) for run in runs])
    np.testing.assert_array_equal(scratch.returns, [scores(7), scores(8)])  # the same numbers are of the same seed
    assert page(runs).count("--agent sb3-ppo ") == 2


def test_a_trained_agent_with_other_settings_is_a_group_of_its_own(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed, trained={"updates": 4}) for seed in (1, 2, 3)]
    for number, run in enumerate(runs):
        write_variant(run, scores(10 + number), adapts=True)
    other = run_folder(tmp_path / "other", scores(4), trained={"updates": 4})
    config = other / "config.yaml"
    config.write_text(re.sub(r"num_updates: \d+", "num_updates: 9", config.read_text()))
    write_variant(other, scores(20), adapts=True)
    groups = group_runs([read_run(run) for run in (*runs, other)])
    first, second = (f"maml-ppo num_updates={number}" for number in (read_run(runs[0]).config["num_updates"], 9))
    assert [group.name for group in groups] == [first, f"{first} adapts=true", second, f"{second} adapts=true"]
    np.testing.assert_array_equal(groups[1].returns, [scores(10), scores(11), scores(12)])
    np.testing.assert_array_equal(groups[3].returns, [scores(20)])


def test_reference_on_another_split_is_ignored(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    family = load("navigation-2d")
    write_reference(run, "random", split="extrapolation", tasks=family.sample("extrapolation", TASKS, seed=0))
    assert [group.name for group in group_runs([read_run(run)])] == ["maml-ppo"]
