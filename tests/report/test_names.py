"""Names of groups in tables: short in the cell, whole on the page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from metarl.report.about import About
from metarl.report.cells import MAX_LENGTH
from metarl.report.escape import markdown_text
from metarl.report.groups import Group, group_runs
from metarl.report.html import html_page
from metarl.report.latex import latex
from metarl.report.markdown import markdown
from metarl.report.names import group_cells, long_names
from metarl.report.runs import read_run
from metarl.report.tables import build_tables
from metarl.trials.agent import ORACLE
from tests.report.run_folders import run_folder, scores, write_reference

SETTINGS = "agent.first_setting=12345 agent.second_setting=12345"


@pytest.fixture
def groups(tmp_path: Path) -> list[Group]:
    """Return a trained group and two references with names too long for a cell."""
    run = run_folder(tmp_path / "run", scores(1))
    write_reference(run, "one", returns=scores(2))
    write_reference(run, "two", returns=scores(3))
    names = ("rl2", f"maml-ppo {SETTINGS}", "x" * 60)
    return [
        replace(group, name=name, problem=f"a-family-with {SETTINGS}")
        for group, name in zip(group_runs([read_run(run)]), names, strict=True)
    ]


def test_no_cell_of_a_table_is_longer_than_it_may_be(groups: list[Group]) -> None:
    other = [replace(group, problem="another") for group in groups]
    for table in build_tables([*groups, *other]):
        assert max(len(text) for row in table.plain_rows() for text in row) <= MAX_LENGTH


def test_long_name_is_cut_at_a_word_and_numbered(groups: list[Group]) -> None:
    cells = [cell.text for cell in group_cells(groups).values()]
    assert cells == ["rl2", "maml-ppo agent.first_setting=12345 [1]", f"{'x' * 36} [2]"]


def test_every_page_says_a_cut_name_in_full(groups: list[Group]) -> None:
    lines = [f"maml-ppo agent.first_setting=12345 [1]: maml-ppo {SETTINGS}", f"{'x' * 36} [2]: {'x' * 60}"]
    assert [line for line in long_names(groups) if "a-family" not in line] == lines
    for line in lines:
        assert markdown_text(line) in markdown(groups, About(""), {})
        assert line in html_page(groups, About(""))
        assert line in latex(groups, About(""))


def test_note_of_an_oracle_is_shortened_before_the_settings_are(groups: list[Group]) -> None:
    (cell,) = group_cells([replace(groups[0], name=f"maml-ppo agent.adapts=true ({ORACLE})")]).values()
    assert cell.text == "maml-ppo agent.adapts=true (oracle)"
    (kept,) = group_cells([replace(groups[0], name=f"beeline ({ORACLE})")]).values()
    assert kept.text == kept.whole
