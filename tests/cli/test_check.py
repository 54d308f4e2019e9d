"""`metarl check` tells of every check that it runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.checks.check import Subject, check_all, subjects
from metarl.cli.main import main
from metarl.families.family import FAMILIES
from metarl.trials.registered import AGENTS
from tests.envs.recommender.making import ratings_csv, write_csv
from tests.small_runs import children_of, command, started


def test_check_passes_a_good_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "point-sparse"]) == 0
    assert "point-sparse: all checks passed" in capsys.readouterr().out


def test_a_family_of_data_of_ones_own_needs_no_package_of_the_data_that_it_has_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(FAMILIES["ratings"], "requires", "no_such_package")
    path = tmp_path / "shop.yaml"
    path.write_text(f"family: ratings\nfile: {write_csv(tmp_path, ratings_csv())}\nshots: 2\nqueries: 2\n")
    assert main(["check", str(path), "--quiet"]) == 0
    assert main(["families", str(path)]) == 0
    out = capsys.readouterr().out
    assert "all checks passed" in out and "observation:" in out and "no_such_package" not in out
    assert main(["check", "ratings"]) == 2
    assert "needs package 'no_such_package', which is not installed" in capsys.readouterr().err


SOME = [
    Subject("agent", "random"),
    Subject("family", "point-sparse", "pearl"),
    Subject("family", "navigation-2d", "maml"),
]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_check_all_says_how_each_did(
    jobs: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("metarl.checks.check.subjects", lambda: SOME)
    assert main(["check", "--all", "--jobs", jobs, "--quiet"]) == 0
    out, err = capsys.readouterr()
    *lines, last = out.splitlines()
    assert err == ""
    assert all(re.fullmatch(r"passed +\d+\.\d s  .*", line) for line in lines), lines
    assert sorted(line.split("s  ", 1)[1] for line in lines) == sorted(map(str, SOME))
    assert re.fullmatch(r"3 passed, 0 failed, 0 skipped in \d+ s", last)


def test_check_all_takes_every_family_in_every_preset_and_every_agent() -> None:
    presets = [(name, preset) for name in FAMILIES for preset in FAMILIES[name].presets or [None]]
    everything = subjects()
    assert [(subject.name, subject.preset) for subject in everything if subject.kind == "family"] == presets
    assert [subject.name for subject in everything if subject.kind == "agent"] == list(AGENTS)


def test_check_all_goes_on_after_a_failure_and_says_what_was_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("metarl.checks.check.subjects", lambda: SOME)
    monkeypatch.setattr(
        FAMILIES["point-sparse"], "reward", lambda self, before, action, after, task: np.nan * action[:, 0]
    )
    monkeypatch.setattr(FAMILIES["navigation-2d"], "requires", "no_such_package")
    monkeypatch.setitem(FAMILIES.broken, "their.package", "ImportError: no")
    assert main(["check", "--all", "--jobs", "1", "--quiet"]) == 2
    out, err = capsys.readouterr()
    passed, failed, skipped, last = out.splitlines()
    assert passed.startswith("passed") and failed.startswith("FAILED") and skipped.startswith("skipped")
    assert "needs package 'no_such_package', which is not installed" in skipped
    assert last.startswith("1 passed, 1 failed, 1 skipped in ")
    *findings, plugin, error = err.splitlines()
    assert findings
    assert all(finding.startswith("family 'point-sparse', preset 'pearl': ") for finding in findings)
    assert plugin == "plug-in their.package failed to import: ImportError: no"
    assert error == ("metarl: error: these did not pass: family point-sparse, preset pearl; plug-in their.package")


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [("shows_task", True, "not checked that it hides the task"), ("pauses", False, "not checked that worlds wait")],
)
def test_check_all_says_which_checks_do_not_apply(
    attribute: str,
    value: bool,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("metarl.checks.check.subjects", lambda: SOME[1:2])
    monkeypatch.setattr(FAMILIES["point-sparse"], attribute, value)
    assert main(["check", "--all", "--jobs", "1", "--quiet"]) == 0
    assert words in capsys.readouterr().out


def test_a_checking_process_that_dies_costs_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in that takes its process down, in the workers alone: they look for plug-ins, this process has done so."""
    (tmp_path / "deadly.py").write_text("import os\nos._exit(1)\n")
    (tmp_path / "deadly-1.0.dist-info").mkdir()
    (tmp_path / "deadly-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly\nVersion: 1.0\n")
    (tmp_path / "deadly-1.0.dist-info" / "entry_points.txt").write_text("[metarl.families]\ndeadly = deadly\n")
    list(FAMILIES)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MetarlError, match="a checking process was killed; run with --jobs 1"):
        check_all(2, SOME)


def test_a_module_that_only_a_checking_process_cannot_import_is_told_as_its_author_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["import multiprocessing", "if multiprocessing.parent_process():", "    raise ValueError('not here')"]
    (tmp_path / "shy.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("metarl.base.code._imported", {"shy": None})
    rule = "^module 'shy' cannot be imported in a process of the check: ValueError: not here$"
    with pytest.raises(MetarlError, match=rule):
        check_all(2, SOME)
    told = capsys.readouterr().err
    assert f'File "{tmp_path}/shy.py", line 3' in told and told.endswith("ValueError: not here\n")
    assert "metarl/checks" not in told


MANY = """
import metarl.checks.check as check
from metarl.cli.main import main
check.subjects = lambda: [check.Subject("agent", "random")] * 10_000
raise SystemExit(main(["check", "--all", "--jobs", "2"]))
"""
"""Checks without an end, of which each is short."""


def test_ctrl_c_ends_check_all_at_once() -> None:
    pipe = subprocess.PIPE
    words = [sys.executable, "-c", MANY]
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("passed")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors.splitlines()[-1]) == (130, "metarl: interrupted by SIGINT")


@pytest.mark.slow
def test_everything_registered_passes_check_all() -> None:
    done = subprocess.run(command("check", "--all"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")
def test_a_signal_to_checks_of_everything_ends_their_processes_too() -> None:
    pipes, children = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}, set[int]()
    with started("check", "--all", "--jobs", "2", warm=False, **pipes) as process:
        deadline = time.monotonic() + 60
        while len(children) < 3:  # both, and multiprocessing's tracker of resources
            assert time.monotonic() < deadline and process.poll() is None
            children |= children_of(process.pid)
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 143
    ended = time.monotonic() + 10
    while alive := [child for child in children if Path(f"/proc/{child}").exists()]:
        assert time.monotonic() < ended, alive
        time.sleep(0.02)
