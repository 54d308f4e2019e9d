"""Captions and definitions of a page."""

from __future__ import annotations

from pathlib import Path

from metarl.cli.main import main
from tests.report.run_folders import (
    page,
    run_folder,
    scores,
)


def test_page_says_that_no_task_is_unseen_where_they_are_finitely_many(tmp_path: Path) -> None:
    text = page([run_folder(tmp_path / "run", scores(0), unseen=False)])
    assert "finitely many tasks; these are 8 different tasks: **none of these is unseen**" in text


def test_page_on_the_train_split_says_that_no_task_is_unseen_and_nothing_of_their_number(tmp_path: Path) -> None:
    text = page([run_folder(tmp_path / "run", scores(0), split="train", unseen=False)])
    assert "trained on this split: **none of these tasks is unseen**" in text
    assert "finitely many" not in text


def test_page_of_finitely_many_tasks_says_what_its_intervals_show(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed, unseen=False) for seed in (1, 2)]
    page = tmp_path / "page.md"
    for given, words in (
        (runs[:1], "chance within episodes, not between tasks"),
        (runs, "episodes and between training seeds, not"),
    ):
        assert main(["report", *map(str, given), "-o", str(page)]) == 0
        assert words in page.read_text()
