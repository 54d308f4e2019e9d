"""A repair of a run's files keeps what it takes out, and every line that is whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metarl.training.claim import claim_folder
from metarl.training.repair import repair_metrics
from tests.small_runs import read_metrics, trained


def lines(count: int) -> list[bytes]:
    return [json.dumps({"update": update, "env_steps": 10 * update}).encode() + b"\n" for update in range(count)]


def repaired(folder: Path, data: bytes, updates: int) -> list[int]:
    """Write a metrics file, repair it, and return the updates that are left in it."""
    path = folder / "metrics.jsonl"
    path.write_bytes(data)
    claim = claim_folder([folder])
    kept = repair_metrics(claim.metrics, path, updates)
    claim.release()
    assert path.read_bytes() == b"".join(kept) if path.exists() else not kept
    return [json.loads(line)["update"] for line in kept]


@pytest.mark.parametrize(
    ("number", "damage"),
    [
        (2, b"\0" * 30 + b"\n"),
        (2, b'{"update": 2, "env_\n'),
        (0, b"\n"),
        (8, b'{"update": 1}\n'),
        (3, b"[3]\n"),
        (3, b'{"update": true}\n'),
        (3, b"\xff\xfe\n"),
    ],
)
def test_a_damaged_line_costs_itself_alone_and_the_file_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int, damage: bytes
) -> None:
    damaged = lines(10)
    damaged[number] = damage
    left = [update for update in range(10) if update != number]
    assert repaired(tmp_path, b"".join(damaged), 10) == left
    assert (tmp_path / "metrics.jsonl.damaged-1").read_bytes() == b"".join(damaged)
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.endswith("had 1 damaged line, now left out; the old file is kept as metrics.jsonl.damaged-1")
    assert repaired(tmp_path, b"".join(damaged), 10) == left
    assert (tmp_path / "metrics.jsonl.damaged-2").exists()


@pytest.mark.parametrize("end", [b"", b'{"update": 10, "env', b'{"update": 10, "env_steps": 1}'])
def test_what_a_kill_leaves_is_no_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str], end: bytes) -> None:
    assert repaired(tmp_path, b"".join(lines(10)) + end, 6) == list(range(6))
    assert capsys.readouterr().err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_resumed_run_keeps_the_intact_lines_and_both_damaged_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = trained(tmp_path / "run")
    whole = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    (run / "metrics.jsonl").write_bytes(b"".join([whole[0], b"garbage\n", *whole[2:]]))
    (run / "run.json").write_text('{"sessions": [')
    trained(run, num_updates=5, resume=True)
    assert [line["update"] for line in read_metrics(run)] == [0, 2, 3, 4]
    assert (run / "metrics.jsonl.damaged-1").read_bytes().splitlines()[1] == b"garbage"
    assert (run / "run.json.damaged-1").read_text() == '{"sessions": ['
    assert len(json.loads((run / "run.json").read_text())["sessions"]) == 1
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 3
    assert any("run.json is damaged: its earlier sessions are lost; the file is kept as" in each for each in warnings)
