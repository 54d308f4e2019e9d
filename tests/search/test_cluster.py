"""Studies on Ray: what a trial keeps, and what of it the study takes. The tests with Ray itself need its package."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from metarl.base.errors import MetarlError
from metarl.cli.tune import load_with
from metarl.search.cluster import record, run_on_ray
from metarl.search.hyperopt import place_of
from metarl.search.plan import Plan
from metarl.search.remote import Remote, folder_of, labels_of
from metarl.search.samplers import distribution
from metarl.search.storage import locked, open_study
from tests.search.small_studies import plan

MIXED = {
    "agent.inner_lr": {"low": 0.01, "high": 1.0, "log": True},
    "agent.outer.num_epochs": {"low": 1, "high": 5, "step": 2},
    "agent.outer.clip_range": {"low": 0.1, "high": 0.3, "step": 0.1},
    "agent.hidden_sizes": [[8], [8, 8]],
}


def on_ray(place: Path, **changes: Any) -> Plan:
    """Return the plan of a study on Ray, which pickles it."""
    load = functools.partial(load_with, str(place / "maml-ppo.yaml"), [])
    return plan(place, MIXED, **{"engine": "ray", "sampler": "tpe", "storage": None, "load": load, **changes})


def test_what_hyperopt_chooses_by_place_are_values_of_the_space(tmp_path: Path) -> None:
    asked = plan(tmp_path, MIXED, sampler="hyperopt")
    labels = {
        "agent.inner_lr": 0.05,
        "agent.outer.num_epochs": 5,
        "agent.outer.clip_range": pytest.approx(0.2),
        "agent.hidden_sizes": "[8, 8]",
    }
    given = {"agent.inner_lr": 0.05, "agent.outer.num_epochs": 5, "agent.outer.clip_range": 0.2}
    point = {
        each.key: place_of({**given, "agent.hidden_sizes": "[8, 8]"}[each.key], distribution(each))
        for each in asked.space
    }
    assert list(point.values()) == [0.05, 2.0, 1.0, 1]
    assert labels_of(asked, point) == labels


def test_a_name_that_ray_gives_twice_is_two_folders(tmp_path: Path) -> None:
    asked = plan(tmp_path)
    first = folder_of(asked, "a1", {"agent.inner_lr": 0.1})
    Remote({"agent.inner_lr": 0.1}).save(first)
    assert folder_of(asked, "a1", {"agent.inner_lr": 0.1}) == first
    assert folder_of(asked, "a1", {"agent.inner_lr": 0.2}).name == "a1-again"


def test_a_study_takes_each_trial_of_ray_once_in_the_order_of_their_beginnings(tmp_path: Path) -> None:
    asked = plan(tmp_path)
    study = open_study(asked)
    trials = {
        "c": Remote({"agent.inner_lr": 0.1}, 1.0, [3.0, 4.0], [400, 400], {"100": 1.0, "800": 3.5}, "COMPLETE"),
        "a": Remote({"agent.inner_lr": 0.2}, 2.0, [3.0], [400], {"100": 1.0, "500": 2.5}),
        "b": Remote({"agent.inner_lr": 0.3}, 3.0, state="FAIL", error="update 0: agent/loss is nan"),
    }
    for name, remote in trials.items():
        remote.save(asked.folder / "trials" / name)
    assert list(record(asked, study)) == [0, 1, 2]
    assert list(record(asked, study)) == []
    found = study.get_trials()
    assert [each.user_attrs["folder"] for each in found] == ["c", "a", "b"]
    assert [each.state for each in found] == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    assert (found[0].value, found[0].intermediate_values) == (3.5, {100: 1.0, 800: 3.5})
    assert [each.user_attrs["env_steps"] for each in found] == [[400, 400], [400, 100], []]
    assert found[2].user_attrs["error"] == "update 0: agent/loss is nan"


def test_a_study_on_ray_keeps_its_number_of_trials_and_its_engine(tmp_path: Path) -> None:
    open_study(plan(tmp_path, engine="ray", trials=4))
    with pytest.raises(MetarlError, match=r"another trials: --trials is 5, it was 4"):
        open_study(plan(tmp_path, engine="ray", trials=5))
    with pytest.raises(MetarlError, match=r"another engine: --engine is 'optuna', it was 'ray'"):
        open_study(plan(tmp_path, trials=4))


# Ray reads its token when it is imported: a study imports it, and not a test before.
WITH_RAY = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
KILLED = """
import sys
from pathlib import Path
from metarl.search.cluster import run_on_ray
from metarl.search.storage import locked
from tests.search.test_cluster import on_ray

asked = on_ray(Path(sys.argv[1]), trials=4, workers=2)
with locked(asked.folder):
    run_on_ray(asked, lambda line: None)
"""


@pytest.mark.slow
@WITH_RAY
def test_ray_goes_on_with_a_study_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_SECONDS", "0.2")
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)])
    finished: dict[str, Any] = {}
    while not finished:
        assert process.poll() is None
        time.sleep(0.05)
        found = {path.parent.name: json.loads(path.read_text()) for path in tmp_path.glob("study/trials/*/trial.json")}
        finished = {name: each for name, each in found.items() if each["state"] == "COMPLETE"}
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    asked = on_ray(tmp_path, trials=4, workers=2)
    with locked(asked.folder):
        study = run_on_ray(asked, lambda line: None)
    assert [each.state for each in study.get_trials()] == [TrialState.COMPLETE] * 4
    kept = {each.user_attrs["folder"]: each.params for each in study.get_trials()}
    assert all(kept[name] == each["params"] for name, each in finished.items())


@pytest.mark.slow
@WITH_RAY
@pytest.mark.parametrize(("sampler", "pruner"), [("hyperopt", "asha"), ("random", "median")])
def test_ray_plays_the_trials_of_every_sampler(tmp_path: Path, sampler: str, pruner: str) -> None:
    asked = on_ray(tmp_path, sampler=sampler, pruner=pruner, trials=3, workers=2)
    with locked(asked.folder):
        study = run_on_ray(asked, lambda line: None)
    states = [each.state for each in study.get_trials()]
    assert len(states) == 3 and TrialState.COMPLETE in states and TrialState.FAIL not in states
    assert (asked.folder / "best.yaml").exists()
