"""A mistake on the command line costs one line and status 2."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from metarl.cli.main import main
from metarl.runs.config import TrainConfig
from metarl.training.train import meta_train
from tests.small_runs import config, metarl, write_config


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not to be changed."""
    return meta_train(TrainConfig(**config(num_updates=2)), tmp_path_factory.mktemp("runs") / "run", progress=False)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


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
    "misspelt family": (_with_config("famly: navigation-2d\nagent: rl2"), "unknown key; did you mean 'family'?"),
    "missing family": (_with_config("agent: rl2\n"), "family: missing; give it a value"),
    "part of a name": (lambda folder, run: ["agents", "multi-task"], "did you mean 'multi-task-ppo'?"),
    "no near name": (lambda folder, run: ["check", "poles"], "known: "),
    "no number": (_with_override("agent.inner_lr=fast"), "inner_lr is 'fast': it must be a valid number\n"),
    "wrong type": (_with_override("num_updates=many"), "num_updates is 'many': it must be a valid integer"),
    "out of range": (_with_override("replicas=0"), "replicas is 0: it must be greater than or equal to 1"),
    "unknown family": (_with_override("family.name=navigation"), "did you mean 'navigation-2d'?"),
    "too many updates": (_with_override(f"num_updates={10**19}"), "it must be less than or equal to 1000000000"),
    "too wide a layer": (_with_override("agent.hidden_sizes=[70000]"), "it must be less than or equal to 16384"),
    "too great a seed": (_with_override(f"seed={2**63}"), "it must be less than or equal to 9223372036854775807"),
    "number of 400 digits": (_with_override(f"seed=1{'0' * 400}"), "has more than 64 bits; give a smaller number"),
    "key given twice": (_with_override("agent.outer={name: ppo, name: trpo}"), "key 'name' is given twice; keep one"),
    "too many tasks": (
        lambda folder, run: ["evaluate", str(run), "--tasks", str(10**20)],
        "is too great: it must be at most 1000000000",
    ),
    "too many pictures a second": (
        lambda folder, run: ["render", str(run), "--fps", "99999999999999999999"],
        "is too great: it must be at most 1000",
    ),
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
    "flipped bit": (_with_checkpoint(lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]), "the checksum saved"),
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
    "unknown option": (
        lambda folder, run: ["evaluate", str(run), "--task-count", "3"],
        "argument '--task-count' is unknown",
    ),
    "abbreviated option": (
        lambda folder, run: ["evaluate", str(run), "--task", "3"],
        "argument '--task' is unknown; did you mean '--tasks'?",
    ),
    "abbreviated option with a value": (
        lambda folder, run: ["evaluate", str(run), "--round=3"],
        "argument '--round=3' is unknown; did you mean '--rounds'?",
    ),
    "numbers over the picture": (
        lambda folder, run: ["evaluate", str(run), "--json", "four.png"],
        "numbers and picture would both be four.png",
    ),
    "resumed with a config": (
        lambda folder, run: ["train", "--resume", str(run), "config.yaml"],
        "--resume takes no config, the run has its own; leave config.yaml out",
    ),
    "unknown family to show": (lambda folder, run: ["families", "navigaton"], "did you mean 'navigation-2d'?"),
    "unknown agent to show": (lambda folder, run: ["agents", "rl3"], "did you mean 'rl2'?"),
    "unknown name to check": (lambda folder, run: ["check", "navigaton"], "did you mean 'navigation-2d'?"),
    "nothing to check": (lambda folder, run: ["check"], "name a family or an agent, or add --all"),
    "one to check and all": (lambda folder, run: ["check", "random", "--all"], "'random' and --all were both given"),
    "processes for one check": (
        lambda folder, run: ["check", "random", "--jobs", "2"],
        "--jobs was given without --all",
    ),
    "no processes": (lambda folder, run: ["check", "--all", "--jobs", "0"], "must be at least 1"),
    "unknown option before a part": (lambda folder, run: ["bench", "--tasks", "0"], "argument '--tasks' is unknown;"),
    "option of the default part": (
        lambda folder, run: ["bench", "--import", "math", "--worlds", "0"],
        "argument --worlds: 0 is too small: it must be at least 1",
    ),
    "no part": (lambda folder, run: ["bench", "0"], "part '0' is unknown; known: few-shot, ranks, serve, sim, train"),
    "option before the command": (lambda folder, run: ["--seed", "3", "train"], "argument '--seed' is unknown;"),
    "unknown option before a choice": (
        lambda folder, run: ["completion", "--short", "0"],
        "argument '--short' is unknown;",
    ),
    "unknown option in place of what is required": (
        lambda folder, run: ["report", "--short"],
        "argument '--short' is unknown;",
    ),
    "value behind a short option": (
        lambda folder, run: ["report", "-opage.html"],
        "the following arguments are required: RUN",
    ),
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
    assert message in f"{line}\n"


CONTRADICTIONS = {
    "evaluate RUN --budget 5 --rounds 1": "budget is 5 and rounds is 1; a budget lies between measured rounds",
    "evaluate RUN --agent random --checkpoint last": "--agent and --checkpoint were both given",
    "evaluate RUN --json a.png": "numbers and picture would both be a.png",
    "evaluate RUN --json a.png --plot a.png": "numbers and picture would both be a.png",
    "evaluate RUN --plot a.bmp": "a picture is written as '.png' or '.svg'",
    "evaluate RUN RUN --json a.json": "--json was given with 2 runs",
    "evaluate --family nowhere RUN --agent random": "--family and run RUN were both given",
    "render RUN --agent random --checkpoint last": "--agent and --checkpoint were both given",
    "render RUN --task 40": "task 40 is not among the 40 tasks",
    "render RUN --tasks 5 --among 4": "--tasks is 5, but only 4 are played",
    "render RUN --tasks 5 --task 4": "--tasks and --task were both given",
    "render RUN -o a.png": "a video is written as '.mp4' or '.gif'",
    "report RUN --normalize random random": "--normalize is 'random' twice",
    "report RUN -o page.doc": "a page is written as",
    "families nowhere --plot a.png --render a.png": "--plot and --render are both 'a.png'",
    "families nowhere --plot a.bmp": "a picture is written as '.png' or '.svg'",
    "families nowhere --split test": "--split was given without --render",
    "check nowhere --all": "'nowhere' and --all were both given",
    "train --resume RUN --family nowhere": "--family and --resume were both given",
    "train --resume RUN --seeds 1 2": "--resume was given with 2 seeds",
    "train nowhere.yaml --seed 1 --seeds 2": "--seed and --seeds were both given",
    "train nowhere.yaml --seeds 1 2 --run-dir here": "write {seed} in it",
    "train nowhere.yaml --log tensorbord": "logger 'tensorbord' is unknown; did you mean 'tensorboard'?",
}
"""Command lines that cannot be followed, whatever the run, the config or the family: none of these exists."""


@pytest.mark.parametrize("words", CONTRADICTIONS)
def test_options_that_contradict_each_other_are_refused_before_anything_is_loaded(
    words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert CONTRADICTIONS[words] in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_costs_one_line_and_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(write_config(tmp_path, device="cuda")), "--run-dir", str(tmp_path / "run")]
    assert main(arguments) == 2
    assert "set device=cpu or device=auto" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words",
    [(), ("--help",), ("--version",), ("train", "--help"), ("families",), ("agents", "rl2"), ("completion", "bash")],
)
def test_a_full_standard_output_costs_one_line_that_names_it(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full, monkeypatch.context() as patch:
        patch.setattr("sys.stdout", full)
        assert main(words) == 2
    line = capsys.readouterr().err
    assert line.startswith("metarl: error: standard output could not be written (No space left on device); ")
    assert line.count("\n") == 1


def test_a_full_standard_error_changes_no_status(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w", buffering=1) as full, monkeypatch.context() as patch:
        patch.setattr("sys.stderr", full)
        assert main(["trian"]) == 2


def test_the_process_ends_with_status_2_and_one_line(tmp_path: Path) -> None:
    done = metarl("train", write_config(tmp_path, sead=1))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"metarl: error: {tmp_path}/maml-ppo.yaml: sead: unknown key; did you mean 'seed'?\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_costs_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    assert main(["train", str(write_config(tmp_path)), "--run-dir", str(tmp_path / "locked" / "run")]) == 2
    assert "Permission denied" in capsys.readouterr().err


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
    # 160 TB of observations.
    huge = ["family.horizon=10000000", "meta_batch_size=1000", "replicas=1000"]
    assert main(["train", str(write_config(tmp_path)), "--run-dir", str(tmp_path / "run"), *huge]) == 2
    assert "a meta-batch would take about" in capsys.readouterr().err


def test_a_lack_of_memory_that_was_not_foreseen_costs_one_line(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(*arguments: object, **keywords: object) -> None:
        raise MemoryError("Unable to allocate 160 TiB")

    monkeypatch.setattr("metarl.evaluation.evaluate.evaluate", failing)
    assert main(["evaluate", str(run)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("metarl: error: there is not enough memory (Unable to allocate 160 TiB); take fewer tasks")


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


def test_settings_that_make_too_long_a_name_are_refused_in_one_line(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = [f"agent.hidden_sizes=[{','.join(['8'] * 120)}]"]
    assert main(["evaluate", str(run), "--agent", "maml-ppo", *many]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("is too long for the name of a file; give it a name of your own")


def test_a_backend_of_drawing_that_mujoco_cannot_load_costs_one_line(tmp_path: Path) -> None:
    config = write_config(tmp_path, family={"name": "half-cheetah-velocity"})
    done = metarl("train", config, "--run-dir", tmp_path / "run", MUJOCO_GL="nothing")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("metarl: error: MuJoCo does not load with MUJOCO_GL=nothing (")
