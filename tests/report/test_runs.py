"""Reading a run's folder: results, evaluations that are left out, and runs that are refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.cli.main import main
from metarl.evaluation.record import Evaluation
from metarl.report.groups import group_runs
from metarl.report.runs import read_run
from tests.report.run_folders import (
    TASKS,
    run_folder,
    scores,
    write_other_split,
    write_reference,
    write_variant,
)
from tests.scripted import altered


@pytest.mark.parametrize(
    "how", [{"agent": "random"}, {"agent": "maml-ppo (untrained)"}, {"trained": {"training_seed": 8}}]
)
def test_evaluation_of_another_agent_is_refused(tmp_path: Path, how: dict[str, Any]) -> None:
    run = run_folder(tmp_path / "run", scores(0), seed=1, **how)
    with pytest.raises(MetarlError, match=r"evaluation\.json is of agent .*the run is of 'maml-ppo', 1"):
        read_run(run)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("run.json", '{"sessions": [{', "run.json is damaged"),
        ("run.json", "[]", "run.json is damaged"),
        ("run.json", '{"sessions": [{"versions": null}]}', "run.json is damaged"),
        ("run.json", '{"sessions": [{"versions": {"mujoco": 3}}]}', "run.json is damaged"),
        ("run.json", '{"sessions": [{"command": "metarl train"}]}', "run.json is damaged"),
        ("run.json", '{"sessions": [{"git_commit": true}]}', "run.json is damaged"),
        ("metrics.jsonl", '{"update": 0, "env\n{"update": 1}\n', "metrics.jsonl:1 is not a whole JSON object"),
        ("run.json", None, "run.json cannot be read"),
        ("metrics.jsonl", '{"update": 0, "env_steps": 5}\n', "metrics.jsonl:1 has no number 'time/steps_per_second'"),
    ],
)
def test_damaged_run_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str | None, message: str
) -> None:
    run = run_folder(tmp_path / "run", scores(0))
    (run / name).unlink() if text is None else (run / name).write_text(text)
    assert main(["report", str(run), "-o", str(tmp_path / "page.md")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_line_that_was_cut_off_by_a_kill_is_left_out(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(0))
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"update": 4, "env_st')
    assert len(read_run(run).metrics) == 4


@pytest.mark.parametrize(
    ("how", "words"),
    [({"budget": 5}, "budget=5"), ({"agent_settings": {"a": 3}}, "a=3"), ({"deterministic": True}, "deterministic")],
)
def test_run_whose_own_evaluation_has_other_settings_is_refused(
    tmp_path: Path, how: dict[str, Any], words: str
) -> None:
    run = run_folder(tmp_path / "run", scores(1), **how)
    with pytest.raises(
        MetarlError, match=rf"evaluation\.json was evaluated with {words}, unlike evaluations of other runs; write"
    ):
        read_run(run)


def test_reference_that_does_not_compare_is_left_out_with_its_reason(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2)]
    other = run_folder(tmp_path / "other", scores(1), tasks_seed=5)
    altered(Evaluation.load(other / "evaluation.json"), agent="random").save(runs[1] / "evaluation-random.json")
    write_reference(runs[0])
    write_reference(runs[1], "gittins", returns=scores(2)[:, :1], env_steps_per_task=np.full((TASKS, 1), 10.0))
    read = [read_run(run) for run in runs]
    assert [group.name for group in group_runs(read)] == ["maml-ppo", "random"]
    rounds, tasks = (each.why for each in read[1].left_out)
    assert re.search(r"evaluation-random.json and evaluation.json differ in seed: 5, 0; evaluate both alike", tasks)
    assert re.search(r"evaluation-gittins.json has 1 round, evaluation.json has 2; evaluate both alike", rounds)


def test_evaluations_of_the_trained_agent_that_are_not_shown_are_listed(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    own = Evaluation.load(run / "evaluation.json")
    own.save(run / "evaluation-copy.json")
    altered(own, budget=3, replicas=5).save(run / "evaluation-budget=3.json")
    odd, hidden = read_run(run).left_out
    assert "evaluation-budget=3.json and evaluation.json differ in replicas: 5, 2; evaluate both alike" in odd.why
    assert "evaluation-copy.json is of the trained agent; a page shows only evaluation.json of it" in hidden.why
    write_other_split(run, "validation", scores(2))  # of tasks that no page is about
    assert len(read_run(run).left_out) == 2


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"tasks_seed": 5}, "differ in seed: 5, 0"),
        ({"returns": scores(1)}, "has the returns of evaluation.json in every round: adapts=true changed nothing"),
        ({"split": "train"}, "was evaluated with adapts=true in tasks of another split"),
    ],
)
def test_variants_that_do_not_compare_with_the_run_are_left_out(tmp_path: Path, how: dict[str, Any], why: str) -> None:
    run = run_folder(tmp_path / "run", scores(1), trained={"updates": 4})
    other = run_folder(
        tmp_path / "other", agent_settings={"adapts": True}, trained={"updates": 4}, **{"returns": scores(2), **how}
    )
    (other / "evaluation.json").rename(run / "evaluation-other.json")
    (hidden,) = read_run(run).left_out
    assert why in hidden.why


def test_the_same_settings_twice_are_not_two_seeds(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1), trained={"updates": 4})
    write_variant(run, scores(2), adapts=True)
    (run / "evaluation-twin.json").write_bytes((run / "evaluation-variant.json").read_bytes())
    read = read_run(run)
    assert [path.name for path, _ in read.variants] == ["evaluation-twin.json"]
    (hidden,) = read.left_out
    assert hidden.why.endswith("evaluation-twin.json were both evaluated with adapts=true; delete one of them")


def test_variant_of_an_agent_that_was_trained_on_since_is_left_out(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1), trained={"updates": 4})
    write_variant(run, scores(2), adapts=True)
    own = Evaluation.load(run / "evaluation.json")
    altered(own, trained={"updates": 8}).save(run / "evaluation.json")
    (hidden,) = read_run(run).left_out
    assert "differ in trained: updates: 4, 8; evaluate both alike" in hidden.why


def test_folder_of_runs_stands_for_the_runs_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (1, 2):
        run_folder(tmp_path / "runs" / f"seed{seed}", scores(seed), seed=seed)
    (tmp_path / "runs" / "notes").mkdir()
    assert main(["report", str(tmp_path / "runs"), "-o", str(tmp_path / "page.md")]) == 0
    assert re.search(r"maml-ppo +1, 2 ", capsys.readouterr().out)
    again = (tmp_path / "page.md").read_text().split("metarl report", 1)[1]
    assert "seed1" in again
    assert "seed2" in again


def test_run_in_a_folder_of_runs_that_was_not_evaluated_is_left_out_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (1, 2):
        run_folder(tmp_path / "runs" / f"seed{seed}", scores(seed), seed=seed)
    (tmp_path / "runs" / "seed2" / "evaluation.json").unlink()
    assert main(["report", str(tmp_path / "runs")]) == 0
    assert f"metarl evaluate {tmp_path / 'runs' / 'seed2'}" in capsys.readouterr().err


def test_folder_without_runs_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "there is no config.yaml in it" in line


def test_report_without_a_page_prints_the_summary_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_folder(tmp_path / "run", scores(0))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    before = sorted(run.iterdir())
    assert main(["report", str(run)]) == 0
    assert "add: -o page.html" in capsys.readouterr().out
    assert sorted(run.iterdir()) == before
    assert not list(Path.cwd().iterdir())


def test_runs_measured_with_other_replicas_name_the_option_that_makes_them_comparable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (run_folder(tmp_path / f"seed{seed}", scores(seed), seed=seed) for seed in (1, 2))
    other = Evaluation.load(second / "evaluation.json")
    altered(other, replicas=3).save(second / "evaluation.json")
    assert main(["report", str(first), str(second)]) == 2
    assert "alike with the same --replicas" in capsys.readouterr().err
