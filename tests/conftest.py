"""Fixtures of tests of runs."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

from tests.small_runs import AGENTS as SMALL
from tests.small_runs import trained, write_white

# No window opens, and each process that a test starts draws as this one does: see READ_ONCE in tests/warm.py.
os.environ.setdefault("MPLBACKEND", "agg")

# A busy machine takes longer: a time is no condition of a test.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
if not os.access(Path(__file__).parent.parent, os.W_OK):  # hypothesis would keep its examples there, and warns of it
    set_hypothesis_home_dir(tempfile.mkdtemp(prefix="hypothesis-"))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the garbage collector from looking at modules and tests again and again: a fifth of the time went there."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def signals_as_in_a_terminal() -> None:
    """Heed Ctrl-C and a hang-up, which a job in the background of a script, or under nohup, begins by ignoring."""
    for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(scope="module", params=sorted(SMALL))
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of each agent, not to be changed."""
    return trained(tmp_path_factory.mktemp("runs") / request.param, request.param)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.fixture
def curves() -> None:
    """Have the curves of trainings drawn, which takes as long as a small training."""


@pytest.fixture(autouse=True)
def as_in_a_quick_new_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep out of a test what a busy machine shows, lines of progress and time-outs, and what other tests imported.

    Trainings in this process leave a white picture, but where a test asks for `curves`.
    """
    if "curves" not in request.fixturenames:
        monkeypatch.setattr("metarl.training.log.plot", write_white)
    monkeypatch.setattr("metarl.base.meter.SECONDS_BEFORE", 3600.0)
    for name in ("INIT_TIMEOUT", "CALL_TIMEOUT", "CLOSE_TIMEOUT"):
        monkeypatch.setattr(f"metarl.training.wandb.{name}", 100.0)
    monkeypatch.setattr("metarl.base.code._imported", {})
