"""SECURITY.md promises nothing without a test, and what it promises of reports holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.places import ROOT
from tests.report.run_folders import run_folder, scores
from tests.small_runs import metarl

SECURITY = (ROOT / "SECURITY.md").read_text()
CLAIMS = re.findall(r"^\| (.+?) \| `(tests/[\w/]+\.py)::(\w+)` \|$", SECURITY, re.MULTILINE)


def test_every_row_of_the_table_names_a_test_that_is_there() -> None:
    rows = [line for line in SECURITY.splitlines() if line.startswith("| ") and "The test" not in line]
    assert len(CLAIMS) == len(rows) > 15
    for claim, file, name in CLAIMS:
        tree = ast.parse((ROOT / file).read_text())
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in names, claim


def test_no_test_is_named_for_two_claims() -> None:
    assert len({name for _, _, name in CLAIMS}) == len(CLAIMS)


def test_the_readme_links_to_it() -> None:
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text()


ENTRIES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "family": lambda config: {**config, "family": {"name": "stranger_code:Family"}},
    "agent": lambda config: {**config, "agent": {"name": "stranger_code:Agent"}},
    "env": lambda config: {**config, "family": {"name": "gymnasium", "env": "stranger_code:X-v0"}},
    "imports": lambda config: {**config, "imports": ["stranger_code"]},
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_report_on_a_run_with_code_beside_it_runs_none(
    entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(ENTRIES[entry](config)))
    for folder in (run, tmp_path):
        (folder / "stranger_code.py").write_text("import pathlib; pathlib.Path(__file__).with_name('ran').touch()\n")
    monkeypatch.chdir(run if entry in ("family", "imports") else tmp_path)
    done = metarl("report", run, "-o", tmp_path / "page.tex")
    assert done.returncode in (0, 2) and "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("ran"))
