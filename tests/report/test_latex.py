"""Tables of LaTeX: balanced, escaped, and the same numbers as on the page."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from metarl.report.about import About
from metarl.report.cells import MISSING, Cell, Name, Number, Numbers, Seeds, Text
from metarl.report.escape import latex_text
from metarl.report.groups import group_runs
from metarl.report.latex import cell_text, latex
from metarl.report.runs import read_run
from metarl.report.table import Table
from metarl.report.tables import build_tables
from tests.report.run_folders import TASKS, run_folder, scores, write_reference


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        (Number(-8.6, 1, (-10.2, -7.4)), "$-$8.6 [$-$10.2, $-$7.4]"),
        (Number(-1234.0, 0), "$-$1,234"),
        (Numbers((-1234.0, 5.0), 0), "$-$1,234 / 5"),
        (Number(904.9, 1, unit="%", signed=True), r"$+$904.9\%"),
        (Number(1.0, 2, (math.nan, math.nan)), "1.00 none"),
        (Number(math.nan, 2, (math.nan, math.nan)), "not finite"),
        (Name("two\n\nparagraphs", "same"), "two paragraphs"),
        (Number(-3e9, 1, note="unfinished"), "$-$3.00e+09 (unfinished)"),
        (Name("maml-2 agent.x_y=1e-05", "same"), r"maml-2 agent.x\_y=1e-05"),
        (Text("a & b # $c^d {~}"), r"a \& b \# \$c\textasciicircum{}d \{\textasciitilde{}\}"),
        (
            Text("\\input{/etc/passwd} <x|y>"),
            r"\textbackslash{}input\{/etc/passwd\} \textless{}x\textbar{}y\textgreater{}",
        ),
        (Text("a_b", emphasis=True), r"\textbf{a\_b}"),
        (Seeds((1, 2)), "1, 2"),
        (MISSING, "--"),
    ],
)
def test_cell_as_latex(cell: Cell, written: str) -> None:
    assert cell_text(cell) == written


def document(tmp_path: Path) -> tuple[str, list[Table]]:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed) - 20, seed=seed) for seed in (1, 2)]
    write_reference(runs[0], "[a_b] & 50% \\evil", "evaluation-odd.json", returns=scores(9))
    groups = group_runs([read_run(run) for run in runs])
    text = latex(groups, About("metarl report", "Results & more_or_less", ["A note\nof two lines."]))
    return text, [table for table in build_tables(groups) if table.key != "seeds"]


def test_tables_have_the_rows_of_the_page_and_as_many_cells_as_columns(tmp_path: Path) -> None:
    text, expected = document(tmp_path)
    tables = re.findall(r"\\begin\{tabular\}\{([lr]+)\}\n(.*?)\\end\{tabular\}", text, re.DOTALL)
    for (columns, body), table in zip(tables, expected, strict=True):
        lines = [line.strip() for line in body.splitlines() if line.endswith(r"\\")]
        rows = [[latex_text(column.label) for column in table.columns]]
        rows += [[cell_text(cell) for cell in row] for row in table.rows]
        assert len(lines) == len(rows)
        for line, row in zip(lines, rows, strict=True):
            cells = re.split(r"(?<!\\)&", line.removesuffix(r"\\"))
            assert len(cells) == len(columns) == len(row)
            # A bracket that begins a row would be an argument of the row before.
            assert [cell.strip().removeprefix("{}") for cell in cells] == row
            assert not line.startswith("[")
    assert [body.count(r"\midrule") for _, body in tables] == [1, 1, 1]
    assert text.count(r"\caption{Results \& more\_or\_less") == text.count(r"\begin{table}") == 3
    assert "% A note of two lines.\n" in text


def test_every_line_outside_a_table_is_a_comment(tmp_path: Path) -> None:
    text, _ = document(tmp_path)
    outside = re.sub(r"\\begin\{table\}.*?\\end\{table\}", "", text, flags=re.DOTALL)
    assert all(line.startswith("% ") for line in outside.splitlines() if line)


def test_tables_of_trials_of_one_round_are_those_that_have_rows(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1)[:, :1], env_steps_per_task=np.full((TASKS, 1), 10.0))
    text = latex(group_runs([read_run(run)]), About("metarl report"))
    assert re.findall(r"\\label\{tab:(\w+)\}", text) == ["summary"]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_tables_compile_and_are_no_wider_than_the_page(tmp_path: Path) -> None:
    text, _ = document(tmp_path)
    whole = f"\\documentclass{{article}}\\usepackage{{booktabs,graphicx}}\\begin{{document}}\n{text}\\end{{document}}\n"
    (tmp_path / "tables.tex").write_text(whole)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "tables.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout
    assert "Overfull" not in done.stdout
