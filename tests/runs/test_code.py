"""A run on code of a user's own is found again from every folder, and a run folder brings no code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from metarl.base import code
from metarl.base.errors import MetarlError
from metarl.families.family import FAMILIES
from metarl.runs.code import CODE, recall_code, record_code
from metarl.runs.run import default_run_dirs
from tests.runs.own_code import metarl_in, write_agent, write_family, write_own_config, write_robot
from tests.small_runs import configured
from tests.warm import WarmProcess, warm_python


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a family, an agent, and a run that was trained there."""
    folder = tmp_path_factory.mktemp("project")
    write_family(folder, "project_room")
    write_agent(folder, "project_agent")
    write_own_config(folder, "project_room:Thermostat")
    done = metarl_in(folder, "train", "own.yaml", "--run-dir", "run")
    assert done.returncode == 0, done.stderr
    assert done.stderr == f"metarl: importing project_room from {folder}/project_room.py\n"
    return folder


@pytest.fixture
def copied(project: Path, tmp_path: Path) -> Path:
    """A copy of the run, whose code stays in the project."""
    return Path(shutil.copytree(project / "run", tmp_path / "run"))


def change_record(run: Path, **changes: Any) -> None:
    data = json.loads((run / CODE).read_text())
    data["modules"][0] |= changes
    (run / CODE).write_text(json.dumps(data))


def test_a_run_on_an_own_family_is_evaluated_and_resumed_from_another_folder(copied: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for words in (
        ["evaluate", copied, "--tasks", "2"],
        ["train", "--resume", copied, "num_updates=5"],
        ["report", copied, "-o", "page.md"],
    ):
        done = metarl_in(elsewhere, *words)
        assert done.returncode == 0, done.stderr
    assert "project_room:Thermostat" in (elsewhere / "page.md").read_text()


def test_an_own_agent_is_measured_on_a_run(project: Path, copied: Path) -> None:
    done = metarl_in(project, "evaluate", copied, "--tasks", "2", "--agent", "project_agent.py:Still")
    assert done.returncode == 0, done.stderr
    assert "project_agent:Still on project_room:Thermostat" in done.stdout
    assert (copied / "evaluation-project_agent-Still.json").is_file()


def test_a_killed_run_on_a_family_that_a_module_registers_resumes_elsewhere_to_the_same_bits(tmp_path: Path) -> None:
    project = tmp_path / "project"
    write_family(project, "registering_room", "registered-room")
    path = write_own_config(
        project, "registered-room", imports=["registering_room"], num_updates=100_000, checkpoint_every=1
    )
    program = "import sys; from metarl.cli.main import main; sys.exit(main(sys.argv[1:]))"
    run = tmp_path / "run"
    process = WarmProcess(
        [warm_python(), "-c", program, "train", str(path), "--run-dir", str(run)],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not (run / "last.safetensors").exists():
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    made = len((run / "metrics.jsonl").read_text().splitlines()) + 2
    done = metarl_in(tmp_path, "train", "--resume", run, f"num_updates={made}")
    assert done.returncode == 0, done.stderr
    whole = metarl_in(project, "train", path, "--run-dir", tmp_path / "whole", f"num_updates={made}")
    assert whole.returncode == 0, whole.stderr
    first, second = (folder / "last.safetensors" for folder in (run, tmp_path / "whole"))
    assert first.read_bytes() == second.read_bytes()


def test_equal_configs_stay_equal_wherever_the_code_lies(project: Path, tmp_path: Path) -> None:
    done = metarl_in(
        tmp_path, "train", project / "own.yaml", f"family={project}/project_room.py:Thermostat", "--run-dir", "run"
    )
    assert done.returncode == 0, done.stderr
    for name in ("config.yaml", "last.safetensors", CODE):
        assert (tmp_path / "run" / name).read_bytes() == (project / "run" / name).read_bytes()


def test_code_that_changed_since_costs_one_warning(copied: Path, project: Path, tmp_path: Path) -> None:
    change_record(copied, sha256="0" * 64)
    done = metarl_in(tmp_path, "evaluate", copied, "--tasks", "2")
    assert done.returncode == 0
    told, warning = done.stderr.splitlines()
    assert told == f"metarl: importing project_room from {project}/project_room.py"
    assert warning.startswith(f"metarl: warning: {project}/project_room.py has changed since {copied} was trained")


def test_model_file_or_mesh_that_changed_since_costs_one_warning(tmp_path: Path) -> None:
    # Takes seconds: each of three commands is a process of its own, as the module is imported once in each.
    write_robot(tmp_path, "project_robot")
    write_own_config(tmp_path, "project_robot.py:Slider")
    done = metarl_in(tmp_path, "train", "own.yaml", "--run-dir", "run")
    assert done.returncode == 0, done.stderr
    unchanged = metarl_in(tmp_path, "evaluate", "run", "--tasks", "2")
    assert "has changed" not in unchanged.stderr
    mesh = tmp_path / "tetra.obj"
    mesh.write_text(mesh.read_text().replace("v 1 1 1", "v 2 2 2"))
    done = metarl_in(tmp_path, "evaluate", "run", "--tasks", "2")
    assert done.returncode == 0, done.stderr
    (warning,) = (line for line in done.stderr.splitlines() if "has changed since" in line)
    assert warning.startswith("metarl: warning: the model file of project_robot:Slider, or a file it refers to")


def test_code_that_is_gone_costs_one_line_with_the_way_to_name_it(copied: Path, project: Path, tmp_path: Path) -> None:
    change_record(copied, folder=str(tmp_path / "gone"))
    done = metarl_in(tmp_path, "evaluate", copied, "--tasks", "2")
    assert done.returncode == 2
    assert done.stderr == (
        f"metarl: error: run {copied} needs module 'project_room', which is gone from {tmp_path}/gone; put its folder "
        "on PYTHONPATH, or add --import path/to/project_room.py (renamed: --import project_room=NEW)\n"
    )
    done = metarl_in(tmp_path, "evaluate", copied, "--tasks", "2", "--import", project / "project_room.py")
    assert done.returncode == 0, done.stderr


def test_a_class_that_was_renamed_and_moved_is_found_by_its_new_name(copied: Path, tmp_path: Path) -> None:
    change_record(copied, folder=str(tmp_path / "gone"))
    file = write_family(tmp_path / "kit", "chamber")
    file.write_text(file.read_text().replace("class Thermostat", "class Heater"))
    option = ["--import", f"project_room:Thermostat={file}:Heater"]
    for words in (["train", "--resume", copied, "num_updates=5"], ["evaluate", copied, "--tasks", "2"]):
        done = metarl_in(tmp_path, *words, *option)
        assert done.returncode == 0, done.stderr
        told, *warnings = done.stderr.splitlines()
        assert told == f"metarl: importing chamber from {file}"
        # Only the first command finds the code that it was trained with changed; resumed, it has the new one.
        assert [("has changed since" in line) for line in warnings] == [True] * (words[0] == "train")
    assert "name: chamber:Heater" in (copied / "config.yaml").read_text()
    assert json.loads((copied / CODE).read_text())["modules"][0]["module"] == "chamber"


def test_a_module_that_was_renamed_is_found_by_its_new_name(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_record(copied, folder=str(copied.parent / "gone"), module="former.room")
    monkeypatch.setattr(code, "_renamed", {})
    write_family(copied.parent, "room_of_today")
    monkeypatch.chdir(copied.parent)
    code.import_by_option("former.room=room_of_today")
    recall_code(copied)
    assert (code.renamed("former.room:A"), code.renamed("former:A")) == ("room_of_today:A", "former:A")
    assert code.canonical("former.room:Thermostat") == "room_of_today:Thermostat"
    assert FAMILIES["former.room:Thermostat"].name == "room_of_today:Thermostat"
    code.import_by_option("older=room_of_today")
    assert code.renamed("older.inner.deep:A") == "room_of_today.inner.deep:A"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("former=room_of_yesterday", "module 'room_of_yesterday' is not found"),
        ("former:A=json", "'former:A=json' names a module and a class; write module=module, or"),
        ("former:A=json:Nothing", "module 'json' has no 'Nothing'"),
    ],
)
def test_a_new_name_that_leads_nowhere_costs_one_line(word: str, told: str) -> None:
    with pytest.raises(MetarlError, match=told):
        code.import_by_option(word)


def test_the_config_of_a_run_names_the_modules_it_needs_and_repeats_it_from_anywhere(tmp_path: Path) -> None:
    project = tmp_path / "project"
    write_family(project, "repeated_room", "repeated-room")
    config = write_own_config(project, "repeated-room", num_updates=1)
    first = metarl_in(project, "train", config, "--run-dir", tmp_path / "run", "--import", "repeated_room.py")
    assert first.returncode == 0, first.stderr
    content = (tmp_path / "run" / "config.yaml").read_text()
    assert content.startswith("imports:\n- repeated_room\n")
    (tmp_path / "elsewhere").mkdir()
    again = metarl_in(tmp_path / "elsewhere", "train", tmp_path / "run" / "config.yaml", "--run-dir", "again")
    assert again.returncode == 0, again.stderr
    copy = tmp_path / "elsewhere" / "again"
    for name in ("config.yaml", "last.safetensors", CODE):
        assert (copy / name).read_bytes() == (tmp_path / "run" / name).read_bytes()


MARK = "import pathlib; pathlib.Path(__file__).with_name('ran').touch()"


def test_a_run_folder_brings_no_code(copied: Path) -> None:
    (copied / "project_room.py").write_text(MARK)
    change_record(copied, folder=str(copied))
    (copied / "code").symlink_to(copied)
    for folder in (copied, copied / "code"):
        change_record(copied, folder=str(folder))
        with pytest.raises(MetarlError, match=r"has its own code, .*, which is not run; put its folder on PYTHONPATH"):
            recall_code(copied)
    assert not (copied / "ran").exists()


def test_code_beside_a_run_in_the_current_folder_is_not_run(copied: Path) -> None:
    (copied / CODE).unlink()
    (copied.parent / "project_room.py").write_text(MARK)
    (copied / "project_room.py").write_text(MARK)
    for folder, words in (
        (copied, ["evaluate", copied, "--tasks", "2"]),
        (copied.parent, ["evaluate", copied, "--tasks", "2"]),
        (copied, ["train", copied / "config.yaml"]),
    ):
        done = metarl_in(folder, *words)
        assert done.returncode == 2
        assert "module 'project_room' is not found; put its folder on PYTHONPATH, or add --import" in done.stderr
        assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folder": "code"}, "names the relative folder 'code' for 'project_room'; put its folder"),
        ({"module": "../evil"}, "modules.0.module is '../evil'"),
        ({"module": 3}, "modules.0.module is 3"),
        ({"extra": 3}, "extra: unknown key"),
    ],
)
def test_a_record_that_a_stranger_wrote_is_refused(changes: dict[str, Any], message: str, copied: Path) -> None:
    change_record(copied, **changes)
    with pytest.raises(MetarlError) as caught:
        recall_code(copied)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 5000, "null"])
def test_a_damaged_record_costs_one_line(text: str, copied: Path) -> None:
    (copied / CODE).write_text(text)
    with pytest.raises(MetarlError, match=r"code\.json is damaged; restore it from a copy, or remove it"):
        recall_code(copied)


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root gives files away")
def test_code_of_another_user_is_not_run(copied: Path, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    file = write_family(folder, "project_room")
    change_record(copied, folder=str(folder))
    for path in (file, folder):
        os.chown(path, 12345, -1)
        with pytest.raises(MetarlError, match="but it belongs to another user"):
            recall_code(copied)
        os.chown(path, 0, -1)


def test_code_that_everybody_can_write_is_not_run(copied: Path, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    file = write_family(folder, "project_room")
    change_record(copied, folder=str(folder))
    for path in (file, folder):
        mode = path.stat().st_mode
        path.chmod(0o777)
        with pytest.raises(MetarlError, match="but everybody can write it"):
            recall_code(copied)
        path.chmod(mode)


def test_a_run_of_built_in_code_has_no_record(tmp_path: Path) -> None:
    from tests.small_runs import trained

    assert not (trained(tmp_path / "run", num_updates=1) / CODE).exists()


def test_a_class_made_in_a_function_costs_a_warning_and_has_a_plain_name_in_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Cellar(FAMILIES["navigation-2d"]):  # type: ignore[misc]
        pass

    monkeypatch.setitem(FAMILIES._items, "cellar", Cellar)
    record_code(tmp_path, "cellar", "random")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("metarl: warning: family 'cellar' is class Cellar, made inside a function of tests.runs")
    assert line.endswith("no other process can load the run; move the class to the top of a module")
    record_code(tmp_path, "navigation-2d", "random")
    assert capsys.readouterr().err == ""


def test_folders_of_runs_have_plain_names(tmp_path: Path) -> None:
    config = configured().model_copy(update={"family": {"name": "a.b:C"}})
    assert next(default_run_dirs(config, tmp_path)) == tmp_path / "a.b-C-maml-ppo-seed0"
