"""The raw evaluation files of recorded results: whoever doubts a number of a page computes it again from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from metarl.evaluation.record import Evaluation
from tests.places import ROOT

RAW = ROOT / "docs" / "results" / "raw"
FILES = sorted(RAW.glob("*/*/evaluation*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(RAW)))
def test_a_raw_file_gives_the_mean_that_its_page_tells(path: Path) -> None:
    evaluation, page = Evaluation.load(path), (RAW.parent / f"{path.parts[-3]}.md").read_text()
    mean = float(evaluation.measure.tell(evaluation.mean)[-1])
    # As reports have them; of several rounds the largest mean has its decimals for all.
    decimals = 1 if evaluation.measure.percent else 0 if abs(mean) >= 100 else 1 if abs(mean) >= 10 else 2
    told = [f"{mean:.{places}f}".replace("-0.00", "0.00") for places in (decimals, max(0, decimals - 1))]
    name = evaluation.agent.name
    lines = [line for line in page.splitlines() if line.startswith("|") and name in line]
    assert any(told[0] in line or (" / " in line and f" {told[1]} " in line) for line in lines), told


def test_a_page_with_raw_files_has_those_of_each_training_seed() -> None:
    assert FILES
    for page in {path.parts[-3] for path in FILES}:
        text = (RAW.parent / f"{page}.md").read_text()
        for line in text.splitlines():
            if line.startswith("metarl train ") and "--run-dir" in line:
                run = line.split("--run-dir ")[1].split()[0].removeprefix("runs/")
                assert (RAW / page / run / "evaluation.json").exists(), run
