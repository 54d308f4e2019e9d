"""Captions and definitions of a page."""

from __future__ import annotations

from pathlib import Path

from metarl.cli.main import main
from metarl.families.task import Measure
from metarl.report.about import About
from metarl.report.captions import interval_sentence, protocol_sentence
from metarl.report.groups import group_runs
from metarl.report.latex import latex
from metarl.report.markdown import markdown
from metarl.report.plots import adaptation_panel, profile_panel
from metarl.report.runs import read_run
from metarl.report.tables import build_tables
from metarl.report.task_plots import tasks_panel
from tests.report.run_folders import (
    page,
    run_folder,
    scores,
)


def test_page_says_that_no_task_is_unseen_where_they_are_finitely_many(tmp_path: Path) -> None:
    text = page([run_folder(tmp_path / "run", scores(0), unseen=False)])
    assert "finitely many tasks; these are 8 different tasks: **none of these is unseen**" in text


def test_page_on_the_train_split_says_that_no_task_is_unseen_and_does_not_count_them(tmp_path: Path) -> None:
    text = page([run_folder(tmp_path / "run", scores(0), split="train", unseen=False)])
    assert "trained on this split: **none of these tasks is unseen**" in text
    assert "finitely many" not in text


def test_page_of_finitely_many_tasks_explains_its_intervals(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed, unseen=False) for seed in (1, 2)]
    page = tmp_path / "page.md"
    for given, words in (
        (runs[:1], "chance within episodes, not between tasks"),
        (runs, "episodes and between training seeds, not"),
    ):
        assert main(["report", *map(str, given), "-o", str(page)]) == 0
        assert words in page.read_text()


def test_caption_says_protocol_seeds_and_steps(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2, 3)]
    groups = group_runs([read_run(run) for run in runs])
    text = "8 test tasks, 2 rounds of 2 episodes each; 3 training seeds a setting, each trained for 0.0024 M env steps."
    for table in build_tables(groups):
        assert table.caption.endswith(text)
    for panel in (adaptation_panel(groups), profile_panel(groups), tasks_panel(groups)):
        assert panel is not None and panel.note.endswith(text)
    assert text in latex(groups, About(""))
    assert markdown(groups, About(""), {}).count(text) == 3  # above the summary, and at each of the other tables


def test_a_page_of_right_answers_does_not_say_that_they_have_noise(tmp_path: Path) -> None:
    noise, best = "act with exploration noise", "agents that learn from right answers give their best one."
    text = page([run_folder(tmp_path / "asked", scores(0), measure=Measure(per_step=True))])
    assert f"{noise}; {best}" in text
    text = page([run_folder(tmp_path / "run", scores(0))])
    assert f"{noise}." in text and best not in text


def test_caption_of_unequal_groups_says_their_range(tmp_path: Path) -> None:
    short = run_folder(tmp_path / "short", scores(1), lines=2)
    other = run_folder(tmp_path / "other", scores(1)[:, :1], family={"name": "point-sparse"})
    long = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2)]
    config = short / "config.yaml"
    config.write_text(config.read_text().replace("inner_lr: 0.1", "inner_lr: 0.25"))
    assert protocol_sentence(group_runs([read_run(run) for run in (short, *long, other)])) == (
        "8 test tasks a problem, 1 to 2 rounds of 2 episodes each; 1 to 2 training seeds "
        "a setting, each trained for 0.0012 M to 0.0024 M env steps."
    )


def test_caption_of_a_single_seed_does_not_speak_of_several(tmp_path: Path) -> None:
    groups = group_runs([read_run(run_folder(tmp_path / "run", scores(1)))])
    assert interval_sentence(groups) == "Intervals: 95 %, bootstrap over tasks of one training seed."
    assert "says nothing of other training seeds" in page([tmp_path / "run"])
    seeds = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2)]
    assert "says nothing of other training seeds" not in page(seeds)
