"""One damaged file costs its run, its row or its video, and one line that names it: never the page."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.cli.main import main
from metarl.evaluation.record import Evaluation
from metarl.report import videos
from metarl.report.about import About
from metarl.report.groups import group_runs
from metarl.report.html import html_page
from metarl.report.runs import read_run
from tests.report.run_folders import TASKS, run_folder, scores
from tests.scripted import altered


def edit(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """Return what changes the JSON in a file of a run's folder."""

    def damage(run: Path) -> None:
        path = run / name
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return damage


def line_of_metrics(**changes: Any) -> Callable[[Path], None]:
    """Return what changes the third line of a run's metrics."""

    def damage(run: Path) -> None:
        path = run / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        lines[2] = json.dumps({**json.loads(lines[2]), **changes}) + "\n"
        path.write_text("".join(lines))

    return damage


def write(name: str, content: bytes) -> Callable[[Path], Any]:
    return lambda run: (run / name).write_bytes(content)


def to_fifo(name: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)

    return damage


def to_link(name: str) -> Callable[[Path], None]:
    def damage(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to("/etc/passwd")

    return damage


def in_agent(**changes: Any) -> Callable[[Path], None]:
    return edit("evaluation.json", lambda found: {**found, "agent": {**found["agent"], **changes}})


def steps(number: float) -> Callable[[Path], None]:
    return edit("evaluation.json", lambda found: {**found, "env_steps_per_task": [[number] * 2] * TASKS})


def append(name: str, text: str) -> Callable[[Path], Any]:
    return lambda run: (run / name).write_text((run / name).read_text() + text)


def session(**changes: Any) -> Callable[[Path], None]:
    return edit("run.json", lambda found: {"sessions": [{**found["sessions"][0], **changes}]})


OF_A_RUN: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "trained is a list": ("evaluation.json", in_agent(trained=[1])),
    "name is a number": ("evaluation.json", in_agent(name=3)),
    "steps without end": ("evaluation.json", steps(1e300)),
    "negative steps": ("evaluation.json", steps(-5)),
    "cut evaluation": ("evaluation.json", lambda run: os.truncate(run / "evaluation.json", 700)),
    "empty evaluation": ("evaluation.json", write("evaluation.json", b"")),
    "evaluation of bytes": ("evaluation.json", write("evaluation.json", b"\xff\xfe\0")),
    "deep evaluation": ("evaluation.json", write("evaluation.json", b"[" * 200_000)),
    "evaluation is a FIFO": ("evaluation.json", to_fifo("evaluation.json")),
    "evaluation is a link": ("evaluation.json", to_link("evaluation.json")),
    "update is text": ("metrics.jsonl:3", line_of_metrics(update="2")),
    "update is true": ("metrics.jsonl:3", line_of_metrics(update=True)),
    "update twice": ("metrics.jsonl:3", line_of_metrics(update=1)),
    "infinite env steps": ("metrics.jsonl:3", line_of_metrics(env_steps=float("inf"))),
    "huge env steps": ("metrics.jsonl:3", line_of_metrics(env_steps=10**400)),
    "negative env steps": ("metrics.jsonl:3", line_of_metrics(env_steps=-1)),
    "no speed": ("metrics.jsonl:3", line_of_metrics(**{"time/steps_per_second": 0})),
    "speed is no number": ("metrics.jsonl:3", line_of_metrics(**{"time/steps_per_second": float("nan")})),
    "validation is a list": ("metrics.jsonl:3", line_of_metrics(**{"validation/return_after": [1]})),
    "a line of brackets": ("metrics.jsonl:1", write("metrics.jsonl", b"[" * 200_000 + b"\n{}\n")),
    "metrics are a FIFO": ("metrics.jsonl", to_fifo("metrics.jsonl")),
    "metrics are a link": ("metrics.jsonl", to_link("metrics.jsonl")),
    "sessions are brackets": ("run.json", write("run.json", b"[" * 200_000)),
    "versions are a list": ("run.json", session(versions=[1])),
    "a command of numbers": ("run.json", session(command=["metarl", 3])),
    "started from nowhere": ("run.json", session(started_from={"env_steps": float("nan"), "minutes": 1})),
    "config is empty": ("config.yaml", write("config.yaml", b"")),
    "config is of another version": ("config.yaml", append("config.yaml", "sail: 3\n")),
    "config is binary": ("config.yaml", write("config.yaml", b"\0\xff")),
    "config is a FIFO": ("config.yaml", to_fifo("config.yaml")),
}  # fmt: skip


@pytest.mark.parametrize("damage", OF_A_RUN)
def test_a_damaged_run_is_left_out_in_one_line_and_the_others_are_shown(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = (run_folder(tmp_path / name, scores(n), seed=n) for n, name in enumerate(("good", "bad")))
    name, hurt = OF_A_RUN[damage]
    hurt(bad)
    assert main(["report", str(bad), str(good), "-o", str(tmp_path / "page.tex")]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("metarl: warning: left out: ") and f"{bad}/{name}" in line and len(line) <= 400
    assert "maml-ppo" in (tmp_path / "page.tex").read_text()
    assert main(["report", str(bad), "-o", str(tmp_path / "page.tex")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("metarl: error: ") and f"{bad}/{name}" in line


@pytest.mark.parametrize("damage", [name for name, (file, _) in OF_A_RUN.items() if file == "evaluation.json"])
def test_a_damaged_reference_costs_its_row_and_one_line(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_folder(tmp_path / "run", scores(0))
    own = (run / "evaluation.json").read_bytes()
    OF_A_RUN[damage][1](run)
    (run / "evaluation.json").rename(run / "evaluation-random.json")
    (run / "evaluation.json").write_bytes(own)
    assert main(["report", str(run), "-o", str(tmp_path / "page.tex")]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("metarl: warning: left out: ") and f"{run}/evaluation-random.json" in line


VIDEOS: dict[str, Callable[[Path], Any]] = {
    "no GIF": write("adaptation.gif", b"\x89PNG"),
    "empty": write("adaptation.gif", b""),
    "a link": to_link("adaptation.gif"),
    "a FIFO": to_fifo("adaptation.gif"),
    "too large": lambda run: (write("adaptation.gif", b"GIF89a")(run), os.truncate(run / "adaptation.gif", 2**26 + 1)),
}


@pytest.mark.parametrize("damage", VIDEOS)
def test_a_video_that_cannot_be_shown_costs_its_place_and_one_line(
    damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [run_folder(tmp_path / f"s{n}", scores(n), seed=n) for n in range(2)]
    VIDEOS[damage](runs[0])
    (runs[1] / "adaptation.gif").write_bytes(b"GIF89a of the other run")
    text = videos.videos(group_runs([read_run(run) for run in runs]))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("metarl: warning: left out: ") and f"{runs[0]}/adaptation.gif" in line
    assert text.count("<img ") == 1 and text.count("Left out: ") == 1
    assert "root:" not in text


def test_a_video_that_the_system_does_not_read_costs_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_folder(tmp_path / "run", scores(0))
    (run / "adaptation.gif").write_bytes(b"GIF89a")

    def fail(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    groups = group_runs([read_run(run)])
    monkeypatch.setattr(Path, "read_bytes", fail)
    assert "adaptation.gif cannot be read (Permission denied)" in videos.videos(groups)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_addresses_of_wandb_are_read_from_the_run_alone_and_no_further_than_they_can_be_shown(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{n}", scores(n), seed=n) for n in range(3)]
    for run in runs:
        (run / "wandb").mkdir()
    (tmp_path / "elsewhere").write_text("https://secret.example")
    (runs[0] / "wandb" / "urls.txt").symlink_to(tmp_path / "elsewhere")
    (runs[1] / "wandb" / "urls.txt").write_bytes(b"\xff\xfe")
    os.mkfifo(runs[2] / "wandb" / "urls.txt")
    text = html_page(group_runs([read_run(run) for run in runs]), About(""))
    assert "secret.example" not in text


@pytest.mark.parametrize(
    ("family", "values"),
    [
        ("os:system", {"goal": np.zeros((TASKS, 2))}),
        ("/etc/x.yaml", {"goal": np.zeros((TASKS, 2))}),
        ("navigation-2d", {}),
        ("navigation-2d", {"other": np.zeros(TASKS)}),
        ("navigation-2d", {"goal": np.full((TASKS, 2), 1e100) * np.array([[1], [-1]] * (TASKS // 2))}),
    ],
)
def test_families_and_tasks_that_are_not_known_here_are_shown_without_units(
    family: str, values: dict[str, np.ndarray], tmp_path: Path
) -> None:
    run = run_folder(tmp_path / "run", scores(0))
    own = Evaluation.load(run / "evaluation.json")
    tasks = type(own.tasks)(values, own.tasks.index)
    for settings in ({}, {"name": "x", "preset": 3}):
        altered(own, family=family, tasks=tasks, settings=settings).save(run / "evaluation.json")
        html_page(group_runs([read_run(run)]), About(""))
