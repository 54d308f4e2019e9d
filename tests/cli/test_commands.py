from __future__ import annotations

import errno
import itertools
import json
import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from metarl import __version__
from metarl.base.errors import MetarlError
from metarl.checks.check import Subject, check_all, subjects
from metarl.cli.main import main
from metarl.families.family import FAMILIES, missing_requirement
from metarl.runs.config import TrainConfig
from metarl.training.train import meta_train
from metarl.trials.registered import AGENTS
from tests.small_runs import command, config, metarl, trained, write_config


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not to be changed."""
    return meta_train(TrainConfig(**config(num_updates=2)), tmp_path_factory.mktemp("runs") / "run", progress=False)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def test_train_then_evaluate_leaves_numbers_and_picture_and_says_what_is_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = tmp_path / "run"
    trained = metarl("train", write_config(tmp_path), "--seed", "3", "--run-dir", run_dir, "num_updates=1")
    assert (trained.returncode, trained.stderr) == (0, "")
    assert trained.stdout.splitlines()[-1] == f"next: metarl evaluate {run_dir}"
    assert "update 1/1" in trained.stdout
    assert main(["evaluate", str(run_dir), "--tasks", "3"]) == 0
    assert "gain" in capsys.readouterr().out
    result = json.loads((run_dir / "evaluation.json").read_text())
    assert (result["plan"]["split"], result["agent"]["name"], len(result["tasks"])) == ("test", "maml-ppo", 3)
    assert (run_dir / "adaptation.png").read_bytes().startswith(b"\x89PNG")
    assert "seed: 3" in (run_dir / "config.yaml").read_text()


def test_evaluate_gives_the_same_file_with_any_number_of_threads(run: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.json", "b.json", "c.json")]
    for file, threads in zip(files, ("1", "1", "2"), strict=True):
        arguments = ["--tasks", "4", "--json", str(file), "--plot", str(tmp_path / "a.svg"), "--threads", threads]
        assert main(["evaluate", str(run), *arguments]) == 0
    assert len({file.read_bytes() for file in files}) == 1
    assert not (run / "evaluation.json").exists()
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")


def test_evaluate_keeps_splits_apart_and_takes_rounds_replicas_and_checkpoint(run: Path) -> None:
    arguments = ["--split", "extrapolation", "--tasks", "3", "--rounds", "3", "--replicas", "1"]
    assert main(["evaluate", str(run), *arguments, "--checkpoint", "last"]) == 0
    result = json.loads((run / "evaluation-extrapolation.json").read_text())
    assert (result["plan"]["split"], result["plan"]["replicas"], len(result["iqm"])) == ("extrapolation", 1, 3)
    assert (run / "adaptation-extrapolation.png").exists()
    assert not (run / "evaluation.json").exists()


def _with_config(text: str) -> Callable[[Path, Path], list[str]]:
    def arguments(folder: Path, run: Path) -> list[str]:
        (folder / "bad.yaml").write_text(text)
        return ["train", str(folder / "bad.yaml")]

    return arguments


def _with_override(override: str) -> Callable[[Path, Path], list[str]]:
    return lambda folder, run: ["train", str(write_config(folder)), "--run-dir", str(folder / "new"), override]


def _with_checkpoint(spoil: Callable[[bytes], bytes]) -> Callable[[Path, Path], list[str]]:
    def arguments(folder: Path, run: Path) -> list[str]:
        path = run / "best.safetensors"
        path.write_bytes(spoil(path.read_bytes()))
        return ["evaluate", str(run)]

    return arguments


def _without_best(folder: Path, run: Path) -> list[str]:
    (run / "best.safetensors").unlink()
    return ["evaluate", str(run)]


def _occupied(folder: Path, run: Path) -> list[str]:
    (folder / "file").write_text("")
    return ["train", str(write_config(folder)), "--run-dir", str(folder / "file" / "run")]


MISTAKES: dict[str, tuple[Callable[[Path, Path], list[str]], str]] = {
    "unknown key": (_with_override("agent.inner_lrr=1"), "agent.inner_lrr: unknown key; did you mean 'inner_lr'?"),
    "wrong type": (_with_override("num_updates=many"), "num_updates is 'many': it must be a valid integer"),
    "out of range": (_with_override("replicas=0"), "replicas is 0: it must be greater than or equal to 1"),
    "unknown family": (_with_override("family.name=navigation"), "did you mean 'navigation-2d'?"),
    "unknown agent": (_with_override("agent=rl-2"), "did you mean 'rl2'?"),
    "agent that does not learn": (_with_override("agent=random"), "'random' learns nothing in training"),
    "too few rounds": (_with_override("rounds=1"), "'maml-ppo' needs at least 2"),
    "no override": (_with_override("seed"), "is not of the form key=value"),
    "truncated YAML": (_with_config("family: {name: navigation-2d\n"), "bad.yaml:2: "),
    "no mapping": (_with_config("- 1\n"), "a config is a mapping"),
    "empty config": (_with_config(""), "a config is a mapping"),
    "missing config": (lambda folder, run: ["train", str(folder / "no.yaml")], "no.yaml does not exist"),
    "folder as config": (lambda folder, run: ["train", str(folder)], "cannot be read (Is a directory)"),
    "no config": (lambda folder, run: ["train"], "no config given"),
    "missing run": (lambda folder, run: ["evaluate", str(folder / "no")], "does not exist"),
    "missing run to resume": (lambda folder, run: ["train", "--resume", str(folder / "no")], "does not exist"),
    "resume elsewhere": (lambda folder, run: ["train", "--resume", str(run), "--run-dir", "x"], "leave one out"),
    "folder in use": (
        lambda folder, run: ["train", str(write_config(folder)), "--run-dir", str(run)],
        "holds a run already; resume it with `metarl train --resume",
    ),
    "run folder in a file": (_occupied, "cannot be written (Not a directory)"),
    "run folder in /proc": (
        lambda folder, run: ["train", str(write_config(folder)), "--run-dir", "/proc/run"],
        "cannot be written (No such file or directory)",
    ),
    "no best checkpoint": (_without_best, "has no best.safetensors yet"),
    "truncated checkpoint": (_with_checkpoint(lambda data: data[: len(data) // 2]), "is cut off or not a checkpoint"),
    "empty checkpoint": (_with_checkpoint(lambda data: b""), "is cut off or not a checkpoint"),
    "foreign checkpoint": (_with_checkpoint(lambda data: b"hello" * 100), "is cut off or not a checkpoint"),
    "pickled checkpoint": (_with_checkpoint(lambda data: b"\x80\x04" + data), "is a pickle"),
    "negative tasks": (lambda folder, run: ["evaluate", str(run), "--tasks", "-3"], "must be at least 1"),
    "tasks in words": (lambda folder, run: ["evaluate", str(run), "--tasks", "few"], "'few' is no whole number"),
    "no rounds": (lambda folder, run: ["evaluate", str(run), "--rounds", "0"], "must be at least 1"),
    "unknown split": (lambda folder, run: ["evaluate", str(run), "--split", "tset"], "did you mean 'test'?"),
    "unknown agent to measure": (
        lambda folder, run: ["evaluate", str(run), "--agent", "randm"],
        "agent 'randm' is not registered; did you mean 'random'?",
    ),
    "an agent by name and a checkpoint": (
        lambda folder, run: ["evaluate", str(run), "--agent", "random", "--checkpoint", "last"],
        "--agent and --checkpoint were both given",
    ),
    "budget of none": (lambda folder, run: ["evaluate", str(run), "--budget", "0"], "must be at least 1"),
    "no noise to learn from": (
        lambda folder, run: ["evaluate", str(run), "--deterministic"],
        "maml-ppo learns between rounds from the exploration noise of all replicas",
    ),
    "setting that shapes what was trained": (
        lambda folder, run: ["evaluate", str(run), "agent.hidden_sizes=[4]"],
        "the weights may not fit agent.hidden_sizes=[4]",
    ),
    "setting of a trained agent that is not the agent's": (
        lambda folder, run: ["evaluate", str(run), "rounds=3"],
        "rounds cannot be set here",
    ),
    "unknown setting of a reference": (
        lambda folder, run: ["evaluate", str(run), "--agent", "sb3-ppo", "agent.adaps=true"],
        "agent.adaps: unknown key; did you mean 'adapts'?",
    ),
    "setting that is not the agent's": (
        lambda folder, run: ["evaluate", str(run), "--agent", "sb3-ppo", "rounds=3"],
        "rounds cannot be set here",
    ),
    "reference by another name": (
        lambda folder, run: ["evaluate", str(run), "--agent", "sb3-ppo", "agent.name=rl2"],
        "agent.name cannot be set here",
    ),
    "unknown checkpoint": (lambda folder, run: ["evaluate", str(run), "--checkpoint", "b"], "must be 'best' or 'last'"),
    "unwritable result": (
        lambda folder, run: ["evaluate", str(run), "--tasks", "1", "--json", "/proc/a.json"],
        "/proc/a.json cannot be written",
    ),
    "picture of another kind": (
        lambda folder, run: ["evaluate", str(run), "--tasks", "1", "--plot", "a.bmp"],
        "a picture is written as '.png' or '.svg'",
    ),
    "unknown command": (lambda folder, run: ["trian"], "command 'trian' is unknown; did you mean 'train'?"),
    "no command": (lambda folder, run: [], "COMMAND"),
    "unknown option": (lambda folder, run: ["evaluate", str(run), "--task-count", "3"], "argument '--task-count' is unknown"),
    "unknown family to show": (lambda folder, run: ["families", "navigaton"], "did you mean 'navigation-2d'?"),
    "unknown agent to show": (lambda folder, run: ["agents", "rl3"], "did you mean 'rl2'?"),
    "unknown name to check": (lambda folder, run: ["check", "navigaton"], "did you mean 'navigation-2d'?"),
    "nothing to check": (lambda folder, run: ["check"], "name a family or an agent, or add --all"),
    "one to check and all": (lambda folder, run: ["check", "random", "--all"], "'random' and --all were both given"),
    "processes for one check": (lambda folder, run: ["check", "random", "--jobs", "2"], "--jobs was given without --all"),
    "no processes": (lambda folder, run: ["check", "--all", "--jobs", "0"], "must be at least 1"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_costs_one_line_and_status_2(
    mistake: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, message = MISTAKES[mistake]
    arguments = make(tmp_path, run)
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("metarl: error: ")
    assert message in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_costs_one_line_and_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(write_config(tmp_path, device="cuda")), "--run-dir", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "set device=cpu or device=auto" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_process_ends_with_status_2_and_one_line(tmp_path: Path) -> None:
    done = metarl("train", write_config(tmp_path, sead=1))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"metarl: error: {tmp_path}/maml-ppo.yaml: sead: unknown key; did you mean 'seed'?\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_costs_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert main(["train", str(write_config(tmp_path)), "--run-dir", str(tmp_path / "locked" / "run")]) == 2
    assert "Permission denied" in capsys.readouterr().err


def test_help_and_version_answer_at_once_and_import_nothing_heavy() -> None:
    script = (
        "import sys, metarl.cli.main\n"
        "try: metarl.cli.main.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'mujoco', 'scipy', 'matplotlib', 'stable_baselines3', 'rich', 'wandb'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("train", "evaluate", "families", "agents", "check", "new-family", "new-agent", "bench"):
        assert name in done.stdout
    assert metarl("--version").stdout == f"metarl {__version__}\n"


def test_listings_name_everything_that_is_registered(capsys: pytest.CaptureFixture[str]) -> None:
    for listing, registry in (("families", FAMILIES), ("agents", AGENTS)):
        assert main([listing]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == list(registry)  # type: ignore[call-overload]
        assert all(len(line.split()) > 1 for line in lines)


def test_every_family_and_agent_has_a_page(capsys: pytest.CaptureFixture[str]) -> None:
    for family in FAMILIES:
        assert main(["families", family]) == 0
        page = capsys.readouterr().out
        inside = missing_requirement(FAMILIES[family]) or "observation:"
        assert all(name in page for name in [*FAMILIES[family].presets, "splits:", "horizon", inside])
    for agent in AGENTS:
        assert main(["agents", agent]) == 0
        page = capsys.readouterr().out
        for name, field in AGENTS[agent].Config.model_fields.items():
            assert f"  {name}" in page
            assert " ".join((field.description or "?").split()) in page


def test_check_passes_a_good_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "point-sparse"]) == 0
    assert "point-sparse: all checks passed" in capsys.readouterr().out


SOME = [
    Subject("agent", "random"),
    Subject("family", "point-sparse", "pearl"),
    Subject("family", "navigation-2d", "maml"),
]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_check_all_says_how_each_did(
    jobs: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("metarl.checks.check.subjects", lambda: SOME)
    assert main(["check", "--all", "--jobs", jobs]) == 0
    out, err = capsys.readouterr()
    *lines, last = out.splitlines()
    assert err == ""
    assert all(re.fullmatch(r"passed +\d+\.\d s  .*", line) for line in lines), lines
    assert sorted(line.split("s  ", 1)[1] for line in lines) == sorted(map(str, SOME))
    assert re.fullmatch(r"3 passed, 0 failed, 0 skipped in \d+ s", last)


def test_check_all_takes_every_family_in_every_preset_and_every_agent() -> None:
    presets = [(name, preset) for name in FAMILIES for preset in FAMILIES[name].presets or [None]]
    everything = subjects()
    assert [(subject.name, subject.preset) for subject in everything if subject.kind == "family"] == presets
    assert [subject.name for subject in everything if subject.kind == "agent"] == list(AGENTS)


def test_check_all_goes_on_after_a_failure_and_says_what_was_skipped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("metarl.checks.check.subjects", lambda: SOME)
    monkeypatch.setattr(
        FAMILIES["point-sparse"], "reward", lambda self, before, action, after, task: np.nan * action[:, 0]
    )
    monkeypatch.setattr(FAMILIES["navigation-2d"], "requires", "no_such_package")
    monkeypatch.setitem(FAMILIES.broken, "their.package", "ImportError: no")
    assert main(["check", "--all", "--jobs", "1"]) == 2
    out, err = capsys.readouterr()
    passed, failed, skipped, last = out.splitlines()
    assert passed.startswith("passed") and failed.startswith("FAILED") and skipped.startswith("skipped")
    assert "needs package 'no_such_package', which is not installed" in skipped
    assert last.startswith("1 passed, 1 failed, 1 skipped in ")
    *findings, plugin, error = err.splitlines()
    assert findings
    assert all(finding.startswith("family 'point-sparse', preset 'pearl': ") for finding in findings)
    assert plugin == "plug-in their.package failed to import: ImportError: no"
    assert error == (
        "metarl: error: these did not pass: family point-sparse, preset pearl; plug-in their.package"
    )


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [("shows_task", True, "not checked that it hides the task"), ("pauses", False, "not checked that worlds wait")],
)
def test_check_all_says_which_checks_do_not_apply(
    attribute: str,
    value: bool,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("metarl.checks.check.subjects", lambda: SOME[1:2])
    monkeypatch.setattr(FAMILIES["point-sparse"], attribute, value)
    assert main(["check", "--all", "--jobs", "1"]) == 0
    assert words in capsys.readouterr().out


def test_a_checking_process_that_dies_costs_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in that takes its process down, in the workers alone: they look for plug-ins, this process has done so."""
    (tmp_path / "deadly.py").write_text("import os\nos._exit(1)\n")
    (tmp_path / "deadly-1.0.dist-info").mkdir()
    (tmp_path / "deadly-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly\nVersion: 1.0\n")
    (tmp_path / "deadly-1.0.dist-info" / "entry_points.txt").write_text("[metarl.families]\ndeadly = deadly\n")
    list(FAMILIES)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MetarlError, match="a checking process was killed; run with --jobs 1"):
        check_all(2, SOME)


def test_ctrl_c_ends_check_all_at_once() -> None:
    process = subprocess.Popen(
        command("check", "--all", "--jobs", "2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("passed")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors.strip()) == (130, "metarl: interrupted")


@pytest.mark.slow
def test_everything_registered_passes_check_all() -> None:
    done = subprocess.run(command("check", "--all"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _started(process: subprocess.Popen[str], metrics: Path) -> None:
    deadline = time.monotonic() + 60
    while not metrics.exists() or not metrics.read_bytes():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_ctrl_c_says_how_to_go_on_and_leaves_nothing_half(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(
        command("train", write_config(tmp_path, num_updates=100_000, checkpoint_every=1), "--run-dir", run),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    _started(process, run / "metrics.jsonl")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip() == f"metarl: interrupted; resume with: metarl train --resume {run}"
    assert not list(run.glob(".*.tmp"))
    done = len((run / "metrics.jsonl").read_text().splitlines())
    assert main(["train", "--resume", str(run), f"num_updates={done + 1}"]) == 0


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    script = f"{' '.join(command('agents', 'maml-ppo'))} | true"
    done = subprocess.run(script, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_terminal_shows_a_bar(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("train", write_config(tmp_path, num_updates=2), "--run-dir", tmp_path / "run"),
        stdout=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "160"},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            chunk = os.read(ours, 4096)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not chunk:
            break
        shown += chunk
    os.close(ours)
    assert process.wait() == 0
    for text in (b"maml-ppo on navigation-2d", b"2/2", b"env steps", b"steps/s", b"return"):
        assert text in shown


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 9 TiB"),
        torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_too_little_memory_costs_one_line_with_the_remedy(
    error: Exception, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*arguments: object, **keywords: object) -> None:
        raise error

    monkeypatch.setattr("metarl.evaluation.evaluate.evaluate", failing)
    assert main(["evaluate", str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("metarl: error: there is not enough memory")
    assert "meta_batch_size" in line and "replicas" in line and "horizon" in line


def test_a_batch_that_no_machine_holds_costs_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # 160 TB of observations: beyond what a process can address, whatever the system promises.
    huge = ["family.horizon=10000000", "meta_batch_size=1000", "replicas=1000"]
    assert main(["train", str(write_config(tmp_path)), "--run-dir", str(tmp_path / "run"), *huge]) == 2
    assert "there is not enough memory" in capsys.readouterr().err


def test_another_runtime_error_keeps_its_traceback(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*arguments: object, **keywords: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr("metarl.evaluation.evaluate.evaluate", failing)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        main(["evaluate", str(run)])


@pytest.mark.parametrize("option", [["--plot", "x.pdf"], ["--plot", "."], ["--json", "."], ["--json", "/proc/a.json"]])
def test_outputs_are_checked_before_the_evaluation(
    option: list[str], run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("metarl.evaluation.evaluate.evaluate", lambda *_, **__: pytest.fail("it was evaluated"))
    (run / "evaluation.json").write_text("mine")
    assert main(["evaluate", str(run), *option]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"metarl: error: {option[1]} ")
    assert (run / "evaluation.json").read_text() == "mine"


def test_evaluate_says_how_the_agent_was_trained(run: Path) -> None:
    assert main(["evaluate", str(run), "--tasks", "3"]) == 0
    trained = json.loads((run / "evaluation.json").read_text())["agent"]["trained"]
    assert (trained["updates"], trained["checkpoint"], trained["training_seed"]) == (2, "best", 0)
    assert trained["agent_settings"]["hidden_sizes"] == [8]
    assert "name" not in trained["agent_settings"]


def test_evaluate_measures_the_random_floor_in_the_same_tasks(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--agent", "random"]):
        assert main(["evaluate", str(run), "--tasks", "3", *more]) == 0
    assert "random on navigation-2d, test split: 3 tasks" in capsys.readouterr().out
    ours, floor = (json.loads((run / f"evaluation{end}.json").read_text()) for end in ("", "-random"))
    assert floor["agent"] == {"name": "random", "settings": {}, "trained": None, "oracle": False}
    for name in ("family", "settings", "tasks", "task_index", "plan", "env_steps"):
        assert floor[name] == ours[name], name
    assert floor["returns"] != ours["returns"]
    assert (run / "adaptation-random.png").exists()
    assert main(["evaluate", str(run), "--tasks", "3", "--agent", "random", "--split", "extrapolation"]) == 0
    assert (run / "evaluation-random-extrapolation.json").exists()


def test_a_trained_agent_is_measured_with_other_settings_beside_its_own(run: Path, tmp_path: Path) -> None:
    measure = ["evaluate", str(run), "--tasks", "3", "--rounds", "3"]
    for words in ([], ["agent.inner_lr=5", "agent.outer.clip_range=0.5"], ["agent.inner_lr=1e-9"], ["--budget", "2"]):
        assert main([*measure, *words]) == 0
    names = ["inner_lr=1e-09", "inner_lr=5.0-outer.clip_range=0.5", "budget=2"]
    own, still, moved, longer = (
        json.loads((run / f"evaluation{end}.json").read_text()) for end in ("", *(f"-{name}" for name in names))
    )
    assert [each["agent"]["trained"] for each in (still, moved, longer)] == [own["agent"]["trained"]] * 3
    assert moved["agent"]["settings"] == {"inner_lr": 5.0, "outer.clip_range": 0.5}
    first = [[returns[0] for returns in each["returns"]] for each in (own, still, moved, longer)]
    assert first[1:] == first[:1] * 3  # the same trained policy, before it adapts
    last = [[returns[-1] for returns in each["returns"]] for each in (own, still, moved, longer)]
    assert all(one != other for one, other in itertools.combinations(last, 2))
    page = tmp_path / "page.md"
    assert main(["report", str(run), "-o", str(page)]) == 0
    text = page.read_text()
    for told in ("inner_lr=1e-09", "inner_lr=5.0 outer.clip_range=0.5", "budget=2"):
        assert f"| maml-ppo {told} |" in text
    before = (run / f"evaluation-{names[1]}.json").read_bytes()
    (run / f"evaluation-{names[1]}.json").unlink()
    again = next(line for line in text.splitlines() if "agent.outer.clip_range" in line)
    assert "--agent" not in again
    assert main([*measure[:2], *shlex.split(again)[3:]]) == 0
    assert (run / f"evaluation-{names[1]}.json").read_bytes() == before


def test_a_trained_agent_may_be_told_to_adapt_though_it_was_trained_in_one_round(tmp_path: Path) -> None:
    changed = {**config(rounds=1, num_updates=1), "agent": {"name": "multi-task-ppo", "hidden_sizes": [8]}}
    run = meta_train(TrainConfig(**changed), tmp_path / "run", progress=False)
    assert main(["evaluate", str(run), "--tasks", "3", "--rounds", "2", "agent.adapts=all"]) == 0
    assert (run / "evaluation-adapts=%22all%22.json").exists()


def test_settings_that_make_too_long_a_name_are_refused_in_one_line(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = [f"agent.hidden_sizes=[{','.join(['8'] * 120)}]"]
    assert main(["evaluate", str(run), "--agent", "maml-ppo", *many]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("is too long for the name of a file; give it a name of your own")


def test_the_random_floor_needs_no_checkpoint(run: Path) -> None:
    for name in ("best", "last"):
        (run / f"{name}.safetensors").unlink()
    assert main(["evaluate", str(run), "--tasks", "3", "--agent", "random"]) == 0


def test_evaluate_says_that_an_agent_made_by_name_is_untrained(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("maml-ppo", "rl2"):
        assert main(["evaluate", str(run), "--tasks", "3", "--agent", name]) == 0
        assert f"{name} (untrained) on navigation-2d" in capsys.readouterr().out
        result = json.loads((run / f"evaluation-{name}.json").read_text())
        assert (result["agent"]["name"], result["agent"]["trained"]) == (f"{name} (untrained)", None)


def test_a_deterministic_evaluation_stands_beside_the_sampled_one_and_repeats(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "rl2", num_updates=1, rounds=2)
    measure = ["evaluate", str(run), "--tasks", "4", "--replicas", "3"]
    for words in ([], ["--deterministic"]):
        assert main([*measure, *words]) == 0
    file = run / "evaluation-deterministic.json"
    sampled, still = (json.loads(path.read_text()) for path in (run / "evaluation.json", file))
    assert (sampled["plan"]["deterministic"], still["plan"]["deterministic"]) == (False, True)
    assert sampled["returns"] != still["returns"]
    page = tmp_path / "page.md"
    assert main(["report", str(run), "-o", str(page)]) == 0
    text = page.read_text()
    assert "| rl2 deterministic |" in text
    assert "with exploration noise, except in rows that say `deterministic`" in text
    again = next(line for line in text.splitlines() if "--deterministic" in line)
    before = file.read_bytes()
    file.unlink()
    assert main([*measure[:2], *shlex.split(again)[3:]]) == 0
    assert file.read_bytes() == before


def test_a_reference_that_plans_for_the_trial_is_told_its_rounds(tmp_path: Path) -> None:
    family = {"name": "gridnavi", "horizon": 8}
    run = trained(tmp_path / "run", "rl2", family=family, num_updates=1, rounds=2)
    for settings in ([], ["agent.episodes=2"], ["agent.episodes=4"]):
        assert main(["evaluate", str(run), "--tasks", "60", "--agent", "bayes-optimal-search", *settings]) == 0
    told, two, four = (
        json.loads((run / f"evaluation-bayes-optimal-search{more}.json").read_text())["returns"]
        for more in ("", "-episodes=2", "-episodes=4")
    )
    assert told == two != four


def test_references_of_other_settings_and_budgets_stand_side_by_side_and_repeat(run: Path, tmp_path: Path) -> None:
    measure = ["evaluate", str(run), "--tasks", "3", "--rounds", "2"]
    small = ["agent.hidden_sizes=[4]", "agent.n_epochs=1"]
    for words in (
        [],
        ["--agent", "sb3-ppo", *small],
        ["agent.adapts=true", "--agent", "sb3-ppo", *small],
        ["--agent", "sb3-ppo", *small, "agent.adapts=True", "--budget", "5"],
    ):
        assert main([*measure, *words]) == 0
    files = sorted(path.name for path in run.glob("evaluation-*.json"))
    ends = ["adapts=true-hidden_sizes=[4]-n_epochs=1-budget=5", "adapts=true-hidden_sizes=[4]-n_epochs=1"]
    assert files == [f"evaluation-sb3-ppo-{end}.json" for end in (*ends, "hidden_sizes=[4]-n_epochs=1")]
    told = [json.loads((run / name).read_text()) for name in files]
    assert [each["env_steps"] for each in told] == [[50, 60], [10, 20], [5, 10]]
    assert told[0]["agent"]["settings"] == {"adapts": True, "hidden_sizes": [4], "n_epochs": 1}
    page = tmp_path / "page.md"
    assert main(["report", str(run), "-o", str(page)]) == 0
    text = page.read_text()
    for end in ("adapts=true hidden_sizes=[4] n_epochs=1 budget=5", "hidden_sizes=[4] n_epochs=1"):
        assert f"sb3-ppo (untrained) {end}" in text
    again = next(line for line in text.splitlines() if "--budget 5" in line)
    before = (run / files[0]).read_bytes()
    (run / files[0]).unlink()
    assert main([*measure[:2], *shlex.split(again)[3:]]) == 0
    assert (run / files[0]).read_bytes() == before


def test_a_backend_of_drawing_that_mujoco_cannot_load_costs_one_line(tmp_path: Path) -> None:
    config = write_config(tmp_path, family={"name": "half-cheetah-velocity"})
    done = metarl("train", config, "--run-dir", tmp_path / "run", MUJOCO_GL="nothing")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("metarl: error: MuJoCo does not load with MUJOCO_GL=nothing (")
