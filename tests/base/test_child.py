"""Commands in processes of their own."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from metarl.base.child import Child, told_by

WAITS = """
import signal, sys, time
from pathlib import Path
from metarl.base.child import end_with_parent
signal.signal(signal.SIGTERM, lambda *_: (Path(sys.argv[1]).write_text("saved"), sys.exit(3)))
end_with_parent()
Path(sys.argv[1]).write_text("begun")
time.sleep(600)
"""
STARTS = """
import sys, time
from pathlib import Path
from metarl.base.child import Child
children = [Child([sys.executable, "-c", sys.argv[1], path], open("/dev/null", "wb")) for path in sys.argv[2:]]
time.sleep(600)
"""


def wait_until_told(path: Path, text: str) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or path.read_text() != text:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_two_children_save_and_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    paths = [tmp_path / "first", tmp_path / "second"]
    with subprocess.Popen([sys.executable, "-c", STARTS, WAITS, *map(str, paths)]) as parent:
        for path in paths:
            wait_until_told(path, "begun")
        parent.send_signal(signal.SIGKILL)
    for path in paths:
        wait_until_told(path, "saved")


def test_a_child_is_stopped_by_sigterm_and_its_status_kept(tmp_path: Path) -> None:
    with tempfile.TemporaryFile() as errors:
        child = Child([sys.executable, "-c", WAITS, str(tmp_path / "told")], errors)
        wait_until_told(tmp_path / "told", "begun")
        assert child.status is None
        child.stop()
        assert child.status == 3 and (tmp_path / "told").read_text() == "saved"
        child.stop()  # it has ended


def test_a_child_that_does_not_end_in_time_is_killed() -> None:
    with tempfile.TemporaryFile() as errors:
        child = Child([sys.executable, "-IS", "-c", "import time; time.sleep(600)"], errors)
        child.stop(signal.SIGCONT, seconds=0.1)  # which it does not heed
        assert child.status == -signal.SIGKILL


def test_a_child_that_is_forgotten_ends_and_no_descriptor_stays(tmp_path: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    with tempfile.TemporaryFile() as errors:
        child = Child([sys.executable, "-c", WAITS, str(tmp_path / "told")], errors)
        wait_until_told(tmp_path / "told", "begun")
        process = child._process
        del child
        wait_until_told(tmp_path / "told", "saved")
        assert process.wait() == 3
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_command_that_cannot_be_started_leaves_no_descriptor() -> None:
    before = set(Path("/proc/self/fd").iterdir())
    with tempfile.TemporaryFile() as errors, contextlib.suppress(FileNotFoundError):
        Child(["/no/such/command"], errors)
        raise AssertionError("it was started")
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_errors_and_warnings_are_told_from_other_lines() -> None:
    written = b"metarl: warning: slow\nTraceback\n  \xff\nmetarl: error: loss is nan\n"
    assert told_by(written) == (["loss is nan"], ["slow"], ["Traceback", "  \N{REPLACEMENT CHARACTER}"])
