"""Listings of agents and families, in groups that follow from their folders and classes."""

from __future__ import annotations

import re

import pytest

from metarl.cli.main import main
from metarl.cli.pages import grouped_listing
from metarl.families.family import FAMILIES
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


def test_a_class_of_another_package_is_listed_under_its_name_and_columns_are_those_of_all_groups() -> None:
    classes = {"mine": type("Mine", (), {"__module__": "no_such_package.parts"}), "random": AGENTS["random"]}
    text = grouped_listing(classes, lambda name: f"does {name}")
    assert groups(text)["no_such_package"] == ["mine"]
    assert {len(row.partition("does")[0]) for row in re.findall(r"^  .*$", text, re.M)} == {len("  random  ")}
