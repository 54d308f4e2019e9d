"""A process that begins warm does, prints and ends as Python would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs.own_code import write_family
from tests.warm import warm_python

WARM = "import sys; print('torch' in sys.modules, 'metarl.agents' in sys.modules)"


def run(code: str, folder: Path, python: str = "", **environment: str) -> tuple[int, str, str]:
    words = [python or warm_python(), "-c", code]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")} | environment
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=env, check=False)
    return done.returncode, done.stdout, done.stderr


def test_it_begins_with_torch_and_metarl_loaded(tmp_path: Path) -> None:
    assert run(WARM, tmp_path) == (0, "True True\n", "")


def test_plug_ins_of_the_folder_it_begins_in_are_found(tmp_path: Path) -> None:
    for kind, name in (("families", "warm_room"), ("agents", "warm_agent")):
        info = tmp_path / f"{name}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(f"[metarl.{kind}]\n{name} = {name}\n")
    write_family(tmp_path, "warm_room", "warm-room")
    (tmp_path / "warm_agent.py").write_text("raise ValueError('why')\n")
    code = "import sys, gymnasium; print('metarl/Thermostat-v0' in gymnasium.registry, 'warm_agent' in sys.modules); "
    told = "True False\nTrue {'warm_agent': 'ValueError: why'}\n"
    code += "from metarl.trials.registered import AGENTS; AGENTS.load(); print('rl2' in AGENTS._items, AGENTS.broken)"
    assert run(code, tmp_path) == (0, told, "")


def test_no_command_takes_the_temporary_folder_of_wandb_away_from_the_next(tmp_path: Path) -> None:
    code = "import os; from wandb.sdk.data_types import _private as p; print(os.path.isdir(p.MEDIA_TMP.name))"
    assert [run(code, tmp_path) for _ in range(2)] == [(0, "True\n", "")] * 2


@pytest.mark.parametrize("backend", ["egl", "osmesa"])
def test_it_begins_warm_where_metarl_has_found_how_to_draw(backend: str, tmp_path: Path) -> None:
    assert run(WARM, tmp_path, MUJOCO_GL=backend, PYOPENGL_PLATFORM=backend)[1] == "True True\n"


def test_it_begins_as_python_where_a_variable_is_another_that_is_read_once(tmp_path: Path) -> None:
    assert run(WARM, tmp_path, MPLBACKEND="svg")[1] == "False False\n"


def test_a_metarl_of_the_folder_it_begins_in_is_the_one_it_imports(tmp_path: Path) -> None:
    (tmp_path / "metarl").mkdir()
    (tmp_path / "metarl" / "__init__.py").write_text("here = True\n")
    code = "import sys, metarl; print(metarl.here, 'metarl.agents' in sys.modules, 'torch' in sys.modules)"
    assert run(code, tmp_path) == (0, "True False True\n", "")


ENDS = {
    "at the last line": "print('a')",
    "with a status": "import sys; print('a'); sys.exit(3)",
    "with a status beyond a byte": "import sys; sys.exit(-1)",
    "with words": "import sys; sys.exit('why')",
    "with an error": "print('a'); 1 / 0",
    "after what is to be done at exit": "import atexit; atexit.register(print, 'b'); print('a')",
    "after its threads": "import threading as t; t.Timer(0.1, print, 'b').start()",
    "where nobody reads": "import os, sys; r, w = os.pipe(); os.dup2(w, 1); os.close(r); print('a')",
    "by a signal": "import os; print('a', flush=True); os.kill(os.getpid(), 15)",
}


@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
def test_it_ends_as_python_does(code: str, tmp_path: Path) -> None:
    warm, cold = run(code, tmp_path), run(code, tmp_path, sys.executable)
    assert warm[:2] == cold[:2]
    assert warm[2].splitlines()[-1:] == cold[2].splitlines()[-1:]


def test_a_signal_that_ends_it_ends_the_command_that_stands_for_it(tmp_path: Path) -> None:
    assert run("import os; os.kill(os.getpid(), 9)", tmp_path)[0] == -signal.SIGKILL
