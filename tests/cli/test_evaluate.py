"""`metarl evaluate` measures trained agents and references, and keeps the results apart."""

from __future__ import annotations

import itertools
import json
import shlex
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.cli.main import main
from metarl.evaluation import evaluate as evaluation
from metarl.evaluation.record import Evaluation
from metarl.families.load import load
from metarl.runs.config import TrainConfig
from metarl.runs.run import load_run
from metarl.training.train import meta_train
from metarl.trials.plan import TrialPlan
from tests.small_runs import config, trained, write_config, write_white


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not to be changed."""
    return meta_train(TrainConfig(**config(num_updates=2)), tmp_path_factory.mktemp("runs") / "run", progress=False)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(autouse=True)
def no_curves(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw curves where a test asks for them. That takes longer than most evaluations here."""
    if "curves" not in request.fixturenames:
        monkeypatch.setattr("metarl.evaluation.figure.plot", write_white)


def test_train_then_evaluate_leaves_numbers_and_picture_and_says_what_is_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], curves: None
) -> None:
    run_dir = tmp_path / "run"
    words = [str(write_config(tmp_path)), "--seed", "3", "--run-dir", str(run_dir), "num_updates=1"]
    assert main(["train", *words]) == 0
    told, errors = capsys.readouterr()
    assert errors == ""
    assert told.splitlines()[-1] == f"next: metarl evaluate {run_dir}"
    assert "update 1/1" in told
    assert main(["evaluate", str(run_dir), "--tasks", "3"]) == 0
    assert "gain" in capsys.readouterr().out
    result = json.loads((run_dir / "evaluation.json").read_text())
    assert (result["plan"]["split"], result["agent"]["name"], len(result["tasks"])) == ("test", "maml-ppo", 3)
    assert (run_dir / "adaptation.png").read_bytes().startswith(b"\x89PNG")
    assert "seed: 3" in (run_dir / "config.yaml").read_text()


def test_settings_of_the_family_that_the_agent_can_play_are_measured_and_kept_apart(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["evaluate", str(run), "--tasks", "3", "--split", "validation", "family.horizon=3"]
    assert main(arguments) == 0
    assert capsys.readouterr().err == ""
    (file,) = run.glob("changed*.json")
    assert unquote(file.name) == "changed-family.horizon=3-validation.json"
    found = Evaluation.load(file)
    loaded = load_run(run)
    family = load("navigation-2d", **{**loaded.family.settings, "horizon": 3})
    plan = TrialPlan(split="validation", num_tasks=3, rounds=2, replicas=2)
    expected = evaluation.evaluate(loaded.agent, family, plan)
    np.testing.assert_array_equal(found.returns, expected.returns)
    assert found.settings["horizon"] == 3 and found.agent.trained is not None
    assert main([*arguments, "--agent", "random"]) == 0
    assert (run / "changed-random-family.horizon=3-validation.json").exists()
    assert main(["report", str(run)]) == 2  # nothing was measured on the run's own family


def test_settings_that_the_agent_cannot_play_are_refused_in_one_line(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for word, told in (
        ("family.horizon=6", "an episode has 6 steps, and the agent was trained with 5"),
        ("family.horizons=3", "'horizons' is unknown to family 'navigation-2d'; did you mean 'horizon'?"),
        ("family.name=gridnavi", "family.name cannot be set here"),
    ):
        assert main(["evaluate", str(run), "--tasks", "1", word]) == 2
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1
    for option in (["--shots", "1"], ["--wandb"]):
        assert main(["evaluate", str(run), "family.horizon=3", *option]) == 2
        assert f"family.horizon was given with {option[0]}" in capsys.readouterr().err


def test_evaluate_keeps_splits_apart_and_takes_rounds_replicas_and_checkpoint(run: Path) -> None:
    arguments = ["--split", "extrapolation", "--tasks", "3", "--rounds", "3", "--replicas", "1"]
    assert main(["evaluate", str(run), *arguments, "--checkpoint", "last"]) == 0
    result = json.loads((run / "evaluation-extrapolation.json").read_text())
    assert (result["plan"]["split"], result["plan"]["replicas"], len(result["iqm"])) == ("extrapolation", 1, 3)
    assert (run / "adaptation-extrapolation.png").exists()
    assert not (run / "evaluation.json").exists()


def test_evaluate_says_how_the_agent_was_trained(run: Path) -> None:
    assert main(["evaluate", str(run), "--tasks", "3"]) == 0
    trained = json.loads((run / "evaluation.json").read_text())["agent"]["trained"]
    assert (trained["updates"], trained["checkpoint"], trained["training_seed"]) == (2, "best", 0)
    assert trained["agent_settings"]["hidden_sizes"] == [8]
    assert "name" not in trained["agent_settings"]


def test_evaluate_measures_the_random_floor_in_the_same_tasks(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--agent", "random"]):
        assert main(["evaluate", str(run), "--tasks", "3", *more]) == 0
    assert "random on navigation-2d, test split: 3 tasks" in capsys.readouterr().out
    ours, floor = (json.loads((run / f"evaluation{end}.json").read_text()) for end in ("", "-random"))
    assert floor["agent"] == {"name": "random", "settings": {}, "trained": None, "oracle": False}
    for name in ("family", "settings", "tasks", "task_index", "plan", "env_steps"):
        assert floor[name] == ours[name], name
    assert floor["returns"] != ours["returns"]
    assert (run / "adaptation-random.png").exists()
    assert main(["evaluate", str(run), "--tasks", "3", "--agent", "random", "--split", "extrapolation"]) == 0
    assert (run / "evaluation-random-extrapolation.json").exists()


def test_a_trained_agent_may_be_told_to_adapt_though_it_was_trained_in_one_round(tmp_path: Path) -> None:
    changed = {**config(rounds=1, num_updates=1), "agent": {"name": "multi-task-ppo", "hidden_sizes": [8]}}
    run = meta_train(TrainConfig(**changed), tmp_path / "run", progress=False)
    assert main(["evaluate", str(run), "--tasks", "3", "--rounds", "2", "agent.adapts=all"]) == 0
    assert (run / "evaluation-adapts=%22all%22.json").exists()


def test_the_random_floor_needs_no_checkpoint(run: Path) -> None:
    for name in ("best", "last"):
        (run / f"{name}.safetensors").unlink()
    assert main(["evaluate", str(run), "--tasks", "3", "--agent", "random"]) == 0


def test_evaluate_says_that_an_agent_made_by_name_is_untrained(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("maml-ppo", "rl2"):
        assert main(["evaluate", str(run), "--tasks", "3", "--agent", name]) == 0
        assert f"{name} (untrained) on navigation-2d" in capsys.readouterr().out
        result = json.loads((run / f"evaluation-{name}.json").read_text())
        assert (result["agent"]["name"], result["agent"]["trained"]) == (f"{name} (untrained)", None)


def test_a_deterministic_evaluation_stands_beside_the_sampled_one_and_repeats(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "rl2", num_updates=1, rounds=2)
    measure = ["evaluate", str(run), "--tasks", "4", "--replicas", "3"]
    for words in ([], ["--deterministic"]):
        assert main([*measure, *words]) == 0
    file = run / "evaluation-deterministic.json"
    sampled, still = (json.loads(path.read_text()) for path in (run / "evaluation.json", file))
    assert (sampled["plan"]["deterministic"], still["plan"]["deterministic"]) == (False, True)
    assert sampled["returns"] != still["returns"]
    page = tmp_path / "page.md"
    assert main(["report", str(run), "-o", str(page)]) == 0
    text = page.read_text()
    assert "| rl2 deterministic |" in text
    assert "with exploration noise, except in rows that say 'deterministic'" in text
    again = next(line for line in text.splitlines() if "--deterministic" in line)
    before = file.read_bytes()
    file.unlink()
    assert main([*measure[:2], *shlex.split(again)[3:]]) == 0
    assert file.read_bytes() == before


def test_a_reference_that_plans_for_the_trial_is_told_its_rounds(tmp_path: Path) -> None:
    family = {"name": "gridnavi", "horizon": 8}
    run = trained(tmp_path / "run", "rl2", family=family, num_updates=1, rounds=2)
    for settings in ([], ["agent.episodes=2"], ["agent.episodes=4"]):
        assert main(["evaluate", str(run), "--tasks", "60", "--agent", "bayes-optimal-search", *settings]) == 0
    told, two, four = (
        json.loads((run / f"evaluation-bayes-optimal-search{more}.json").read_text())["returns"]
        for more in ("", "-episodes=2", "-episodes=4")
    )
    assert told == two != four


def test_references_of_other_settings_and_budgets_stand_side_by_side_and_repeat(run: Path, tmp_path: Path) -> None:
    measure = ["evaluate", str(run), "--tasks", "3", "--rounds", "2"]
    small = ["agent.hidden_sizes=[4]", "agent.n_epochs=1"]
    for words in (
        [],
        ["--agent", "sb3-ppo", *small],
        ["agent.adapts=true", "--agent", "sb3-ppo", *small],
        ["--agent", "sb3-ppo", *small, "agent.adapts=True", "--budget", "5"],
    ):
        assert main([*measure, *words]) == 0
    files = sorted(path.name for path in run.glob("evaluation-*.json"))
    ends = ["adapts=true-hidden_sizes=[4]-n_epochs=1-budget=5", "adapts=true-hidden_sizes=[4]-n_epochs=1"]
    assert files == [f"evaluation-sb3-ppo-{end}.json" for end in (*ends, "hidden_sizes=[4]-n_epochs=1")]
    told = [json.loads((run / name).read_text()) for name in files]
    assert [each["env_steps"] for each in told] == [[50, 60], [10, 20], [5, 10]]
    assert told[0]["agent"]["settings"] == {"adapts": True, "hidden_sizes": [4], "n_epochs": 1}
    page = tmp_path / "page.md"
    assert main(["report", str(run), "-o", str(page)]) == 0
    text = page.read_text().replace("\\[", "[")  # a bracket of plain text is escaped
    for end in ("adapts=true hidden_sizes=[4] n_epochs=1 budget=5", "hidden_sizes=[4] n_epochs=1"):
        assert f"sb3-ppo (untrained) {end}" in text
    again = next(line for line in text.splitlines() if "--budget 5" in line)
    before = (run / files[0]).read_bytes()
    (run / files[0]).unlink()
    assert main([*measure[:2], *shlex.split(again)[3:]]) == 0
    assert (run / files[0]).read_bytes() == before


@pytest.mark.parametrize(
    ("override", "end", "settings"),
    [
        ("agent.outer=trpo", 'outer="trpo"', {"outer": "trpo"}),
        ("agent.outer={clip_range: 0.1}", "outer.clip_range=0.1", {"outer.clip_range": 0.1}),
        ("agent.outer={name: trpo, max_kl: 0.1}", "", {"outer.name": "trpo", "outer.max_kl": 0.1}),
        ("agent.discount=0.9", "discount=0.9", {"discount": 0.9}),
    ],
)
def test_a_result_names_the_settings_that_were_written_and_no_defaults(
    tmp_path: Path, override: str, end: str, settings: dict[str, Any]
) -> None:
    run = trained(tmp_path / "run", "maml-ppo", num_updates=1)
    assert main(["evaluate", str(run), "--tasks", "3", "--agent", "maml-ppo", override]) == 0
    (file,) = run.glob("evaluation-*.json")
    assert json.loads(file.read_text())["agent"]["settings"] == settings
    assert unquote(file.name).startswith(f"evaluation-maml-ppo-{end}")


def test_evaluate_gives_the_same_file_with_any_number_of_threads(run: Path, tmp_path: Path, curves: None) -> None:
    files = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
    for file, threads in zip(files, ("1", "1", "2"), strict=True):
        arguments = ["--tasks", "4", "--json", str(file), "--plot", str(tmp_path / "a.svg"), "--threads", threads]
        assert main(["evaluate", str(run), *arguments]) == 0
    assert len({file.read_bytes() for file in files}) == 1
    assert not (run / "evaluation.json").exists()
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")


def test_the_picture_lies_beside_numbers_that_were_given_a_name(run: Path, tmp_path: Path, curves: None) -> None:
    assert main(["evaluate", str(run), "--tasks", "3", "--json", str(tmp_path / "four.json")]) == 0
    assert (tmp_path / "four.png").read_bytes().startswith(b"\x89PNG")
    assert not list(run.glob("adaptation*"))


def test_an_evaluation_of_another_plan_keeps_the_one_before_and_says_where(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--tasks", "3"], ["--tasks", "3"], ["--tasks", "3", "--agent", "random"]):
        assert main(["evaluate", str(run), *words]) == 0
        assert capsys.readouterr().err == ""
    changed = ["--tasks", "2", "--seed", "1", "--checkpoint", "last"]
    assert main(["evaluate", str(run), *changed, "--json", str(tmp_path / "other.json")]) == 0
    assert capsys.readouterr().err == ""
    result, contents = run / "evaluation.json", []
    for number, words in enumerate((changed, ["--tasks", "4"], ["--tasks", "3"]), start=1):
        contents.append(result.read_bytes())
        assert main(["evaluate", str(run), *words]) == 0
        (line,) = capsys.readouterr().err.splitlines()
        assert line.endswith(
            f"{result} held another result, which is kept as {result}.replaced-{number}; reports read evaluation.json"
        )
    for number, content in enumerate(contents, start=1):
        assert (run / f"evaluation.json.replaced-{number}").read_bytes() == content
    assert result.read_bytes() == contents[0]
    assert main(["report", str(run), "-o", str(tmp_path / "page.tex")]) == 0
    assert capsys.readouterr().err == ""


def test_a_damaged_result_is_kept_too(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "evaluation.json").write_text('{"format": "metarl evaluation 2", "retur')
    assert main(["evaluate", str(run), "--tasks", "3"]) == 0
    assert "evaluation.json.replaced-1" in capsys.readouterr().err
    assert (run / "evaluation.json.replaced-1").read_text().endswith('"retur')


def test_a_trained_agent_is_measured_with_other_settings_beside_its_own(run: Path, tmp_path: Path) -> None:
    measure = ["evaluate", str(run), "--tasks", "3", "--rounds", "3"]
    for words in ([], ["agent.inner_lr=5", "agent.outer.clip_range=0.5"], ["agent.inner_lr=1e-9"], ["--budget", "2"]):
        assert main([*measure, *words]) == 0
    names = ["inner_lr=1e-09", "inner_lr=5.0-outer.clip_range=0.5", "budget=2"]
    own, still, moved, longer = (
        json.loads((run / f"evaluation{end}.json").read_text()) for end in ("", *(f"-{name}" for name in names))
    )
    assert [each["agent"]["trained"] for each in (still, moved, longer)] == [own["agent"]["trained"]] * 3
    assert moved["agent"]["settings"] == {"inner_lr": 5.0, "outer.clip_range": 0.5}
    first = [[returns[0] for returns in each["returns"]] for each in (own, still, moved, longer)]
    assert first[1:] == first[:1] * 3  # the same trained policy, before it adapts
    last = [[returns[-1] for returns in each["returns"]] for each in (own, still, moved, longer)]
    assert all(one != other for one, other in itertools.combinations(last, 2))
    page = tmp_path / "page.md"
    assert main(["report", str(run), "-o", str(page)]) == 0
    text = page.read_text()
    for told in ("inner_lr=1e-09", "inner_lr=5.0 outer.clip_range=0.5", "budget=2"):
        assert f"maml-ppo {told}" in text
    before = (run / f"evaluation-{names[1]}.json").read_bytes()
    (run / f"evaluation-{names[1]}.json").unlink()
    again = next(line for line in text.splitlines() if "agent.outer.clip_range" in line)
    assert "--agent" not in again
    assert main([*measure[:2], *shlex.split(again)[3:]]) == 0
    assert (run / f"evaluation-{names[1]}.json").read_bytes() == before


def test_several_runs_are_measured_in_turn_and_a_missing_one_is_told_first(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    assert main(["evaluate", str(run), str(other), "--tasks", "2", "agent.inner_lr=0.01"]) == 0
    assert capsys.readouterr().out.count("maml-ppo inner_lr=0.01 on navigation-2d") == 2
    for folder in (run, other):
        assert (folder / "evaluation-inner_lr=0.01.json").exists()
    assert main(["evaluate", str(run), str(tmp_path / "missing")]) == 2
    assert "missing does not exist" in capsys.readouterr().err
    assert not (run / "evaluation.json").exists()
    assert main(["evaluate", str(run), str(other), "--json", str(tmp_path / "one.json")]) == 2
    assert "--json was given with 2 runs" in capsys.readouterr().err


def test_a_run_whose_name_has_an_equals_sign_is_no_setting(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(run, tmp_path / "lr=1")
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "lr=1", "--tasks", "2"]) == 0
    assert (tmp_path / "lr=1" / "evaluation.json").exists()


def test_a_reference_is_measured_on_a_family_without_a_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--agent", "random", "--tasks", "3", "--replicas", "2"]
    assert main(["evaluate", "--family", "navigation-2d", "family.horizon=5", *words]) == 0
    assert main(["evaluate", str(run), *words]) == 0
    alone = json.loads((tmp_path / "references" / "navigation-2d" / "evaluation-random.json").read_text())
    assert alone["returns"] == json.loads((run / "evaluation-random.json").read_text())["returns"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            [],
            "no run was given; write `metarl evaluate RUN` with the folder of a run, or `metarl evaluate --family NAME",
        ),
        (["--family", "gridnavi"], "--family was given without --agent"),
        (["--family", "gridnavi", "--agent", "random", "RUN"], "--family and run RUN were both given"),
    ],
)
def test_what_is_missing_is_said(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *words]) == 2
    assert told in capsys.readouterr().err


def test_shots_measure_one_agent_with_each_number_of_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["evaluate", "--family", "sinusoid", "--agent", "random", "--tasks", "3", "--quiet"]
    assert main([*words, "--shots", "5,1,5"]) == 0
    title, header, one, five, *_ = capsys.readouterr().out.splitlines()
    assert title == "random on sinusoid, test split, round 2: 3 tasks, seed 0"
    assert (header.split()[0], one.split()[0], five.split()[0]) == ("shots", "1", "5")
    assert (one.split()[1], five.split()[1]) == ("11", "15")
    found = [json.loads(Path(f"references/sinusoid/shots-random-{n}.json").read_text()) for n in (1, 5)]
    assert [each["settings"]["shots"] for each in found] == [1, 5]
    assert found[0]["tasks"] == found[1]["tasks"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--family", "point-dense", "--shots", "1"], "family 'point-dense' has no setting shots"),
        (["--family", "sinusoid", "--shots", "1", "--json", "F.json"], "--json was given with --shots"),
        (["--family", "sinusoid", "--shots", "0"], "0 is too small: it must be at least 1"),
        (["--family", "sinusoid", "--shots", "1,many"], "'many' is no whole number"),
    ],
)
def test_shots_that_cannot_be_are_refused_in_one_line(
    words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", "--agent", "random", *words]) == 2
    assert says in capsys.readouterr().err


def test_shots_refuse_a_file_that_cannot_be_written_before_they_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "references" / "sinusoid"
    (folder / "shots-random-5.json").mkdir(parents=True)
    words = ["evaluate", "--family", "sinusoid", "--agent", "random", "--tasks", "3", "--quiet"]
    assert main([*words, "--shots", "1,5"]) == 2
    assert "shots-random-5.json is a folder" in capsys.readouterr().err
    assert not (folder / "shots-random-1.json").exists()


def test_an_interrupted_curve_of_shots_keeps_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    measure, asked = evaluation.evaluate, []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        asked.append(1)
        if len(asked) == 2:
            raise MetarlError("stop")
        return measure(*arguments, **options)

    monkeypatch.setattr(evaluation, "evaluate", interrupted)
    words = ["evaluate", "--family", "sinusoid", "--agent", "random", "--tasks", "3", "--quiet"]
    assert main([*words, "--shots", "1,5"]) == 2
    assert json.loads(Path("references/sinusoid/shots-random-1.json").read_text())["settings"]["shots"] == 1


def test_no_picture_of_answers_stays_beside_numbers_that_are_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("references/sinusoid")
    words = ["evaluate", "--family", "sinusoid", "--agent", "random", "--quiet"]
    assert main([*words, "--tasks", "2"]) == 0
    picture, numbers = folder / "tasks-random.png", folder / "evaluation-random.json"
    assert picture.is_file()
    assert main([*words, "--tasks", "3", "--json", "other.json"]) == 0
    assert picture.is_file()
    assert main([*words, "--tasks", "3", "--json", str(numbers)]) == 0
    assert not picture.exists() and len(json.loads(numbers.read_text())["tasks"]) == 3


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A student of the greedy player, not to be changed."""
    family = {"name": "bernoulli-bandit", "num_arms": 3, "horizon": 5}
    return trained(tmp_path_factory.mktemp("taught") / "run", "rl2", family=family, teacher="greedy", num_updates=2)


def test_a_student_is_measured_beside_its_teacher(taught: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(taught), "--teacher", "--tasks", "6", "--rounds", "3", "--quiet"]) == 0
    told = capsys.readouterr().out
    assert "rl2 does what greedy would in " in told
    found = json.loads((taught / "teacher.json").read_text())
    assert [len(shares) for shares in found["shares"]] == [5, 5, 5]
    assert (found["teacher"], found["plan"]["num_tasks"]) == ("greedy", 6)
    assert not (taught / "evaluation.json").exists()


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--agent", "random"], "--agent was given with --teacher, which measures the agent of a run: leave it out"),
        (["--json", "F.json"], "--json was given with --teacher"),
        (["--shots", "1"], "--shots was given with --teacher"),
        (["--workers", "2"], "--teacher times actions, which other processes would disturb: start one process"),
        (["--rounds", "3", "--budget", "2"], "budget is 2; a teacher is asked in every round: leave it out"),
        (["family.horizon=4"], "settings were given with --teacher, which measures the run as it is: leave them out"),
    ],
)
def test_what_says_nothing_beside_a_teacher_is_refused(
    taught: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    assert main(["evaluate", str(taught), "--teacher", "--tasks", "3", *words]) == 2
    assert complaint in capsys.readouterr().err


def test_a_run_without_a_teacher_says_so(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(finished), "--teacher"]) == 2
    assert f"run {finished} had no teacher; measure it alone: `metarl evaluate {finished}`" in capsys.readouterr().err


def test_a_teacher_that_changed_since_is_not_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    family = {"name": "bernoulli-bandit", "num_arms": 3, "horizon": 5}
    teacher = trained(tmp_path / "teach-0", "rl2", family=family, num_updates=2)
    given = {"of": {"run": str(tmp_path / "teach-{seed}")}}
    student = trained(tmp_path / "student", "rl2", family=family, teacher=given, num_updates=2)
    words = ["evaluate", str(student), "--teacher", "--tasks", "3", "--quiet"]
    assert main(words) == 0
    assert json.loads((student / "teacher.json").read_text())["teacher"] == str(teacher)
    shutil.rmtree(teacher)
    trained(teacher, "rl2", family=family, num_updates=2, seed=9)
    assert main(words) == 2
    assert "its checkpoint has changed since this run began" in capsys.readouterr().err
