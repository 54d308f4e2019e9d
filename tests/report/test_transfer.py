"""What a start from another run is worth, beside the same setting from scratch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy import stats

from metarl.report.groups import Group, group_runs
from metarl.report.runs import read_run
from metarl.report.transfer import transfer_table, transfers
from tests.report.run_folders import page, run_folder, scores


def curve_of(run: Path, values: list[float], *, before: int = 0) -> None:
    """Give a run these validations, and the steps of a run that it started from."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line, value in zip(lines, values, strict=True):
        line |= {"validation/return_after": value, "env_steps": line["env_steps"] * (2000 if before else 1000) + before}
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if before:
        record = json.loads((run / "run.json").read_text())
        record["sessions"][0]["started_from"] = {"run": "a", "updates": 1, "env_steps": before, "minutes": 1.0}
        (run / "run.json").write_text(json.dumps(record))
        config = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump({**config, "start_from": {"run": "a", "take": "fitting"}}))


def both(folder: Path, started: list[list[float]], fresh: list[list[float]], **changes: Any) -> list[Path]:
    runs = []
    for kind, curves, before in (("started", started, 5000), ("fresh", fresh, 0)):
        for seed, values in enumerate(curves):
            run = run_folder(folder / f"{kind}{seed}", scores(seed), seed=seed, **changes)
            curve_of(run, values, before=before)
            runs.append(run)
    return runs


def groups_of(runs: list[Path]) -> list[Group]:
    return group_runs([read_run(run) for run in runs])


STARTED = [[2.0, 3.0, 4.0, 5.0], [2.5, 3.5, 4.0, 5.0]]
FRESH = [[0.0, 1.0, 2.0, 4.0], [0.0, 1.0, 3.0, 4.0]]


def test_differences_are_paired_by_seed_with_t_intervals(tmp_path: Path) -> None:
    header, row = transfer_table(groups_of(both(tmp_path, STARTED, FRESH))).plain_rows()
    found = dict(zip(header, row, strict=True))
    gaps = np.array(STARTED) - np.array(FRESH)
    for name, values in (("jump start", gaps[:, 0]), ("area", gaps.mean(axis=1)), ("final", gaps[:, -1])):
        mean, *ends = (float(word.strip("[],+")) for word in found[name].split())
        assert mean == pytest.approx(values.mean(), abs=0.01)
        margin = stats.t.ppf(0.975, 1) * values.std(ddof=1) / np.sqrt(2)
        np.testing.assert_allclose(ends, [values.mean() - margin, values.mean() + margin], rtol=0, atol=0.06)
    assert found["transfer"] == "positive"
    assert found["env steps before (M)"] == "0.01"


def test_steps_to_the_level_from_scratch_are_those_of_their_own_training(tmp_path: Path) -> None:
    (found,) = transfers(groups_of(both(tmp_path, STARTED, FRESH)))
    # Runs that started spent twice as many: each side counts its own.
    np.testing.assert_allclose(found.steps, [1.2e6, 2.4e6, 3.6e6, 4.8e6])
    np.testing.assert_allclose(found.fresh_steps, [0.6e6, 1.2e6, 1.8e6, 2.4e6])
    assert found.spent_before == 5000
    header, row = transfer_table([found.group, found.scratch]).plain_rows()
    cells = dict(zip(header, row, strict=True))
    # 4 is the last level from scratch: reached by the third validation with a start, and by the fourth without.
    assert (cells["level"], cells["env steps to it (M)"], cells["from scratch (M)"]) == ("4.00", "3.60", "2.40")


def test_a_curve_from_scratch_reaches_its_own_level_whatever_the_rounding(tmp_path: Path) -> None:
    values = np.random.default_rng(2).random((9, 4))
    values[:, -1] += 1
    (found,) = transfers(groups_of(both(tmp_path, values.tolist(), values.tolist())))
    assert found.fresh[:, -1].mean() > found.fresh.mean(axis=0)[-1], "the two sums must round otherwise"
    header, row = transfer_table([found.group, found.scratch]).plain_rows()
    assert dict(zip(header, row, strict=True))["from scratch (M)"] == "2.40"


def test_a_run_that_was_trained_longer_is_compared_as_far_as_both_go(tmp_path: Path) -> None:
    runs = both(tmp_path, STARTED, FRESH)
    for run in runs[:2]:
        config = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump({**config, "num_updates": config["num_updates"] + 5}))
    assert len(transfers(groups_of(runs))) == 1


def test_a_start_that_hurts_is_negative_and_one_that_may_not_is_not_shown(tmp_path: Path) -> None:
    for name, started, verdict in (
        ("worse", [[-1.0, -1.0, 0.0, 1.0]] * 2, "negative"),
        ("either", [[2.0, 3.0, 4.0, 5.0], [-2.0, -1.0, 0.0, 1.0]], "not shown"),
    ):
        *_, row = transfer_table(groups_of(both(tmp_path / name, started, FRESH))).plain_rows()
        assert row[-1] == verdict


def test_one_seed_has_no_interval_and_no_verdict(tmp_path: Path) -> None:
    (found,) = transfers(groups_of(both(tmp_path, STARTED[:1], FRESH[:1])))
    *_, row = transfer_table([found.group, found.scratch]).plain_rows()
    assert row[-1] == "not shown"


def test_a_setting_of_its_own_from_scratch_is_needed(tmp_path: Path) -> None:
    started = both(tmp_path, STARTED, FRESH)[:2]
    assert not transfer_table(groups_of(started)).rows
    assert "## Transfer" not in page(started)
    assert "## Transfer" in page([*started, *(tmp_path / f"fresh{seed}" for seed in range(2))])
