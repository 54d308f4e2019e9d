"""One process at a time writes a run folder, and no run is written over, at whatever moment another begins."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metarl.base.errors import MetarlError
from metarl.cli.main import main
from metarl.runs.run import default_run_dirs, holds_run, numbered
from metarl.training import claim
from metarl.training.claim import Claim, claim_folder, claimed
from metarl.training.train import meta_train
from tests.small_runs import configured, read_metrics, started, trained, write_config


def test_many_at_once_take_different_folders(tmp_path: Path) -> None:
    claims: list[Claim] = []
    together = threading.Barrier(12)

    def work() -> None:
        together.wait()
        claims.append(claim_folder(numbered(tmp_path / "runs" / "a")))

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({each.run_dir for each in claims}) == 12
    for each in claims:
        each.release()
    assert not list((tmp_path / "runs").iterdir())


def test_two_trainings_at_once_take_different_folders(tmp_path: Path) -> None:
    words = ["train", write_config(tmp_path, num_updates=2)]
    quiet: dict[str, Any] = {"cwd": tmp_path, "stdout": subprocess.DEVNULL}
    with started(*words, **quiet) as one, started(*words, **quiet) as other:
        assert (one.wait(120), other.wait(120)) == (0, 0)
    folders = sorted((tmp_path / "runs").iterdir())
    assert [folder.name for folder in folders] == ["navigation-2d-maml-ppo-seed0", "navigation-2d-maml-ppo-seed0-2"]
    assert [len(read_metrics(folder)) for folder in folders] == [2, 2]


@pytest.mark.parametrize("moment", ["before", "between", "during"])
def test_a_second_training_in_a_folder_leaves_the_first_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], moment: str
) -> None:
    run_dir, path = tmp_path / "run", write_config(tmp_path)
    real = claim.claim_folder
    first: dict[str, bytes] = {}

    def late(folders: Any) -> Claim:
        # The second has looked into the folder, which was empty, and the first trains to its end before it goes on.
        with monkeypatch.context() as patch:
            patch.setattr(claim, "claim_folder", real)
            trained(run_dir)
        first.update({file.name: file.read_bytes() for file in run_dir.iterdir()})
        return real(folders)

    if moment == "before":
        trained(run_dir)
        first.update({file.name: file.read_bytes() for file in run_dir.iterdir()})
    elif moment == "between":
        monkeypatch.setattr(claim, "claim_folder", late)
    else:
        held = claim_folder([run_dir])
    assert main(["train", str(path), "--run-dir", str(run_dir)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert ("being written by another process" if moment == "during" else "holds a run already") in line
    if moment == "during":
        held.release()
        assert not run_dir.exists()
    else:
        assert {file.name: file.read_bytes() for file in run_dir.iterdir()} == first


def test_a_resumed_run_that_another_process_finishes_is_not_rewound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir, real = trained(tmp_path / "run", num_updates=2), claim.claim_folder
    seen: list[bytes] = []

    def late(folders: Any) -> Claim:
        with monkeypatch.context() as patch:
            patch.setattr(claim, "claim_folder", real)
            trained(run_dir, num_updates=4, resume=True)
        seen.append((run_dir / "metrics.jsonl").read_bytes())
        return real(folders)

    monkeypatch.setattr(claim, "claim_folder", late)
    trained(run_dir, num_updates=4, resume=True)
    assert (run_dir / "metrics.jsonl").read_bytes() == seen[0]


def test_a_training_that_is_refused_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MetarlError, match="start_from is 'no'"):
        meta_train(configured(start_from="no"), progress=False)
    assert not list(tmp_path.iterdir())
    (tmp_path / "mine").mkdir()
    with pytest.raises(MetarlError, match="start_from is 'no'"):
        meta_train(configured(start_from="no"), tmp_path / "mine", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_lies_in_a_folder_is_left_by_a_claim(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with claimed([tmp_path]):
        pass
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_folder_that_goes_away_while_it_is_claimed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, real = claim_folder([tmp_path / "run"]), claim.lock

    def lock(descriptor: int) -> bool:
        other.release()  # removes the folder, between the opening of the file and its lock
        return real(descriptor)

    monkeypatch.setattr(claim, "lock", lock)
    mine = claim_folder([tmp_path / "run"])
    assert (tmp_path / "run" / "metrics.jsonl").samefile(f"/proc/self/fd/{mine.metrics}")
    mine.release()


def test_a_training_takes_the_next_name_also_when_a_folder_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders: Iterator[Path] = default_run_dirs(configured())
    with claimed([next(folders)]):
        assert meta_train(configured(num_updates=1), progress=False) == next(folders)
    assert holds_run(next(default_run_dirs(configured())).with_name("navigation-2d-maml-ppo-seed0-2"))
