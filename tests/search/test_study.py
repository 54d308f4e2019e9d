"""Studies: equal seeds, kills, pruning, failures, and what may not change when one goes on."""

from __future__ import annotations

import csv
import math
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from metarl.base.errors import MetarlError
from metarl.base.yaml_text import read_yaml
from metarl.search.pruners import MedianPruner, score_after
from metarl.search.samplers import make_sampler, suggest
from metarl.search.space import parse_space
from metarl.search.storage import locked, open_study
from metarl.search.study import run_study
from metarl.search.trial import side_by_side
from tests.search.small_studies import LEARNING_RATE, outcomes, plan, played

GRID = {"agent.inner_lr": [0.01, 0.1, 1.0], "agent.outer.num_epochs": {"low": 1, "high": 3, "step": 1}}
MIXED = {**LEARNING_RATE, "agent.outer.num_epochs": {"low": 1, "high": 9}, "agent.adapts": ["all", "last-layer"]}


def table(place: Path) -> list[dict[str, str]]:
    """Return the rows of trials.csv."""
    return list(csv.DictReader((place / "study/trials.csv").read_text().splitlines()))


def test_the_score_of_a_trial_is_the_mean_of_its_seeds_best_scores(tmp_path: Path) -> None:
    study = played(tmp_path, {"agent.inner_lr": [0.1]}, seeds=3, trials=1)
    (trial,) = study.get_trials()
    # The stub's score after the last of four updates is 4, and 0.01 more for each seed.
    assert trial.value == pytest.approx(4.01)
    assert trial.user_attrs["scores"] == pytest.approx([4.0, 4.01, 4.02])
    assert trial.user_attrs["env_steps"] == [400, 400, 400]
    # A seed weighs as much as the steps that it has spent, so that its beginning makes no jump.
    means = [
        sum(4 + 0.01 * k for k in range(seed)) * 400 + (n + 0.01 * seed) * 100 * n
        for seed in range(3)
        for n in (1, 2, 3, 4)
    ]
    steps = range(100, 1300, 100)
    assert trial.intermediate_values == pytest.approx(
        {step: total / step for step, total in zip(steps, means, strict=True)}
    )


@pytest.mark.parametrize("workers", [1, 3])
def test_a_grid_visits_every_point_once(tmp_path: Path, workers: int) -> None:
    study = played(tmp_path, GRID, sampler="grid", trials=9, seeds=1, workers=workers)
    points = {tuple(each.params.values()) for each in study.get_trials()}
    assert points == {(rate, epochs) for rate in (0.01, 0.1, 1.0) for epochs in (1, 2, 3)}
    assert len(study.get_trials()) == 9


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "cma-es", "hyperopt"])
def test_equal_seeds_give_equal_trials_and_others_do_not(sampler: str) -> None:
    space = parse_space(MIXED)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found = []
    for seed in (0, 0, 1):
        study = optuna.create_study(direction="maximize")
        for number in range(12):
            trial = study.ask()
            study.sampler = make_sampler(sampler, space, seed, number)
            params = suggest(trial, space)
            study.tell(trial, -abs(math.log10(params["agent.inner_lr"]) + 2))  # type: ignore[arg-type]
        found.append([each.params for each in study.get_trials()])
    assert found[0] == found[1] != found[2]
    assert len({tuple(each.values()) for each in found[0]}) > 10


def kill_often(asked: Any, times: int) -> None:
    """Run a study in processes that are killed, each once it has ended a trial or begun another training."""
    context = multiprocessing.get_context("fork")
    for _ in range(times):
        before = len(list(asked.folder.glob("trials/*/seed*/metrics.jsonl")))
        process = context.Process(target=_run_quietly, args=(asked,))
        process.start()
        deadline = time.monotonic() + 60
        while len(list(asked.folder.glob("trials/*/seed*/metrics.jsonl"))) <= before + 1:
            assert process.is_alive() and time.monotonic() < deadline
            time.sleep(0.002)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()


def _run_quietly(asked: Any) -> None:
    with locked(asked.folder):
        run_study(asked, lambda line: None)


@pytest.mark.parametrize("workers", [1, 2])
def test_three_kills_lose_no_finished_trial_and_change_none(
    tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUB_SECONDS", "0.02")
    (tmp_path / "killed").mkdir()
    asked = plan(tmp_path / "killed", trials=6, workers=workers, storage=None)
    finished: list[Any] = []
    for _ in range(3):
        kill_often(asked, 1)
        ended = [each for each in outcomes(open_study(asked)) if each[0] == "COMPLETE"]
        assert ended[: len(finished)] == finished or workers > 1
        assert all(each in ended for each in finished)
        finished = ended
    monkeypatch.setenv("STUB_SECONDS", "0")
    with locked(asked.folder):
        study = run_study(asked, lambda line: None)
    assert [each[0] for each in outcomes(study)] == ["COMPLETE"] * 6
    (tmp_path / "whole").mkdir()
    if workers == 1:
        assert outcomes(study) == outcomes(played(tmp_path / "whole", trials=6))
    assert len(list(asked.folder.glob("trials/*/seed*/metrics.jsonl"))) == 12


def test_a_training_that_was_cut_short_goes_on_with_its_own_settings(tmp_path: Path) -> None:
    asked = plan(tmp_path, trials=1)
    study = open_study(asked)
    trial = study.ask()
    trial.suggest_float("agent.inner_lr", 0.001, 1.0, log=True)
    with locked(asked.folder):
        done = run_study(asked, lambda line: None)
    assert [each.params for each in done.get_trials()] == [trial.params]


def test_a_kill_between_two_notes_of_a_seed_repeats_the_seed(tmp_path: Path) -> None:
    asked = plan(tmp_path, trials=1, storage=None)
    open_study(asked).ask().set_user_attr("env_steps", [400])  # its score was not noted any more
    with locked(asked.folder):
        study = run_study(asked, lambda line: None)
    whole = played(tmp_path, trials=1, folder=tmp_path / "whole", storage=str(tmp_path / "other.log"))
    assert outcomes(study) == outcomes(whole)


@pytest.mark.parametrize("name", ["with ? and #", "100%41", "ünïcode"])
def test_a_study_has_its_database_in_its_folder_whatever_the_folder_is_called(tmp_path: Path, name: str) -> None:
    asked = plan(tmp_path, folder=tmp_path / name, storage=None)
    asked.folder.mkdir()
    open_study(asked)
    assert (asked.folder / "study.db").stat().st_size > 0
    assert {path.name for path in tmp_path.iterdir()} == {"maml-ppo.yaml", "study", name}


@pytest.mark.parametrize(("pruner", "trials"), [("none", 2), ("median", 8), ("asha", 5)])
def test_pruned_trials_spend_fewer_env_steps(tmp_path: Path, pruner: str, trials: int) -> None:
    # Every trial of the stub that ends takes 800 steps.
    study = played(tmp_path, pruner=pruner, trials=trials)
    whole, cut = (study.get_trials(states=(state,)) for state in (TrialState.COMPLETE, TrialState.PRUNED))
    assert len(whole) + len(cut) == trials and whole and bool(cut) == (pruner != "none")
    assert [sum(each.user_attrs["env_steps"]) for each in whole] == [800] * len(whole)
    for each in cut:
        assert max(each.intermediate_values) <= sum(each.user_attrs["env_steps"]) < 800


def test_scores_compare_after_as_many_env_steps_however_they_are_spaced() -> None:
    scores = {100: 1.0, 250: 2.0, 400: 3.0}
    assert [score_after(scores, step) for step in (99, 100, 249, 250, 1000)] == [None, 1.0, 1.0, 2.0, 3.0]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", pruner=MedianPruner())
    for last in (1.0, 2.0, 3.0, 4.0, 5.0):
        trial = study.ask()
        trial.report(last - 10, 70)
        trial.report(last, 130)
        study.tell(trial, last)
    for value, ends in ((2.9, True), (3.0, False)):
        trial = study.ask()
        trial.report(-5.0, 90)  # the others had from -9 to -5 then
        assert not trial.should_prune()
        trial.report(value, 140)
        assert trial.should_prune() == ends


def test_a_diverged_training_is_a_failed_trial_that_keeps_its_line(tmp_path: Path) -> None:
    study = played(tmp_path, {"agent.inner_lr": [10.0, 0.1]}, sampler="grid", trials=2)
    failed, good = study.get_trials()
    assert (failed.state, good.state) == (TrialState.FAIL, TrialState.COMPLETE)
    assert failed.user_attrs["error"] == "update 0: agent/loss is nan; take a lower learning rate"
    rows = table(tmp_path)
    assert [row["state"] for row in rows] == ["failed", "finished"]
    assert "agent/loss is nan" in rows[0]["error"]


def test_settings_that_the_config_refuses_together_are_a_failed_trial(tmp_path: Path) -> None:
    space = {"agent.inner_lr": [0.1], "agent.outer.target_kl": [0.1], "agent.outer.num_epochs": [1]}
    asked = plan(tmp_path, space, trials=1)

    def load(words: Any) -> Any:
        if len(words) == 3:
            raise MetarlError("these contradict each other")
        return asked.base

    study = played(tmp_path, space, trials=1, load=load)
    assert study.get_trials()[0].user_attrs["error"] == "these contradict each other"


def test_the_table_and_the_best_config_say_what_the_study_found(tmp_path: Path) -> None:
    study = played(tmp_path, {"agent.inner_lr": [0.01, 0.1]}, sampler="grid", trials=2)
    rows = table(tmp_path)
    assert [float(row["score"]) for row in rows] == [each.value for each in study.get_trials()]
    assert [row["agent.inner_lr"] for row in rows] == ["0.01", "0.1"]
    assert [row["env_steps"] for row in rows] == ["800", "800"]
    best = read_yaml(tmp_path / "study/best.yaml", "a config")
    assert (best["agent"]["inner_lr"], best["seed"]) == (0.1, 0)


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "the sampler": ({"sampler": "tpe"}, "another sampler: --sampler is 'tpe', it was 'random'"),
    "the sampler's seed": ({"sampler_seed": 1}, "another sampler seed: --sampler-seed is 1, it was 0"),
    "the pruner": ({"pruner": "asha"}, "another pruner: --pruner is 'asha', it was 'none'"),
    "the seeds": ({"seeds": 3}, "another seeds: --seeds is 3, it was 2"),
    "a range": ({"space": {"agent.inner_lr": {"low": 0.01, "high": 1.0, "log": True}}}, "agent.inner_lr.low is 0.01"),
    "the settings": ({"space": {**LEARNING_RATE, "meta_batch_size": [2]}}, "another space: meta_batch_size is in one"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_study_goes_on_as_it_began_or_not_at_all(change: str, tmp_path: Path) -> None:
    played(tmp_path, trials=1)
    changed, told = CHANGES[change]
    with pytest.raises(MetarlError) as caught:
        played(tmp_path, trials=1, **changed)
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert len(played(tmp_path, trials=2).get_trials()) == 2


def test_a_study_with_another_config_is_refused(tmp_path: Path) -> None:
    asked = plan(tmp_path)
    open_study(asked)
    other = plan(tmp_path, base=asked.load(["agent.gae_lambda=0.5"]))
    with pytest.raises(MetarlError, match=r"another config: agent\.gae_lambda is 0\.5, it was 0\.97; put it back"):
        open_study(other)
    # Neither logging nor threads change a score.
    open_study(plan(tmp_path, base=asked.load(["log=none", "threads=1"])))


def test_a_config_that_changes_during_a_study_ends_it(tmp_path: Path) -> None:
    asked = plan(tmp_path)
    with pytest.raises(MetarlError, match=r"maml-ppo\.yaml has changed since the study began; put it back"):
        played(tmp_path, load=lambda words: asked.load([*words, "agent.gae_lambda=0.5"]), base=asked.base)


def test_two_folders_share_a_journal_and_leave_each_others_trials_alone(tmp_path: Path) -> None:
    journal = str(tmp_path / "journal.log")
    ours = plan(tmp_path, folder=tmp_path / "a/study", storage=journal, trials=2, seeds=1)
    theirs = plan(tmp_path, folder=tmp_path / "b/study", storage=journal, trials=4, seeds=1)
    for asked in (ours, theirs):
        asked.folder.mkdir(parents=True)
    open_study(ours).ask().set_user_attr("owner", "another")
    for asked in (ours, theirs):
        with locked(asked.folder):
            study = run_study(asked, lambda line: None)
    assert [each.state.name for each in study.get_trials()] == ["RUNNING", "COMPLETE", "COMPLETE", "COMPLETE"]
    runs = [len(list(asked.folder.glob("trials/*/seed0"))) for asked in (ours, theirs)]
    assert runs == [1, 2]


def test_a_folder_that_another_process_runs_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path / "study"), pytest.raises(MetarlError, match="is being run by another process"):
        played(tmp_path)


@pytest.mark.parametrize("storage", [None, "nosuchdatabase://user:secret@host/name"])
def test_a_storage_that_cannot_be_opened_is_one_line_without_a_password(tmp_path: Path, storage: str | None) -> None:
    asked = plan(tmp_path, storage=storage)
    (tmp_path / "study/study.db").write_text("no database " * 1000)
    with pytest.raises(MetarlError, match="cannot be opened as a study") as caught:
        open_study(asked)
    assert "\n" not in str(caught.value) and "secret" not in str(caught.value)


def test_an_error_in_one_work_ends_the_others() -> None:
    ended = []

    def work(name: str, turns: int) -> Any:
        try:
            for _ in range(turns):
                yield
            raise MetarlError(name)
        finally:
            ended.append(name)

    with pytest.raises(MetarlError, match="short"):
        side_by_side(iter([work("long", 1000), work("short", 2)]), 2)
    assert ended == ["short", "long"]
