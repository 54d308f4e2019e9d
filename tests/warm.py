"""Processes that begin with torch and metarl loaded: most of the time of a short command goes into importing them.

A server imports them, runs nothing, and forks a process for each command, which forgets metarl where Python would find
another one than the server did. `python -m tests.warm SOCKET` runs it.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import importlib.util
import json
import os
import runpy
import select
import signal
import site
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import types
import weakref
from pathlib import Path
from typing import Any

from metarl.base.child import HELD
from tests.places import ROOT

LOADED = (
    "gymnasium",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "mpl_toolkits.mplot3d",
    "mujoco",
    "pydantic",
    "pytest",
    "safetensors.numpy",
    "scipy.special",
    "stable_baselines3",
    "torch",
    "torch._dynamo",  # every optimiser loads it
    "torch.distributed.fsdp",
    "torch.distributed.tensor.parallel",
    "wandb",
    "yaml",
    "metarl.cli.main",
    "metarl.envs",
    "metarl.agents",
    "metarl.checks.check",
    "metarl.report.write",
    "metarl.training.train",
)
"""What the server imports."""

READ_ONCE = ("MPLBACKEND", "MPLCONFIGDIR", "MUJOCO_GL")
"""Variables that these packages read when they are imported."""

FOUND = ("egl", "osmesa")
"""Values of MUJOCO_GL that metarl finds and sets in a process that draws. Gymnasium's renderer reads it once more."""

CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
tell = os.environ.pop({tells!r}, None)
def told(process):
    if tell:
        os.write(int(tell), str(process).encode())
run = ["-c", {metarl!r}] if {name!r} == "metarl" else []
known = bool(run) or (len(sys.argv) > 1 and (sys.argv[1] in {first!r} or sys.argv[1].endswith(".py")))
if not known or any(os.environ.get(name) not in values for name, values in {read!r}.items()):
    told(os.getpid())
    os.execv({python!r}, [{python!r}, *run, *sys.argv[1:]])
about = {{"name": {name!r}, "python": {python!r}, "library": {library!r}, "words": sys.argv[1:], "folder": os.getcwd()}}
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({address!r})
    held = [int(os.environ[{held!r}])] if {held!r} in os.environ else []
    socket.send_fds(server, [json.dumps({{**about, "environment": dict(os.environ)}}).encode()], [0, 1, 2, *held])
    process = int(server.recv(100))
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(process, number))
    told(process)
    status = int(server.recv(100))
if status < 0:
    if status != -signal.SIGKILL:
        signal.signal(-status, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
"""
"""Stands for a command: hands its words, folder, environment and streams to the server, and ends as it did."""

TELLS = "TELLS_PROCESS_TO"
"""Variable with the descriptor on which a client tells the process that does its work."""

METARL = "import sys; from metarl.cli.main import main; sys.exit(main())"


@functools.cache
def start_server() -> tuple[str, subprocess.Popen[bytes], dict[str, str]]:
    """Return the socket of the server, its process, which ends with this one, and the environment that it began in."""
    path = f"{tempfile.mkdtemp()}/socket"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if environment.get("MUJOCO_GL") in FOUND:  # by a test that drew before; MuJoCo would load OpenGL
        del environment["MUJOCO_GL"]
    words = [sys.executable, "-m", "tests.warm", path]
    server = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd=ROOT)
    assert server.stdin is not None and server.stdout is not None
    atexit.register(server.communicate)
    assert server.stdout.readline() == b"ready\n"
    return path, server, environment


def write_client(path: Path, python: Path, library: Path, first: tuple[str, ...] = ("-c",)) -> None:
    """Write the command `metarl` or `python`, as its path is named, of the Python with a library of its own.

    `python` begins warm for scripts, and for these first words; for others it is Python itself. So it is where one of
    `READ_ONCE` differs from that of the server.
    """
    address, _, began = start_server()
    words = {"name": path.name, "python": str(python), "library": str(library), "address": address}
    read = {name: [began.get(name), *(FOUND if name == "MUJOCO_GL" else ())] for name in READ_ONCE}
    path.write_text(CLIENT.format(**words, first=first, read=read, metarl=METARL, tells=TELLS, held=HELD))
    path.chmod(0o755)


@functools.cache
def warm_python() -> str:
    """Return the path of a command that stands for this Python, with code, a module or a script to run.

    It heeds no variable of Python's own. SIGTERM reaches the process, other signals end the command that stands for
    it: `WarmProcess` sends them on.
    """
    path = Path(start_server()[0]).with_name("python")
    write_client(path, Path(sys.executable), Path(sysconfig.get_path("purelib")), ("-c", "-m"))
    return str(path)


class WarmProcess(subprocess.Popen[str]):
    """A command of `warm_python()`, or of another client, whose signals reach the process that does its work."""

    def __init__(self, words: list[str], **options: Any) -> None:
        reader, writer = os.pipe()
        environment = {**options.pop("env", os.environ), TELLS: str(writer)}
        super().__init__(words, text=True, env=environment, pass_fds=[writer], **options)
        os.close(writer)
        self.working = int(os.read(reader, 100))
        os.close(reader)

    def send_signal(self, sig: int) -> None:
        """Send a signal to the process that does the work, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.working, sig)


def serve(path: str) -> None:
    """Answer until standard input ends. In the process of a command, run it and return."""
    for module in LOADED:
        importlib.import_module(module)
    import torch

    assert torch.get_num_threads() == 1
    assert "OpenGL" not in sys.modules, "it would not heed PYOPENGL_PLATFORM"
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "a thread would be missing in the processes of commands"
    gc.freeze()  # a collection in each process would copy all objects of these packages
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until a command has begun
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            client, _ = listener.accept()
            with client:
                message, streams, _, _ = socket.recv_fds(client, 1 << 20, 4)
                if os.fork() == 0:
                    answer(client, json.loads(message), streams)
                    return
            for descriptor in streams:
                os.close(descriptor)


def answer(client: socket.socket, about: dict[str, Any], streams: list[int]) -> None:
    """Run a command in a process of its own and tell its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if (process := os.fork()) != 0:
        client.send(str(process).encode())
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        client.send(str(status).encode())
        os._exit(0)
    client.close()
    for number, descriptor in enumerate(streams[:3]):
        os.dup2(descriptor, number)
        os.close(descriptor)
    for descriptor in streams[3:]:
        about["environment"][HELD] = str(descriptor)
    # Those of the server remember what they were connected to.
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    begin(about)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run(["-c", METARL, *about["words"]] if about["name"] == "metarl" else about["words"])
    except SystemExit as ending:
        if ending.code is None or isinstance(ending.code, int):
            end(ending.code or 0)
        raise
    end(0)


def run(words: list[str]) -> None:
    """Run a command, given by the words after `python`."""
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        sys.modules["__main__"] = module = types.ModuleType("__main__")
        exec(words[1], module.__dict__)
    elif words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


def end(status: int) -> None:
    """End this process, as Python does, but without taking its modules apart, which takes longer than many a command.

    Return where the output cannot be written: Python tells that.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status & 0xFF)


def begin(about: dict[str, Any]) -> None:
    """Make this process what Python would be that begins with this folder, environment and library."""
    # The temporary folders of packages are the server's to remove: W&B's is that of all commands.
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    atexit.unregister(sys.modules["wandb.sdk.data_types._private"].MEDIA_TMP.cleanup)
    os.environ.clear()
    os.environ.update(about["environment"])
    os.chdir(about["folder"])
    sys.executable, sys.prefix = about["python"], str(Path(about["python"]).parent.parent)
    sys.exec_prefix = sys.prefix
    program = Path(about["python"] if about["name"] == "metarl" else about["words"][0])
    standard = [path for path in sys.path[1:] if "site-packages" not in path]
    first = {"-c": "", "-m": str(Path.cwd())}.get(str(program), str(program.absolute().parent))
    sys.path[:] = [first, *standard]
    site.addsitedir(about["library"])
    settle_metarl()


def settle_metarl() -> None:
    """Have metarl as if imported here: with the plug-ins of this library; not at all where another would be found."""
    loaded = sys.modules.pop("metarl")
    found = importlib.util.find_spec("metarl")
    if found is not None and found.origin == loaded.__file__:
        sys.modules["metarl"] = loaded
        families = sys.modules["metarl.families.family"].FAMILIES
        families._loaded = families._complete = False
        families.broken.clear()
        families.load()
    else:
        for name in [name for name in sys.modules if name.startswith("metarl.")]:
            del sys.modules[name]


if __name__ == "__main__":
    serve(sys.argv[1])
