"""Names of settings: which keys tell the runs of one agent apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from metarl.base.settings import Settings
from metarl.base.yaml_text import dump_yaml
from metarl.report.groups import group_runs
from metarl.report.runs import read_run
from metarl.report.setting_names import name_settings
from metarl.runs.config import TrainConfig, resolve
from metarl.trials.registered import AGENTS
from tests.report.run_folders import run_folder, scores
from tests.scripted import Scripted
from tests.small_runs import config


def resolved(name: str, **settings: Any) -> dict[str, Any]:
    """Return the config of a run of this agent."""
    return resolve(TrainConfig(**{**config(), "agent": {"name": name, **settings}}))


def names_of(*settings: dict[str, Any], agent: str = "maml-ppo") -> list[str]:
    """Return the changes of an agent with each of these settings, as words."""
    return [" ".join(words) for words in name_settings([resolved(agent, **each) for each in settings])]


def test_choices_of_other_names_differ_in_their_name_alone() -> None:
    assert names_of({}, {"outer": "trpo"}, {"outer": {"clip_range": 0.1}}, {"outer": "reptile"}) == [
        "",
        "agent.outer.name=trpo",
        "agent.outer.clip_range=0.1",
        "agent.outer.name=reptile",
    ]


def test_order_of_the_runs_does_not_change_their_names() -> None:
    settings: list[dict[str, Any]] = [{}, {"outer": "trpo"}, {"outer": {"clip_range": 0.1}}, {"inner_lr": 0.5}]
    assert names_of(*reversed(settings)) == names_of(*settings)[::-1]


def test_keys_of_a_choice_are_compared_with_those_of_the_same_choice() -> None:
    wide, usual = {"outer": {"name": "trpo", "max_kl": 0.02}}, {"outer": "trpo"}
    assert names_of(wide, usual) == ["agent.outer.max_kl=0.02", ""]
    assert names_of(wide, {}) == ["agent.outer.name=trpo", ""]
    assert names_of(wide, usual, {}) == ["agent.outer.name=trpo agent.outer.max_kl=0.02", "agent.outer.name=trpo", ""]


def test_values_that_are_no_defaults_are_all_written() -> None:
    assert names_of({"inner_lr": 0.2}, {"inner_lr": 0.3}) == ["agent.inner_lr=0.2", "agent.inner_lr=0.3"]


def test_default_is_that_of_the_agent() -> None:
    assert names_of({}, {"outer": "ppo"}, agent="maml-trpo") == ["", "agent.outer.name=ppo"]


class Needy(Scripted):
    """An agent with a setting that has no default."""

    class Config(Settings):
        size: int


def test_settings_without_defaults_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AGENTS._items, "needy", Needy)
    configs = [{"family": {"name": "navigation-2d"}, "agent": {"name": "needy", "size": size}} for size in (1, 2)]
    assert name_settings(configs) == [["agent.size=1"], ["agent.size=2"]]


def test_rows_of_a_page_have_these_names(tmp_path: Path) -> None:
    runs = []
    for number, outer in enumerate(({}, {"name": "trpo"}, {"clip_range": 0.1})):
        run = run_folder(tmp_path / f"r{number}", scores(number))
        (run / "config.yaml").write_text(dump_yaml(resolved("maml-ppo", outer=outer)))
        runs.append(read_run(run))
    assert [group.name for group in group_runs(runs)] == [
        "maml-ppo",
        "maml-ppo agent.outer.name=trpo",
        "maml-ppo agent.outer.clip_range=0.1",
    ]


def whole(**settings: Any) -> dict[str, Any]:
    return resolve(TrainConfig(**{**config("rl2"), **settings}))


def test_a_teacher_and_a_start_are_told_by_name_beside_what_is_not_usual_of_them() -> None:
    told = name_settings(
        [
            whole(),
            whole(teacher="ucb1"),
            whole(teacher=["ucb1", {"run": "runs/expert-1"}]),
            whole(teacher={"of": {"name": "ucb1", "exploration": 0.5}}),
            whole(teacher={"of": {"run": "a/seed1"}}),
            whole(teacher={"of": {"run": "b/seed1"}}),
            whole(teacher={"of": {"run": "b/seed1", "checkpoint": "last"}}),
            whole(teacher={"of": "ucb1", "preset": "dagger"}),
            whole(teacher={"of": "ucb1", "loss": "kickstart"}),
            whole(start_from="runs/first"),
            whole(start_from={"run": "runs/first", "take": "fitting"}),
        ]
    )
    assert [" ".join(words) for words in told] == [
        "",
        "teacher=ucb1",
        "teacher=ucb1+runs/expert-1",
        "teacher=ucb1(exploration=0.5)",
        "teacher=a/seed1",
        "teacher=b/seed1",
        "teacher=b/seed1 (last)",
        "teacher=ucb1 teacher.preset=dagger",
        "teacher=ucb1 teacher.loss=kickstart",
        "start_from=runs/first",
        "start_from=runs/first start_from.take=fitting",
    ]
