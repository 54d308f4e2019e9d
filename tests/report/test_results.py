"""Pages of results: numbers pooled over seeds and tasks, runs that belong together, and what does not compare."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.base.streams import generator
from metarl.cli.main import main
from metarl.evaluation.figure import COLORS
from metarl.evaluation.record import Evaluation
from metarl.evaluation.statistics import crossed_bootstrap, iqm
from metarl.families.load import load
from metarl.report import figures as results_pictures
from metarl.report.figures import adaptation_figure, profile_figure, training_figure
from metarl.report.groups import grouped
from metarl.report.markdown import About, markdown
from metarl.report.plots import adaptation_panel
from metarl.report.runs import read_run
from metarl.report.tables import (
    comparison_rows,
    gap_rows,
    measure_rows,
    recovery_rows,
    score_rows,
    summary_rows,
)
from metarl.runs.config import dump_yaml, load_config, resolved
from tests.small_runs import metarl, write_config

TASKS, ROUNDS = 8, 2


def run_folder(
    folder: Path,
    returns: np.ndarray,
    *,
    seed: int = 0,
    tasks_seed: int = 0,
    lines: int = 4,
    family: dict[str, Any] | None = None,
    more_words: Sequence[str] = (),
    torch: str = "2.0",
    **evaluated: Any,
) -> Path:
    """Write a run whose agent scored `returns` [task, round]."""
    folder.mkdir(parents=True)
    changes = {} if family is None else {"family": family}
    config = resolved(load_config(write_config(folder, seed=seed, **changes)))
    (folder / "config.yaml").write_text(dump_yaml(config))
    metrics = [
        {
            "update": i,
            "env_steps": 600 * (i + 1),
            "time/steps_per_second": 10.0,
            "validation/return_before": -2.0,
            "validation/return_after": float(i),
        }
        for i in range(lines)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in metrics))
    command = ["/somewhere/bin/metarl", "train", "configs/a.yaml", "--seed", str(seed), "--run-dir", str(folder)]
    session = {
        "command": [*command, *more_words],
        "git_commit": "0123456789abcdef",
        "versions": {"mujoco": "3.3", "torch": torch},
    }
    (folder / "run.json").write_text(json.dumps({"sessions": [session]}))
    made = load(config["family"]["name"], **{k: v for k, v in config["family"].items() if k != "name"})
    about: dict[str, Any] = {
        "family": made.name,
        "settings": made.settings,
        "agent": "maml-ppo",
        "split": "test",
        "seed": tasks_seed,
        "replicas": 2,
        "tasks": made.sample("test", len(returns), seed=tasks_seed),
        "returns": returns,
        "successes": None,
        "env_steps_per_task": np.tile([10.0, 20.0], (len(returns), 1)),
        "unseen": True,
        "versions": {"mujoco": "3.3", "torch": torch},
        "commit": "fedcba9876543210",
    }
    Evaluation(**{**about, **evaluated}).save(folder / "evaluation.json")
    return folder


def scores(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(10 * np.arange(ROUNDS), 3.0, (TASKS, ROUNDS))


def three_seeds(tmp_path: Path) -> list[Path]:
    return [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2, 3)]


def test_numbers_pool_seeds_and_tasks_as_an_independent_computation_does(tmp_path: Path) -> None:
    (group,) = grouped([read_run(path) for path in three_seeds(tmp_path)])
    pooled = np.concatenate([scores(seed) for seed in (1, 2, 3)])
    ordered = np.sort(pooled, axis=0)
    np.testing.assert_allclose(group.iqm, ordered[6:18].mean(axis=0))
    change = np.sort(pooled[:, 1] - pooled[:, 0])
    assert group.gain[0] == pytest.approx(change[6:18].mean())
    # The interval itself is tested in test_statistics.py; this is that the right numbers come to it.
    drawn = generator(0, "bootstrap")
    low, high = crossed_bootstrap(np.stack([scores(seed) for seed in (1, 2, 3)]), iqm, rng=drawn)
    np.testing.assert_array_equal(group.interval, np.stack([low, high], axis=-1))


def test_scripted_numbers_come_out_exactly(tmp_path: Path) -> None:
    returns = np.tile([1.0, 7.0], (TASKS, 1))
    runs = [run_folder(tmp_path / f"s{seed}", returns, seed=seed) for seed in (4, 5)]
    (group,) = grouped([read_run(path) for path in runs])
    header, row = summary_rows([group])
    assert header == ("", "seeds", "env steps", "minutes", "round 1", "round 2", "gain")
    assert row == ("maml-ppo", "4, 5", "0.0024 M", "4.0", "1.00 [1.00, 1.00]", "7.00 [7.00, 7.00]", "6.00 [6.00, 6.00]")
    assert [run.minutes for run in group.runs] == [4.0, 4.0]
    assert [run.env_steps for run in group.runs] == [2400, 2400]


def test_settings_of_one_agent_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    runs = three_seeds(tmp_path)
    other = run_folder(tmp_path / "other", scores(9), seed=1)
    text = (other / "config.yaml").read_text().replace("inner_lr: 0.1", "inner_lr: 0.25")
    (other / "config.yaml").write_text(text)
    groups = grouped([read_run(path) for path in [*runs, other]])
    assert [group.name for group in groups] == ["maml-ppo agent.inner_lr=0.1", "maml-ppo agent.inner_lr=0.25"]
    assert [len(group.runs) for group in groups] == [3, 1]


def page(paths: Sequence[Path]) -> str:
    groups = grouped([read_run(path) for path in paths])
    return markdown(groups, About("metarl report", "Title", ["A note."]), {"what": "picture.png"})


def test_page_says_numbers_pictures_commands_and_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = three_seeds(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = page(runs)
    assert text.startswith("# Title\n\nA note.\n")
    assert "![what](picture.png)" in text
    assert "metarl train configs/a.yaml --seed 2 --run-dir s2" in text
    assert "metarl evaluate s3 --rounds 2 --replicas 2 --tasks 8" in text
    assert "0123456789 |" in text
    assert str(tmp_path) not in text
    assert "none of these is unseen" not in text
    monkeypatch.chdir(tmp_path / "s1")
    assert "--run-dir runs/s2" in page(runs)
    assert str(tmp_path) not in page(runs)


def test_unfinished_run_is_said_to_be(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(0), lines=3)
    assert "unfinished" in page([run])
    assert "unfinished" not in page([run_folder(tmp_path / "whole", scores(0), lines=4)])


def test_a_single_seed_has_the_intervals_of_its_evaluation_file(tmp_path: Path) -> None:
    run = read_run(run_folder(tmp_path / "run", scores(0), seed=3))
    (group,) = grouped([run])
    np.testing.assert_array_equal(group.interval, run.evaluation.interval)
    np.testing.assert_array_equal(group.gain[1], run.evaluation.gain.interval)


def test_a_single_task_has_no_interval(tmp_path: Path) -> None:
    (group,) = grouped([read_run(run_folder(tmp_path / "run", np.array([[1.0, 2.0]])))])
    assert summary_rows([group])[1][4:] == ("1.00 none", "2.00 none", "1.00 none")


def test_success_of_a_seed_that_never_had_any_counts_as_none(tmp_path: Path) -> None:
    successes = [np.tile([0.0, 1.0], (TASKS, 1)), None]
    runs = [
        run_folder(tmp_path / f"s{seed}", scores(0), seed=seed, successes=rates) for seed, rates in enumerate(successes)
    ]
    (group,) = grouped([read_run(run) for run in runs])
    assert summary_rows([group])[0][-1] == "success by round"
    assert summary_rows([group])[1][-1] == "0.00 / 0.50"


@pytest.mark.parametrize(("scale", "printed"), [(0.01, "0.01"), (12.0, "12.0"), (1234.5, "1,234"), (2e6, "2,000,000")])
def test_decimals_follow_the_size_of_the_returns(tmp_path: Path, scale: float, printed: str) -> None:
    text = page([run_folder(tmp_path / "run", np.full((TASKS, ROUNDS), scale))])
    assert f"| {printed} [{printed}, {printed}] |" in text
    assert f"| {printed} / {printed} | {printed} / {printed} |" in text


def test_page_says_that_no_task_is_unseen_where_they_are_finitely_many(tmp_path: Path) -> None:
    text = page([run_folder(tmp_path / "run", scores(0), unseen=False)])
    assert "finitely many tasks, these are 8 different tasks: **none of these is unseen**" in text


def test_page_on_the_train_split_says_that_no_task_is_unseen_and_nothing_of_their_number(tmp_path: Path) -> None:
    text = page([run_folder(tmp_path / "run", scores(0), split="train", unseen=False)])
    assert "trained on this split: **none of these tasks is unseen**" in text
    assert "finitely many" not in text


def test_training_curve_is_the_mean_of_updates_that_all_seeds_have(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2)]
    lines = [json.loads(line) for line in (runs[1] / "metrics.jsonl").read_text().splitlines()]
    del lines[1]["validation/return_after"], lines[1]["validation/return_before"]
    for line in lines:
        if "validation/return_after" in line:
            line["validation/return_after"] += 10
    (runs[1] / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    figure = training_figure(grouped([read_run(run) for run in runs]))
    (curve,) = [line for line in figure.axes[0].lines if line.get_label() == "maml-ppo"]
    np.testing.assert_array_equal(curve.get_xdata(), [600, 1800, 2400])
    np.testing.assert_array_equal(curve.get_ydata(), [5, 7, 8])


def test_a_single_validation_is_seen_in_the_picture(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(0), lines=1)
    figure = training_figure(grouped([read_run(run)]))
    (curve,) = [line for line in figure.axes[0].lines if line.get_label() == "maml-ppo"]
    assert curve.get_marker() == "o"


def test_bar_in_a_setting_stays_inside_its_cell(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(0))
    (group,) = grouped([read_run(run)])
    text = markdown([replace(group, name="maml-ppo agent.x=a|b")], About("metarl report"), {})
    assert "| maml-ppo agent.x=a\\|b | 0 |" in text


def test_page_names_every_version_and_every_commit(tmp_path: Path) -> None:
    runs = [
        run_folder(tmp_path / f"s{n}", scores(n), seed=n, torch=version) for n, version in enumerate(("2.0", "2.1"))
    ]
    assert page(runs).endswith("mujoco 3.3, torch 2.0 and 2.1. Evaluated at commit fedcba9876.\n")


def test_page_holds_no_path_of_this_machine_wherever_it_stands_in_a_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"--run-dir={tmp_path}/run", f"family={tmp_path}/heavy cheetah.yaml", "agent.inner_lr=0.2")
    run = run_folder(tmp_path / "run", scores(0), more_words=words)
    monkeypatch.chdir(tmp_path)
    text = page([run])
    assert str(tmp_path) not in text
    assert "--run-dir=run 'family=heavy cheetah.yaml' agent.inner_lr=0.2\n" in text


def test_evaluate_command_repeats_the_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    how: dict[str, Any] = {"tasks_seed": 5, "split": "extrapolation", "trained": {"checkpoint": "last", "updates": 4}}
    run = run_folder(tmp_path / "my run", scores(0), **how)
    monkeypatch.chdir(tmp_path)
    expected = (
        "metarl evaluate 'my run' --rounds 2 --replicas 2 --tasks 8 --seed 5 --checkpoint last --split extrapolation "
        "--json 'my run/evaluation.json'\n"
    )
    assert expected in page([run])


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
        ("metrics.jsonl", '{"update": 0, "env\n{"update": 1}\n', "metrics.jsonl:1 is no whole JSON object"),
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


def test_what_does_not_compare_is_refused_in_one_line(tmp_path: Path) -> None:
    first = run_folder(tmp_path / "a", scores(1), seed=1)
    others = {
        "c/evaluation.json are of different tasks: number 1 is .*; ": run_folder(
            tmp_path / "c", scores(0), seed=7, tasks=load("navigation-2d").sample("test", TASKS, seed=1)
        ),
        "differ in seed: 0, 1; ": run_folder(tmp_path / "s", scores(0), seed=7, tasks_seed=1),
        "a and .*d have setting and seed in common": run_folder(tmp_path / "d", scores(0), seed=1),
        "a/evaluation.json and .*e/evaluation.json differ in rounds: 2, 1; ": run_folder(
            tmp_path / "e", scores(0)[:, :1], seed=7, env_steps_per_task=np.full((TASKS, 1), 10.0)
        ),
        "differ in num_tasks: 8, 4; ": run_folder(tmp_path / "g", scores(0)[:4], seed=7),
        "differ in split: 'test', 'extrapolation'; ": run_folder(
            tmp_path / "h", scores(0), seed=7, split="extrapolation"
        ),
        "differ in replicas: 2, 1; ": run_folder(tmp_path / "i", scores(0), seed=7, replicas=1),
    }
    for message, other in others.items():
        with pytest.raises(MetarlError, match=message):
            grouped([read_run(first), read_run(other)])


def test_problems_stand_below_each_other_with_what_tells_them_apart(tmp_path: Path) -> None:
    families = (
        {"name": "navigation-2d", "horizon": 5},
        {"name": "navigation-2d", "horizon": 6},
        {"name": "point-sparse"},
    )
    runs = [run_folder(tmp_path / f"r{n}", scores(n), seed=n, family=family) for n, family in enumerate(families)]
    groups = grouped([read_run(run) for run in runs])
    assert [group.problem for group in groups] == ["navigation-2d horizon=5", "navigation-2d horizon=6", "point-sparse"]
    page = tmp_path / "page.md"
    assert main(["report", *map(str, runs), "-o", str(page)]) == 0
    assert "| navigation-2d horizon=6 | maml-ppo | 1 |" in page.read_text()
    assert not list(tmp_path.glob("*.png"))  # returns of different problems have no axis in common


def test_references_stand_beside_the_agents_in_the_same_tasks(tmp_path: Path) -> None:
    ours, theirs = scores(1), scores(9)
    runs = [run_folder(tmp_path / f"s{seed}", ours + seed, seed=seed) for seed in (0, 2)]
    reference = replace(Evaluation.load(runs[0] / "evaluation.json"), agent="random", returns=theirs, trained=None)
    reference.save(runs[1] / "evaluation-random.json")
    trained, beside = grouped([read_run(run) for run in runs])
    assert (beside.name, beside.runs, trained.files) == ("random", (), ())
    _, difference = comparison_rows([trained, beside])
    change = (ours.sum(axis=1) + ROUNDS * 1.0 - theirs.sum(axis=1)).mean()
    assert difference[:2] == ("maml-ppo", "random")
    assert difference[2].startswith(f"{change:.1f} [")  # one decimal: of two seeds the interval is wide
    assert difference[3] == f"{change / abs(theirs.sum(axis=1).mean()):+.1%}"
    page = markdown([trained, beside], About("metarl report"), {})
    assert "| random |  |  |  |" in page
    assert "metarl evaluate runs/s2 --agent random --rounds 2 --replicas 2 --tasks 8" in page


def test_references_of_one_name_that_played_differently_are_refused(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2)]
    for run, theirs in zip(runs, (scores(8), scores(9)), strict=True):
        beside(run, "sb3-ppo", returns=theirs)
    with pytest.raises(MetarlError, match=r"of one name, 'sb3-ppo', that played differently.*; leave one of them out"):
        grouped([read_run(run) for run in runs])


@pytest.mark.parametrize(
    ("how", "told"),
    [({"budget": 5}, "budget=5"), ({"agent_settings": {"a": 3}}, "a=3"), ({"deterministic": True}, "deterministic")],
)
def test_a_run_whose_own_evaluation_is_of_other_settings_is_refused(
    tmp_path: Path, how: dict[str, Any], told: str
) -> None:
    run = run_folder(tmp_path / "run", scores(1), **how)
    with pytest.raises(MetarlError, match=rf"evaluation\.json is of {told}, which other runs' are not; write it again"):
        read_run(run)


def test_page_of_finitely_many_tasks_says_what_intervals_are_of(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed, unseen=False) for seed in (1, 2)]
    page = tmp_path / "page.md"
    for given, words in ((runs[:1], "chance alone"), (runs, "chance and of training seeds")):
        assert main(["report", *map(str, given), "-o", str(page)]) == 0
        assert words in page.read_text()


def test_reference_that_does_not_compare_is_left_out_with_its_reason(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2)]
    other = run_folder(tmp_path / "other", scores(1), tasks_seed=5)
    replace(Evaluation.load(other / "evaluation.json"), agent="random").save(runs[1] / "evaluation-random.json")
    beside(runs[0])
    beside(runs[1], "gittins", returns=scores(2)[:, :1], env_steps_per_task=np.full((TASKS, 1), 10.0))
    read = [read_run(run) for run in runs]
    assert [group.name for group in grouped(read)] == ["maml-ppo", "random"]
    rounds, tasks = (each.why for each in read[1].left_out)
    assert re.search(r"evaluation-random.json and evaluation.json differ in seed: 0, 5; evaluate both alike", tasks)
    assert re.search(r"evaluation-gittins.json has 1 round, evaluation.json has 2; evaluate both alike", rounds)


def test_untrained_agents_of_several_runs_are_seeds_of_one_reference(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2, 3)]
    for run, theirs in zip(runs, (scores(7), scores(8), scores(7)), strict=True):
        beside(run, "sb3-ppo (untrained)", returns=theirs)
    _, scratch = grouped([read_run(run) for run in runs])
    np.testing.assert_array_equal(scratch.returns, [scores(7), scores(8)])  # the same numbers are of the same seed
    assert page(runs).count("--agent sb3-ppo ") == 2


def test_evaluations_of_the_trained_agent_that_are_not_shown_are_told_of(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    own = Evaluation.load(run / "evaluation.json")
    own.save(run / "evaluation-copy.json")
    replace(own, budget=3, replicas=5).save(run / "evaluation-budget=3.json")
    odd, hidden = read_run(run).left_out
    assert "evaluation-budget=3.json and evaluation.json differ in replicas: 2, 5; evaluate both alike" in odd.why
    assert "evaluation-copy.json is of the trained agent; a page shows evaluation.json of a run" in hidden.why
    elsewhere(run, "validation", scores(2))  # of tasks that no page is about
    assert len(read_run(run).left_out) == 2


def variant(run: Path, returns: np.ndarray, **settings: Any) -> None:
    own = Evaluation.load(run / "evaluation.json")
    replace(own, returns=returns, agent_settings=settings).save(run / "evaluation-variant.json")


def test_a_trained_agent_with_other_settings_is_a_row_of_its_own_by_setting(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed, trained={"updates": 4}) for seed in (1, 2, 3)]
    for number, run in enumerate(runs):
        variant(run, scores(10 + number), adapts=True)
    other = run_folder(tmp_path / "other", scores(4), trained={"updates": 4})
    config = other / "config.yaml"
    config.write_text(re.sub(r"num_updates: \d+", "num_updates: 9", config.read_text()))
    variant(other, scores(20), adapts=True)
    groups = grouped([read_run(run) for run in (*runs, other)])
    first, second = (f"maml-ppo num_updates={number}" for number in (read_run(runs[0]).config["num_updates"], 9))
    assert [group.name for group in groups] == [first, f"{first} adapts=true", second, f"{second} adapts=true"]
    np.testing.assert_array_equal(groups[1].returns, [scores(10), scores(11), scores(12)])
    np.testing.assert_array_equal(groups[3].returns, [scores(20)])


def test_a_row_of_other_settings_says_its_seeds_and_ends_in_the_note_of_an_oracle(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1), seed=3, trained={"training_seed": 3}, oracle=True)
    variant(run, scores(2) + 50.0, adapts=True)
    groups = grouped([read_run(run)])
    name = "maml-ppo adapts=true (oracle, shown the task)"
    assert summary_rows(groups)[2][:4] == (name, "3", "", "")
    assert score_rows([*groups], "maml-ppo", "maml-ppo adapts=true")[2][2].startswith("1.00")


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"tasks_seed": 5}, "differ in seed: 0, 5"),
        ({"returns": scores(1)}, "has the returns of evaluation.json in every round: adapts=true changed nothing"),
        ({"split": "train"}, "is of adapts=true in tasks of another split"),
    ],
)
def test_other_settings_that_do_not_stand_beside_the_run_are_left_out(
    tmp_path: Path, how: dict[str, Any], why: str
) -> None:
    run = run_folder(tmp_path / "run", scores(1), trained={"updates": 4})
    other = run_folder(
        tmp_path / "other", agent_settings={"adapts": True}, trained={"updates": 4}, **{"returns": scores(2), **how}
    )
    (other / "evaluation.json").rename(run / "evaluation-other.json")
    (hidden,) = read_run(run).left_out
    assert why in hidden.why


def test_the_same_settings_twice_are_not_two_seeds(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1), trained={"updates": 4})
    variant(run, scores(2), adapts=True)
    (run / "evaluation-twin.json").write_bytes((run / "evaluation-variant.json").read_bytes())
    read = read_run(run)
    assert [path.name for path, _ in read.variants] == ["evaluation-twin.json"]
    (hidden,) = read.left_out
    assert "is of adapts=true, as " in hidden.why and hidden.why.endswith("evaluation-twin.json is; delete one of them")


def test_command_of_other_settings_takes_the_checkpoint_that_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_folder(tmp_path / "run", scores(1), trained={"checkpoint": "last"})
    variant(run, scores(2), adapts=True)
    monkeypatch.chdir(tmp_path)
    expected = "metarl evaluate run agent.adapts=true --rounds 2 --replicas 2 --tasks 8 --checkpoint last\n"
    assert expected in page([run])


def test_a_trained_agent_with_other_settings_that_was_trained_on_since_is_left_out(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1), trained={"updates": 4})
    variant(run, scores(2), adapts=True)
    own = Evaluation.load(run / "evaluation.json")
    replace(own, trained={"updates": 8}).save(run / "evaluation.json")
    (hidden,) = read_run(run).left_out
    assert "differ in trained: updates: 8, 4; evaluate both alike" in hidden.why


def test_long_trials_show_their_first_and_last_round_and_their_sum(tmp_path: Path) -> None:
    returns = np.tile(np.arange(6.0), (TASKS, 1))
    run = run_folder(tmp_path / "run", returns, env_steps_per_task=np.tile(np.arange(1.0, 7.0), (TASKS, 1)))
    header, row = summary_rows(grouped([read_run(run)]))
    assert header[4:] == ("first round", "last round", "gain", "trial", "trial, mean")
    assert [cell.split()[0] for cell in row[4:]] == ["0.00", "5.00", "5.00", "15.0", "15.0"]


def beside(run: Path, agent: str = "random", file: str | None = None, **changes: Any) -> Path:
    """Write a reference's evaluation into the folder of a run, in the run's tasks, and return its file."""
    path = run / (file or f"evaluation-{agent}.json")
    replace(Evaluation.load(run / "evaluation.json"), agent=agent, trained=None, **changes).save(path)
    return path


def skewed(seed: int, level: float = 0.0) -> np.ndarray:
    """Return scores whose mean and interquartile mean lie far apart. [task, round]"""
    return level + np.random.default_rng(seed).exponential(4.0, (TASKS, ROUNDS)) ** 2


def test_difference_is_the_mean_of_the_paired_differences_with_their_own_interval(tmp_path: Path) -> None:
    ours = skewed(1)
    run = run_folder(tmp_path / "run", ours)
    beside(run, returns=ours - 3.0 + 1e-3 * scores(4))
    _, difference = comparison_rows(grouped([read_run(run)]))
    # The tasks differ by hundreds, the two agents in each of them by six.
    value, low, high = (float(word) for word in re.findall(r"-?\d+\.\d+", difference[2]))
    assert value == low == high == pytest.approx(6.0, abs=0.05)


def test_share_of_a_reference_below_zero_has_the_sign_of_the_difference(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", np.full((TASKS, ROUNDS), -6.0))
    beside(run, returns=np.full((TASKS, ROUNDS), -8.0))
    _, difference = comparison_rows(grouped([read_run(run)]))
    assert difference[2:] == ("4.00 [4.00, 4.00]", "+25.0%", "1.00 [1.00, 1.00]")


def test_settings_are_compared_with_those_before_them_and_all_with_the_references(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"r{n}", scores(n)) for n in (1, 2)]
    config = runs[1] / "config.yaml"
    config.write_text(config.read_text().replace("inner_lr: 0.1", "inner_lr: 0.25"))
    beside(runs[0], "random")
    rows = [row[:2] for row in comparison_rows(grouped([read_run(run) for run in runs]))[1:]]
    first, second = "maml-ppo agent.inner_lr=0.1", "maml-ppo agent.inner_lr=0.25"
    assert rows == [(first, "random"), (second, "random"), (second, first)]


def test_measures_of_scripted_rounds_are_exact(tmp_path: Path) -> None:
    returns = np.array([[0.0, 0.0, 8.0]] * 7 + [[-8.0, 0.0, 0.0]])
    steps = np.tile([10.0, 30.0, 40.0], (TASKS, 1))
    run = run_folder(tmp_path / "run", returns, env_steps_per_task=steps)
    header, row = measure_rows(grouped([read_run(run)]))
    assert row[1:3] == ("-8.00", "0.00")  # the worst of eight
    assert row[3:] == ("2", "30")
    assert header[3:] == ("rounds to 90 % of the gain", "env steps to 90 % of the gain")
    worse = run_folder(tmp_path / "worse", returns[:, ::-1], env_steps_per_task=steps)
    assert measure_rows(grouped([read_run(worse)]))[1][3:] == ("never", "never")


def test_page_tells_how_many_tasks_reach_a_return_and_repeats_the_question(tmp_path: Path) -> None:
    returns = np.array([[0.0, 8.0]] * 6 + [[0.0, 0.0]] * 2)
    run = run_folder(tmp_path / "run", returns)
    page = tmp_path / "page.md"
    assert main(["report", str(run), "-o", str(page), "--threshold", "-0.5"]) == 0
    assert "| 100% | 0 | 0 |" in page.read_text()
    assert main(["report", str(run), "-o", str(page), "--threshold", "8"]) == 0
    assert "| reach 8 | rounds to 8, median | env steps to 8, median |" in page.read_text()
    assert "| 75% | 1 | 10 |" in page.read_text()
    assert "--threshold 8\n" in page.read_text()
    assert main(["report", str(run), "-o", str(page)]) == 0
    assert "reach" not in page.read_text()


def of_scale(folder: Path, returns: np.ndarray) -> list[Any]:
    """Return the groups of a run between a random agent, which earns -10 in each round, and an oracle, which earns 10."""
    run = run_folder(folder, returns)
    beside(run, "random", returns=np.full_like(returns, -10.0))
    beside(run, "oracle", returns=np.full_like(returns, 10.0))
    return grouped([read_run(run)])


def test_scores_of_scripted_rounds_are_exact(tmp_path: Path) -> None:
    # Solves two tasks of eight in the first round, all but two in the last, and one of them twice as well as the oracle.
    first, last = np.repeat([10.0, -10.0], [2, 6]), np.repeat([30.0, 10.0, -10.0], [1, 5, 2])
    groups = of_scale(tmp_path / "run", np.stack([first, last], axis=1))
    header, ours, oracle, random = score_rows(groups, "random", "oracle")
    assert header == ("", "score, first round", "score, last round", "optimality gap", "regret beside oracle")
    # The interquartile mean of eight leaves out two at each end.
    assert [cell.split()[0] for cell in ours[1:]] == ["0.00", "1.00", "0.25", "17.5"]
    assert [cell.split()[0] for cell in oracle[1:4]] == ["1.00", "1.00", "0.00"]
    assert oracle[4] == ""
    assert [cell.split()[0] for cell in random[1:]] == ["0.00", "0.00", "1.00", "40.0"]


def test_intervals_of_scores_are_those_of_returns_on_another_scale(tmp_path: Path) -> None:
    groups = of_scale(tmp_path / "run", scores(3))
    cell = score_rows(groups, "random", "oracle")[1][2]
    ends = [float(word) for word in re.findall(r"-?\d+\.\d+", cell)][1:]
    np.testing.assert_allclose(ends, (groups[0].interval[-1] + 10) / 20, atol=5e-3)


def test_regret_of_trials_of_other_length_is_not_told(tmp_path: Path) -> None:
    groups = of_scale(tmp_path / "run", scores(3))
    longer = replace(groups[0], evaluations=[replace(groups[0].evaluations[0], returns=np.zeros((TASKS, 5)))])
    assert score_rows([longer, *groups[1:]], "random", "oracle")[1][-1] == ""


def test_scale_names_rows_of_the_page_and_its_command_repeats_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    beside(run, "random", returns=scores(1) - 50.0)
    beside(run, "value-iteration", returns=scores(1) + 50.0)
    page = tmp_path / "page.md"
    words = ["report", str(run), "-o", str(page), "--normalize"]
    assert main([*words, "random", "value-iteration"]) == 0
    assert "## Scores between random, 0, and value-iteration, 1" in page.read_text()
    assert "--normalize random value-iteration\n" in page.read_text()
    for low, high, told in (
        ("random", "orakel", "there is no 'orakel' on navigation-2d to normalize by; there are 'maml-ppo', 'random'"),
        ("value-iteration", "random", "the upper end of the scale is"),
    ):
        capsys.readouterr()
        assert main([*words, low, high]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert len(error.strip().splitlines()) == 1


def elsewhere(run: Path, split: str, returns: np.ndarray, **changes: Any) -> None:
    """Write how the run's agent did in tasks of another split."""
    tasks = load("navigation-2d").sample(split, len(returns), seed=0)
    steps = np.tile([10.0, 20.0], (len(returns), 1))
    about = {"split": split, "tasks": tasks, "returns": returns, "env_steps_per_task": steps, **changes}
    replace(Evaluation.load(run / "evaluation.json"), **about).save(run / f"evaluation-{split}.json")


def test_gap_is_what_is_lost_by_going_further_from_what_was_trained_on(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"r{seed}", np.tile([0.0, 5.0], (TASKS, 1)), seed=seed) for seed in (1, 2)]
    for run in runs:
        elsewhere(run, "train", np.tile([0.0, 7.0], (5, 1)))
        elsewhere(run, "extrapolation", np.tile([0.0, 1.0], (6, 1)))
    groups = grouped([read_run(run) for run in runs])
    header, near, far = gap_rows(groups)
    assert header == ("", "last round in", "return there", "return here", "gap")
    assert near[1:] == ("train tasks", "7.00 [7.00, 7.00]", "5.00 [5.00, 5.00]", "2.00 [2.00, 2.00]")
    assert far[1:] == ("extrapolation tasks", "1.00 [1.00, 1.00]", "5.00 [5.00, 5.00]", "4.00 [4.00, 4.00]")
    text = page(runs)
    assert "## Other tasks" in text
    assert "--tasks 5 --split train --json" in text


def test_gap_asks_for_every_seed(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"r{seed}", scores(seed), seed=seed) for seed in (1, 2)]
    elsewhere(runs[0], "train", scores(3))
    assert len(gap_rows(grouped([read_run(run) for run in runs]))) == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"trained": {"checkpoint": "last", "new": 1}}, "differ in trained: checkpoint: 'best', 'last'"),
        ({"budget": 3}, "is of budget=3 in tasks of another split"),
        ({"replicas": 5}, "differ in replicas: 2, 5"),
    ],
)
def test_gap_asks_for_one_agent_measured_alike(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    run = run_folder(tmp_path / "run", scores(1), trained={"checkpoint": "best", "old": 2})
    elsewhere(run, "train", scores(4), **changes)
    (unlike,) = read_run(run).left_out
    assert told in unlike.why
    assert len(gap_rows(grouped([read_run(run)]))) == 1
    # What only one of them tells is no difference.
    elsewhere(run, "train", scores(4), trained={"checkpoint": "best", "new": 1})
    assert len(gap_rows(grouped([read_run(run)]))) == 2


def test_scale_ends_at_the_last_round_of_both(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", np.tile([0.0, 5.0], (TASKS, 1)))
    beside(run, "random", returns=np.tile([3.0, 0.0], (TASKS, 1)))
    beside(run, "oracle", returns=np.tile([4.0, 10.0], (TASKS, 1)))
    ours = score_rows(grouped([read_run(run)]), "random", "oracle")[1]
    assert [cell.split()[0] for cell in ours[1:]] == ["0.00", "0.50", "0.50", "9.00"]


def test_gap_of_the_oracle_to_itself_is_none(tmp_path: Path) -> None:
    best = np.repeat(np.linspace(-100.0, 0.0, TASKS)[:, None], 2, axis=1)
    run = run_folder(tmp_path / "run", best - 10.0)
    beside(run, "random", returns=best - 100.0)
    beside(run, "oracle", returns=best)
    ours, oracle, _ = score_rows(grouped([read_run(run)]), "random", "oracle")[1:]
    assert [row[3].split()[0] for row in (ours, oracle)] == ["0.10", "0.00"]


def test_recovery_of_scripted_rewards_is_on_the_page(tmp_path: Path) -> None:
    family = {"name": "navigation-2d", "switch_at": [30], "horizon": 50}
    # 2 a step until the change, then nothing for 15 steps, then 1.
    rewards = np.tile(np.concatenate([np.full(30, 2.0), np.zeros(15), np.ones(55)]), (TASKS, 1))
    run = run_folder(tmp_path / "run", scores(1), family=family, rewards=rewards)
    header, row = recovery_rows(grouped([read_run(run)]))
    assert header == ("", "change at step", "reward a step before", "right after", "at the end", "env steps to 90 %")
    assert row[1:] == ("30", "2.00 [2.00, 2.00]", "0.25 [0.25, 0.25]", "1.00 [1.00, 1.00]", "14")
    assert "## Changes of the task" in page([run])
    rewards[0, 10] = np.nan  # what is not a number is not left out
    broken = run_folder(tmp_path / "broken", scores(1), family=family, rewards=rewards)
    assert recovery_rows(grouped([read_run(broken)]))[1][2].startswith("not finite")
    rewards[0, 30:] = np.nan
    never = run_folder(tmp_path / "never", scores(1), family=family, rewards=rewards)
    assert recovery_rows(grouped([read_run(never)]))[1][2:] == ("not every task came to it", "", "", "")


def test_tasks_that_stay_the_same_have_no_recovery(tmp_path: Path) -> None:
    assert len(recovery_rows(grouped([read_run(run_folder(tmp_path / "run", scores(1)))]))) == 1


@pytest.mark.parametrize("value", ["nan", "inf", "much"])
def test_threshold_that_is_no_return_is_told_in_one_line(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "run", "-o", "page.md", "--threshold", value]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_trials_of_one_round_have_no_measures_of_adaptation(tmp_path: Path) -> None:
    once = run_folder(tmp_path / "once", scores(1)[:, :1], env_steps_per_task=np.full((TASKS, 1), 10.0))
    assert len(measure_rows(grouped([read_run(once)]))) == 1
    page = tmp_path / "page.md"
    assert main(["report", str(once), "-o", str(page)]) == 0
    assert "Measures" not in page.read_text()


def test_references_are_compared_on_their_own_problem_only(tmp_path: Path) -> None:
    other = {"name": "point-sparse"}
    one = run_folder(tmp_path / "one", scores(1))
    two = run_folder(tmp_path / "two", scores(2), family=other)
    beside(one, "random")
    beside(two, "other-reference")
    groups = grouped([read_run(one), read_run(two)])
    assert [(group.problem, group.name) for group in groups] == [
        ("navigation-2d", "maml-ppo"),
        ("navigation-2d", "random"),
        ("point-sparse", "maml-ppo"),
        ("point-sparse", "other-reference"),
    ]
    assert [row[:3] for row in comparison_rows(groups)[1:]] == [
        ("navigation-2d", "maml-ppo", "random"),
        ("point-sparse", "maml-ppo", "other-reference"),
    ]


def test_reference_on_another_split_is_no_reference_of_this_one(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    family = load("navigation-2d")
    beside(run, "random", split="extrapolation", tasks=family.sample("extrapolation", TASKS, seed=0))
    assert [group.name for group in grouped([read_run(run)])] == ["maml-ppo"]


def test_trial_has_the_iqm_and_the_mean_of_its_sum_each_with_its_own_interval(tmp_path: Path) -> None:
    returns = np.concatenate([skewed(1), skewed(2), skewed(3)], axis=1)[:, :5]
    steps = np.tile(np.arange(1.0, 6.0), (TASKS, 1))
    run = read_run(run_folder(tmp_path / "run", returns, env_steps_per_task=steps))
    (group,) = grouped([run])
    header, row = summary_rows([group])
    cells = dict(zip(header, row, strict=True))
    totals = np.sort(returns.sum(axis=1))
    told = {
        name: [float(word.replace(",", "")) for word in re.findall(r"[\d,.]*\d", cells[name])] for name in header[-2:]
    }
    assert told["trial"][0] == pytest.approx(totals[2:6].mean(), rel=0.01)
    assert told["trial, mean"][0] == pytest.approx(totals.mean(), rel=0.01)
    drawn = np.random.default_rng(0).choice(returns.sum(axis=1), (4000, TASKS)).mean(axis=1)
    assert told["trial, mean"][1:] == pytest.approx(np.quantile(drawn, (0.025, 0.975)), rel=0.05)
    assert told["trial"][1:] != told["trial, mean"][1:]


def test_trials_of_one_round_show_it_once_and_those_of_two_have_no_sum(tmp_path: Path) -> None:
    once = run_folder(tmp_path / "once", scores(1)[:, :1], env_steps_per_task=np.full((TASKS, 1), 10.0))
    twice = run_folder(tmp_path / "twice", scores(1))
    assert summary_rows(grouped([read_run(once)]))[0][4:] == ("return", "return, mean")
    assert "trial" not in summary_rows(grouped([read_run(twice)]))[0]


def test_single_seeds_show_the_first_and_the_last_round_of_long_trials_and_the_mean_of_their_sum(
    tmp_path: Path,
) -> None:
    returns = np.tile([1.0, 2.0, 4.0, 8.0, 16.0], (TASKS, 1))
    steps = np.tile(np.arange(1.0, 6.0), (TASKS, 1))
    successes = np.tile([0.0, 0.1, 0.2, 0.3, 0.4], (TASKS, 1))
    run = run_folder(tmp_path / "run", returns, env_steps_per_task=steps, successes=successes)
    assert "| maml-ppo | 0 | 1.0 / 16.0 | 1.0 / 16.0 | 31.0 |" in page([run])
    assert summary_rows(grouped([read_run(run)]))[1][-1] == "0.00 / 0.40"


def test_command_of_an_untrained_reference_names_its_agent_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    beside(run, "maml-ppo (untrained)", "evaluation-maml-ppo.json")
    monkeypatch.chdir(tmp_path)
    assert "metarl evaluate run --agent maml-ppo --rounds 2 --replicas 2 --tasks 8\n" in page([run])


def test_share_of_a_reference_that_earned_nothing_is_left_out(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    beside(run, returns=np.zeros((TASKS, ROUNDS)))
    _, difference = comparison_rows(grouped([read_run(run)]))
    assert "inf" not in difference[4]


def test_mistakes_on_the_command_line_cost_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_folder(tmp_path / "run", scores(0))
    assert main(["report", str(run), "-o", str(tmp_path / "page.txt")]) == 2
    assert "a page is written as '.md', '.html' or '.tex'" in capsys.readouterr().err
    (run / "evaluation.json").unlink()
    assert main(["report", str(run), "-o", str(tmp_path / "page.md")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert not (tmp_path / "page.md").exists()
    assert line.endswith(f"has no evaluation.json; write it with `metarl evaluate {run}`")
    assert main(["report", str(tmp_path / "nowhere"), "-o", str(tmp_path / "page.md")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_report_of_real_runs_writes_page_and_pictures(tmp_path: Path) -> None:
    config = write_config(tmp_path, num_updates=2)
    runs = [tmp_path / f"run{seed}" for seed in (1, 2)]
    for seed, run in enumerate(runs, start=1):
        assert metarl("train", config, "--seed", str(seed), "--run-dir", run).returncode == 0
        assert metarl("evaluate", run, "--tasks", "4").returncode == 0
    done = metarl("report", *runs, "-o", tmp_path / "out" / "page.md", "--title", "Two seeds", "--note", "Mind this.")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines()[1].split()[:3] == ["maml-ppo", "1,", "2"]
    text = (tmp_path / "out" / "page.md").read_text()
    assert text.startswith("# Two seeds\n\nMind this.\n")
    for name in ("page-adaptation.png", "page-profile.png", "page-training.png"):
        assert f"]({name})" in text
        assert 1000 < (tmp_path / "out" / name).stat().st_size < 150_000
    (runs[1] / "evaluation.json").unlink()
    left = metarl("report", *runs, "-o", tmp_path / "out" / "page.html")
    assert left.returncode == 0
    assert left.stdout.splitlines()[1].split()[:2] == ["maml-ppo", "1"]
    (line,) = left.stderr.splitlines()
    assert line.endswith(f"left out: run {runs[1]} has no evaluation.json; write it with `metarl evaluate {runs[1]}`")
    assert "<title>Results on navigation-2d</title>" in (tmp_path / "out" / "page.html").read_text()
    (runs[0] / "evaluation.json").unlink()
    refused = metarl("report", runs[1], "-o", tmp_path / "out" / "page.md")
    assert (refused.returncode, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert line.endswith(f"run {runs[1]} has no evaluation.json; write it with `metarl evaluate {runs[1]}`")


def test_profile_falls_from_all_to_none_as_shares_of_the_last_round_do(tmp_path: Path) -> None:
    returns = np.stack([np.zeros(TASKS), np.arange(TASKS) ** 2.0], axis=1)
    groups = grouped([read_run(run_folder(tmp_path / "run", returns))])
    (line,) = profile_figure(groups).axes[0].lines
    levels, shares = (np.asarray(part, dtype=float) for part in line.get_data())
    assert (levels[0], levels[-1]) == (0.0, 49.0)
    np.testing.assert_allclose(shares, [(returns[:, 1] > level).mean() for level in levels])
    (band,) = profile_figure(groups).axes[0].collections
    assert band.get_datalim(profile_figure(groups).axes[0].transData).y0 >= 0


def test_more_groups_than_colours_still_look_different() -> None:
    looks = [results_pictures._look(number) for number in range(2 * len(COLORS))]
    assert len(set(looks)) == len(looks)


def test_no_label_of_a_picture_runs_over_its_edge(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    settings = {"adapts": True, "batch_size": 400, "learning_rate": 0.003}
    for number in (1, 2):
        beside(
            run,
            "sb3-ppo (untrained)",
            f"evaluation-{number}.json",
            agent_settings=settings,
            budget=100 * number,
        )
    groups = grouped([read_run(run)])
    assert len(groups) == 3
    for figure in (adaptation_figure(groups), profile_figure(groups)):
        figure.draw_without_rendering()
        (legend,) = figure.legends
        box = legend.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= figure.bbox.width


def test_agents_of_far_other_budgets_are_drawn_by_logarithm_with_marks_in_steps(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1), env_steps_per_task=np.tile([200.0, 400.0], (TASKS, 1)))
    beside(run, "longer", env_steps_per_task=np.tile([90_000.0, 180_000.0], (TASKS, 1)))
    groups = grouped([read_run(run)])
    (axes,) = adaptation_figure(groups).axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1,000", "10,000"]
    assert axes.get_xlabel().endswith("by logarithm")
    (plot,) = adaptation_panel(groups).plots
    assert plot.layout["xaxis"]["ticktext"] == ["0", "1,000", "10,000"]
    lines = [trace for trace in plot.traces if trace.get("mode") == "lines+markers"]
    np.testing.assert_allclose([line["x"] for line in lines], [[0, np.log10(2)], [0, np.log10(451)]], rtol=1e-4)
    assert "after 90,000 env steps" in lines[1]["hovertext"][1]
