"""README and the front pages keep their promises: code runs, links lead somewhere, results are on their pages."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.places import ROOT
from tests.warm import warm_python

from .pages import Block
from .walkthrough import Walkthrough

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
THERMOSTAT = next(block for block in BLOCKS if "class Thermostat" in block)
FRONT_PAGES = {
    path: (ROOT / path).read_text()
    for path in ("README.md", "docs/index.md", "docs/getting-started.md", "docs/concepts.md", "docs/evaluation.md")
}
RESULTS = {path.name: path.read_text() for path in sorted((ROOT / "docs/results").glob("*.md"))}


def run(*words: str, folder: Path, **environment: str) -> str:
    """Run Python in a folder and return its output; fail with its error."""
    done = subprocess.run(
        [warm_python(), *words],
        cwd=folder,
        env={**os.environ, "WANDB_MODE": "disabled", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[-1][:40])
def test_python_block_runs(block: str, tmp_path: Path) -> None:
    strict = "import warnings; warnings.filterwarnings('error', category=UserWarning, module='metarl$')\n"
    run("-c", strict + block, folder=tmp_path)


def test_readme_has_at_most_130_lines() -> None:
    assert len(README.splitlines()) <= 130


def test_readmes_table_of_results_has_eight_rows_each_with_its_page() -> None:
    table = README.split("## What is learned")[1].split("\n\n")[1]
    rows = table.splitlines()[2:]
    assert len(rows) == 8
    for row in rows:
        assert re.match(r"\| \[.*\]\(docs/results/[\w-]+\.md\)", row), row


@pytest.mark.parametrize("page", ["README.md", "docs/results/index.md"])
def test_numbers_of_results_stand_on_the_pages_that_are_linked(page: str) -> None:
    rows = re.findall(
        r"^\| \[[^\n]*?\]\((?:docs/results/)?([\w-]+\.md)\)([^\n]*)", (ROOT / page).read_text(), re.MULTILINE
    )
    assert len(rows) >= 8
    for linked, cells in rows:
        numbers = re.findall(r"(?<!\d)-?\d+(?:,\d{3})*(?:\.\d+)?", " ".join(cells.split("|")[2:]))
        missing = [number for number in numbers if len(number) > 2 and number not in RESULTS[linked]]
        assert not missing, (linked, missing)


def test_cells_of_readmes_tables_have_at_most_40_characters() -> None:
    for line in (line for line in README.splitlines() if line.startswith("|")):
        for cell in line.split("|")[1:-1]:
            visible = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", cell).strip().replace("`", "")
            assert len(visible) <= 40, visible


@pytest.mark.parametrize("page", FRONT_PAGES)
def test_links_and_pictures_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", FRONT_PAGES[page]):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("page", FRONT_PAGES)
def test_paths_of_the_repository_exist(page: str) -> None:
    without_links = re.sub(r"\]\(.*?\)", "]", FRONT_PAGES[page])
    for path in re.findall(r"\b(?:configs|docs|metarl|envs|agents|tests)/[\w./-]*\w", without_links):
        if not path.endswith("-v0"):  # a Gymnasium id
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    "word", ["task", "family", "split", "step", "episode", "round", "replica", "trial", "agent", "learner"]
)
def test_glossary_and_its_figure_have_each_word(word: str) -> None:
    assert f"| **{word}** |" in FRONT_PAGES["docs/concepts.md"]
    assert re.search(rf">{word}[ <]", (ROOT / "docs/concepts.svg").read_text())


def test_every_config_is_valid_and_in_its_familys_folder() -> None:
    from metarl.runs.config import load_config

    paths = [path for path in sorted((ROOT / "configs").glob("*/*.yaml")) if path.parent.name != "external"]
    assert len(paths) >= 8
    for path in paths:
        config = load_config(path)
        assert path.parent.name in (config.family["name"], "demo", "bench", "presets"), path


@pytest.mark.parametrize("page", [name for name in RESULTS if name not in ("index.md", "demo.md")])
def test_page_of_results_is_listed_and_says_what_its_numbers_carry(page: str) -> None:
    assert f"({page})" in RESULTS["index.md"]
    title, note = RESULTS[page].split("\n\n")[:2]
    assert title.startswith("# ")
    assert note.startswith("> **About these numbers.**\n>\n> - ")
    if "stratified by seed" in RESULTS[page] and "| 1, 2, 3 |" in RESULTS[page]:
        assert "34 to 76 %" in " ".join(note.split("\n>   "))


def test_readme_family_passes_the_check_that_readme_tells_to_run(tmp_path: Path) -> None:
    (tmp_path / "thermostat.py").write_text(THERMOSTAT)
    assert "`metarl check thermostat:Thermostat`" in README
    run("-m", "metarl", "check", "thermostat:Thermostat", folder=tmp_path)


def test_readme_family_as_a_package_of_its_own_is_listed_trained_and_evaluated(tmp_path: Path) -> None:
    """What pip leaves behind when it installs a package with the family: a module and its entry point."""
    walkthrough = Walkthrough.begin(tmp_path)
    (walkthrough.library / "thermostat.py").write_text(THERMOSTAT)
    info = walkthrough.library / "thermostat-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thermostat\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[metarl.families]\nthermostat = thermostat\n")
    (walkthrough.folder / "config.yaml").write_text(
        "{family: thermostat, agent: maml-ppo, num_updates: 2, meta_batch_size: 3, replicas: 4}"
    )

    def metarl(*words: str) -> str:
        return walkthrough.run(["metarl", *words], Block("README.md", 1, "sh", "", ""))

    assert "Hold a room at 20 degrees" in metarl("families")
    metarl("train", "config.yaml", "--run-dir", "run")
    assert "maml-ppo on thermostat" in metarl("evaluate", "run", "--tasks", "4")
    assert len(json.loads((walkthrough.folder / "run" / "evaluation.json").read_text())["returns"]) == 4


COMMANDS = [
    line.split("#")[0].split()[1:]
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("metarl ")
]


def test_readmes_commands_train_evaluate_and_report_as_written(tmp_path: Path) -> None:
    """Every command of README for the shell, in its order; only the training is made smaller, by what stands here."""
    smaller = ["num_updates=1", "meta_batch_size=2", "replicas=2", "evaluation.num_tasks=2"]
    walkthrough = Walkthrough.begin(tmp_path)
    (walkthrough.folder / "configs").symlink_to(ROOT / "configs")
    assert [words[0] for words in COMMANDS] == ["train", "evaluate", "evaluate", "report"]
    for words in COMMANDS:
        more = smaller if words[0] == "train" else []
        walkthrough.run(["metarl", *words, *more], Block("README.md", 1, "sh", "", ""))
    page = (walkthrough.folder / "page.html").read_text()
    assert "maml-ppo" in page
    assert "random" in page
