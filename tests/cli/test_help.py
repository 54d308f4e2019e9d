"""Help, and completion in shells."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from metarl.cli.main import COMMANDS, main
from metarl.families.family import FAMILIES
from metarl.trials.registered import AGENTS


@pytest.mark.parametrize("words", [[], ["help"]])
def test_metarl_alone_shows_its_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    first = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert {command.__name__.rpartition(".")[2].replace("_", "-") for command in COMMANDS} <= first


def test_help_of_a_command_is_what_the_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "train"]) == 0
    told = capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        main(["train", "--help"])
    assert left.value.code == 0
    assert told == capsys.readouterr().out


def test_help_of_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "trian"]) == 2
    assert "command 'trian' is unknown; did you mean 'train'?" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_options_and_names(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("evaluate", "split", next(iter(FAMILIES)), next(iter(AGENTS))):
        assert word in script


COMPLETED = {
    "metarl ev": ["evaluate"],
    "metarl evaluate --spl": ["--split"],
    "metarl families half-cheetah-sl": ["half-cheetah-slope"],
    "metarl train --agent sb3-s": ["sb3-sac"],
    "metarl evaluate --checkpoint la": ["last"],
}


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize("typed", COMPLETED)
def test_bash_completes(typed: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    words = typed.split(" ")
    script = (
        f"{capsys.readouterr().out}\nCOMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}\n"
        f"_shtab_metarl metarl '{words[-1]}' '{words[-2]}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert [word.strip() for word in done.stdout.split()] == COMPLETED[typed]
