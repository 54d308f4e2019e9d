"""Pictures of answered tasks on a page: embedded where they are pictures, named where they are not."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from metarl.report.groups import group_runs
from metarl.report.runs import read_run
from metarl.report.task_pictures import MOST_BYTES, TASKS_PICTURE, task_pictures
from tests.report.run_folders import run_folder, scores

PNG = b"\x89PNG\r\n\x1a\n" + b"rest of a picture"


def section(run: Path) -> str:
    return task_pictures(group_runs([read_run(run)]))


def test_a_picture_of_answered_tasks_is_inside_the_page(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    assert section(run) == ""
    (run / TASKS_PICTURE).write_bytes(PNG)
    assert f"data:image/png;base64,{base64.b64encode(PNG).decode()}" in section(run)


@pytest.mark.parametrize(("content", "says"), [(b"GIF89a", "is no PNG"), (PNG + bytes(MOST_BYTES), "has more than")])
def test_a_file_that_is_no_such_picture_is_named_and_left_out(
    content: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    (run / TASKS_PICTURE).write_bytes(content)
    text = section(run)
    assert "data:" not in text and says in text and says in capsys.readouterr().err


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    (tmp_path / "secret.png").write_bytes(PNG)
    (run / TASKS_PICTURE).symlink_to(tmp_path / "secret.png")
    assert "data:" not in section(run)


def test_seeds_of_one_setting_share_one_picture(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2)]
    for run in runs:
        (run / TASKS_PICTURE).write_bytes(PNG)
    assert task_pictures(group_runs([read_run(run) for run in runs])).count("data:image/png") == 1
