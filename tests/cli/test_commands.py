"""Commands as users type them: train, resume, list, stop."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from metarl import __version__
from metarl.base.descriptions import description_of
from metarl.cli.main import main
from metarl.families.family import FAMILIES, missing_requirement
from metarl.runs.config import TrainConfig
from metarl.training.train import meta_train
from metarl.trials.registered import AGENTS
from tests.small_runs import command, config, metarl, started, write_config
from tests.warm import warm_python


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, not to be changed."""
    return meta_train(TrainConfig(**config(num_updates=2)), tmp_path_factory.mktemp("runs") / "run", progress=False)


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


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
        lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
        assert sorted(line.split()[0] for line in lines) == list(registry)  # type: ignore[call-overload]
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
        config = AGENTS[agent].Config
        for name in config.model_fields:
            assert f"  {name}" in page
            assert (description_of(config, name) or "?") in page


def test_page_of_a_family_has_only_options_that_it_takes_and_a_source_if_it_names_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["families", "navigation-2d"]) == 0
    page = capsys.readouterr().out
    assert "switch_at" in page and "MuJoCo model" not in page
    assert f"from: {FAMILIES['navigation-2d'].source}" in page
    monkeypatch.setattr(FAMILIES["navigation-2d"], "source", "")
    assert main(["families", "navigation-2d"]) == 0
    assert "from:" not in capsys.readouterr().out
    assert main(["families", "ant-goal"]) == 0
    assert "MuJoCo model" in capsys.readouterr().out


def test_ctrl_c_says_how_to_go_on_and_leaves_nothing_half(tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ["train", write_config(tmp_path, num_updates=100_000, checkpoint_every=1), "--run-dir", run]
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with started(*words, metrics=run / "metrics.jsonl", **pipes) as process:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    told = rf"metarl: interrupted by SIGINT; \d+ updates? saved; resume with: metarl train --resume {run}"
    assert re.fullmatch(told, errors.strip())
    assert not list(run.glob(".*.tmp"))
    done = len((run / "metrics.jsonl").read_text().splitlines())
    assert main(["train", "--resume", str(run), f"num_updates={done + 1}"]) == 0


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    script = f"{' '.join(command('families'))} | true"
    done = subprocess.run(script, shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_terminal_shows_a_bar(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("train", write_config(tmp_path, num_updates=2), "--run-dir", tmp_path / "run", python=warm_python()),
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
