"""Listings of agents and families, in groups that follow from their folders and classes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metarl.cli.main import main
from metarl.cli.pages import family_page, grouped_listing
from metarl.families.family import FAMILIES, describe
from metarl.trials.agent import Oracle
from metarl.trials.registered import AGENTS


def groups(text: str) -> dict[str, list[str]]:
    """Return the names below each title."""
    found: dict[str, list[str]] = {}
    for block in text.strip().split("\n\n"):
        title, *rows = block.split("\n")
        found[title] = [row.split()[0] for row in rows]
    return found


def test_agents_are_listed_by_kind_each_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["agents"]) == 0
    found = groups(capsys.readouterr().out)
    assert sorted(name for names in found.values() for name in names) == [*AGENTS]
    titles = [title.split(":")[0] for title in found]
    assert {"Gradient-based meta-learning", "References", "RL^2", "Agents of stable-baselines3"} < set(titles)
    assert titles[-1] == "Oracles, which are shown the task"
    *_, oracles = found.values()
    assert oracles == [name for name in AGENTS if issubclass(AGENTS[name], Oracle)]


def test_families_are_listed_by_kind_each_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["families"]) == 0
    found = groups(capsys.readouterr().out)
    assert sorted(name for names in found.values() for name in names) == [*FAMILIES]
    assert len(found) == len({FAMILIES[name].__module__.rpartition(".")[0] for name in FAMILIES}) > 3
    assert "point-sparse" in found["Points that move in a plane towards a hidden goal"]


def test_the_page_of_a_yaml_file_shows_what_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "swing.yaml"
    file.write_text(
        """
env: Pendulum-v1
name: windy-swing
horizon: 50
wrappers: [unbounded, {clip_reward: [-1, 1.0]}]
success: {return_at_least: -100}
shows_task: true
varies:
  g: {train: {uniform: [5, 15]}, extrapolation: {uniform: [15, 20]}, unit: m/s^2, meaning: gravity}
  length: {attribute: l, train: {uniform: [0.5, 2]}}
"""
    )
    page = family_page(str(file))
    assert page.startswith(f"{file}: family 'windy-swing', as the file says\n")
    rows = [
        ("name", "windy-swing"),
        ("env", "Pendulum-v1"),
        ("wrappers", "[unbounded, {clip_reward: [-1, 1.0]}]"),
        ("success", "{return_at_least: -100}"),
        ("shows_task", "true"),
        ("varies g", "argument: g"),
        ("varies length", "attribute: l"),
        ("g", "m/s^2  gravity  uniform 5 to 15   uniform 15 to 20"),
        ("length", "-      -        uniform 0.5 to 2  none"),
        ("arguments", "{}"),
    ]
    for key, told in rows:
        assert re.search(rf"^  {key} +{re.escape(told)}$", page, re.MULTILINE), (key, page)
    assert "Any environment of Gymnasium" not in page


def test_the_page_of_a_yaml_file_on_a_family_names_the_family_and_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "plain.yaml"
    file.write_text("family: navigation-2d\nparameters: {goal: {train: {choice: [[0.1, 0.2]]}}}\n")
    page = family_page(str(file), next(iter(FAMILIES["navigation-2d"].presets)))
    assert f"family      navigation-2d: {describe(FAMILIES['navigation-2d'])}\n" in page
    assert "parameters  {goal: {train: {choice: [[0.1, 0.2]]}}}\n" in page
    assert "preset      " in page


def test_a_class_of_another_package_is_listed_under_its_name_and_columns_are_those_of_all_groups() -> None:
    classes = {"mine": type("Mine", (), {"__module__": "no_such_package.parts"}), "random": AGENTS["random"]}
    text = grouped_listing(classes, lambda name: f"does {name}")
    assert groups(text)["no_such_package"] == ["mine"]
    assert {len(row.partition("does")[0]) for row in re.findall(r"^  .*$", text, re.M)} == {len("  random  ")}
