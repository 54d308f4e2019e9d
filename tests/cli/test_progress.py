"""Progress of commands that last."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from metarl.base.meter import Report, meter
from metarl.cli.main import main
from tests.small_runs import trained


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = trained(tmp_path_factory.mktemp("runs") / "run", num_updates=1)
    assert main(["evaluate", str(run_dir), "--tasks", "3", "--quiet"]) == 0
    return run_dir


def test_progress_of_an_evaluation_goes_to_the_error_stream_and_only_where_it_is_wanted(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("metarl.base.meter.meter", functools.partial(meter, before=0.002, between=0.002))
    words = ["evaluate", str(run), "--tasks", "30", "--rounds", "3"]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert re.search(r"metarl: evaluate: \d+%, 0:00:\d\d left\n", shown.err)
    assert "left" not in shown.out
    assert main([*words, "--quiet"]) == 0
    quiet = capsys.readouterr()
    assert "metarl: evaluate" not in quiet.err
    assert quiet.out == shown.out


@pytest.mark.parametrize(
    "words",
    [
        ("evaluate", "RUN"),
        ("render", "RUN", "-o", "film.gif", "--tasks", "1", "--among", "1", "--size", "160"),
        ("report", "RUN", "-o", "page.md"),
        ("check", "navigation-2d"),
        ("families", "navigation-2d", "--render", "worlds.png"),
        ("bench", "sim", "--families", "navigation-2d", "--seconds", "0.01", "--repeats", "1", "--no-rivals"),
    ],
    ids=lambda words: words[0],
)
def test_every_command_that_lasts_reports_all_of_its_work(
    run: Path, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[float, float]] = []
    titles: list[str] = []

    @contextlib.contextmanager
    def recorded(title: str, *, shown: bool) -> Iterator[Report]:
        assert shown
        titles.append(title)
        yield lambda done, total: told.append((done, total))

    monkeypatch.setattr("metarl.base.meter.meter", recorded)
    monkeypatch.chdir(tmp_path)
    assert main([str(run) if word == "RUN" else word for word in words]) == 0
    shares = [done / total for done, total in told if total]
    assert shares == sorted(shares)
    assert titles == ["bench sim" if words[0] == "bench" else words[0]]
    # How long a picture takes is not known.
    assert words[0] == "families" or shares[-1] == 1.0
