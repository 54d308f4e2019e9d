"""Classes named `module:Name` or `path/to/file.py:Name`, in Python and in every command."""

from __future__ import annotations

import contextlib
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest

import metarl
from metarl.adapters.gymnasium import SingleEnv
from metarl.base.code import canonical, file_name, import_code, only_installed
from metarl.base.errors import MetarlError, UserCodeError
from metarl.base.registry import Registry
from metarl.checks.check import Subject, check_family
from metarl.cli.main import main
from metarl.families.family import FAMILIES, TaskFamily
from metarl.trials.registered import AGENTS
from tests.runs.own_code import write_agent, write_family


@pytest.fixture(autouse=True)
def _restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the search path, the modules and the current folder as they were."""
    path, modules = list(sys.path), set(sys.modules)
    monkeypatch.chdir(tmp_path)
    yield
    sys.path[:] = path
    for module in set(sys.modules) - modules:
        if str(getattr(sys.modules[module], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[module]


def test_a_class_of_a_module_in_this_folder_is_loaded_by_its_name_and_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_family(tmp_path, "warm_room")
    family = metarl.load("warm_room:Thermostat", horizon=7)
    assert family.horizon == 7
    assert family.name == "warm_room:Thermostat"
    assert metarl.load(family.name, **family.settings) == family
    assert capsys.readouterr().err == f"metarl: importing warm_room from {path}\n"


def test_a_class_of_a_file_is_loaded_by_its_path_with_the_modules_beside_it(tmp_path: Path) -> None:
    path = write_family(tmp_path / "deep" / "er", "cool_room")
    (path.parent / "beside_it.py").write_text("")
    path.write_text(f"import beside_it\n{path.read_text()}")
    family = metarl.load(f"{path}:Thermostat")
    assert family.name == "cool_room:Thermostat"
    assert metarl.load("deep/er/cool_room.py:Thermostat") == family
    assert canonical(f"{path}:Thermostat") == "cool_room:Thermostat"


def test_a_file_of_a_package_is_imported_as_part_of_it(tmp_path: Path) -> None:
    path = write_family(tmp_path / "rooms_of_mine", "attic")
    (path.parent / "__init__.py").write_text("SIZE = 3")
    path.write_text(f"from . import SIZE\n{path.read_text()}")
    assert metarl.load(f"{path}:Thermostat").name == "rooms_of_mine.attic:Thermostat"


def test_an_agent_is_made_by_its_reference(tmp_path: Path) -> None:
    write_agent(tmp_path, "still_agent")
    agent = metarl.make_agent("still_agent:Still", metarl.load("point-sparse"))
    evaluation = metarl.evaluate(agent, metarl.load("point-sparse"), num_tasks=2, rounds=1, replicas=1)
    assert evaluation.agent.name == "Still"
    registered = metarl.make_agent("random", metarl.load("point-sparse"))
    assert metarl.evaluate(registered, metarl.load("point-sparse"), num_tasks=1).agent.name == "random"


def test_a_class_without_a_registered_name_passes_the_checks_of_a_family(tmp_path: Path) -> None:
    write_family(tmp_path, "checked_room")
    assert check_family("checked_room:Thermostat") == []


def test_a_subclass_that_is_not_registered_does_not_go_by_the_name_of_its_base() -> None:
    class Faster(FAMILIES["navigation-2d"]):  # type: ignore[misc]
        pass

    assert Faster.name == f"{__name__}:Faster"


def test_an_environment_of_such_a_family_plays_in_a_process_that_was_spawned(tmp_path: Path) -> None:
    write_family(tmp_path, "spawned_room")
    env = SingleEnv(metarl.load("spawned_room:Thermostat"))
    make = pickle.loads(pickle.dumps(env)).__reduce__
    here, _ = env.reset(seed=1)
    cls, arguments = make()
    with contextlib.closing(
        gymnasium.vector.AsyncVectorEnv([lambda: cls(*arguments)], context="spawn", shared_memory=False)
    ) as envs:
        there, _ = envs.reset(seed=[1])
    assert there[0] == here


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (
            "no_such_module:Room",
            "module 'no_such_module' is not found; give a module of this folder or of an installed",
        ),
        ("bad_roomm:Thermostat", "module 'bad_roomm' is not found; did you mean 'bad_room'?"),
        ("bad_room:Termostat", "module 'bad_room' has no 'Termostat'; did you mean 'Thermostat'?"),
        ("bad_room.inner:Room", "module 'bad_room.inner' is not found: there is no 'bad_room.inner' in"),
        (
            "fractions:Fraction",
            "family 'fractions:Fraction' is <class 'fractions.Fraction'>; it must be a class that extends metarl.Task",
        ),
        ("bad_room:np", "it must be a class that extends metarl.TaskFamily"),
        ("metarl.families.arrays:ArrayFamily", "class ArrayFamily lacks"),
        ("plain:Room", "class Room is no dataclass; decorate it with @dataclass(frozen=True)"),
        ("bad_room:", "'bad_room:' names no class; write module:Name or path/to/file.py:Name"),
        (":Room", "':Room' names no class; write module:Name or path/to/file.py:Name"),
        ("a b:Room", "'a b' names no module; write words with dots between, or the path of a .py file"),
        ("nowhere.py:Room", "nowhere.py does not exist; give the path of a .py file"),
        ("random.py:Room", "the name of random.py is that of another module, 'random' in"),
        ("two-words.py:Room", "'two-words' is no name of a module; rename the file"),
        ("leaves:Room", "module 'leaves' ends the process when it is imported"),
        ("local_room:Cellar", "has no 'Cellar'; it is made inside a function, where nothing can import it: move it to"),
        ("__main__:Room", "module '__main__' has no 'Room'; put the class into a module of its own"),
    ],
)
def test_a_wrong_reference_costs_one_line(reference: str, message: str, tmp_path: Path) -> None:
    write_family(tmp_path, "bad_room")
    plain = write_family(tmp_path, "plain").read_text()
    (tmp_path / "plain.py").write_text(f"{plain}\n\nRoom = type('Room', (ArrayFamily,), dict(vars(Thermostat)))\n")
    (tmp_path / "plain.py").write_text(
        plain.replace("@dataclass(frozen=True)\n", "").replace("class Thermostat", "class Room")
    )
    (tmp_path / "local_room.py").write_text("def build():\n    class Cellar:\n        pass\n")
    for name in ("random", "two-words"):
        write_family(tmp_path, name)
    (tmp_path / "leaves.py").write_text("raise SystemExit(0)")
    with pytest.raises(MetarlError) as caught:
        metarl.load(reference)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_of_a_thing_that_is_no_family_is_called(tmp_path: Path) -> None:
    (tmp_path / "trap.py").write_text("def Room(*a, **k):\n    raise AssertionError('called')\n")
    for load in (metarl.load, lambda name: AGENTS[name]):
        with pytest.raises(MetarlError, match="it must be a class that extends metarl"):
            load("trap:Room")


def test_an_error_of_the_module_is_told_as_its_author_s() -> None:
    Path("broken_room.py").write_text("import math\nmath.sqrt(-1)\n")
    with pytest.raises(UserCodeError, match="module 'broken_room' cannot be imported: ValueError") as caught:
        import_code("broken_room")
    frames = caught.value.__cause__.__traceback__
    assert frames is not None and "importlib" not in str(frames.tb_next and frames.tb_next.tb_frame.f_code.co_filename)


def test_a_module_of_the_current_folder_hides_no_other() -> None:
    Path("json.py").write_text("raise AssertionError")
    Path("own_room.py").write_text("import json\n")
    sys.modules.pop("json", None)
    assert import_code("own_room").json.dumps(1) == "1"


def test_a_name_from_a_run_is_not_looked_for_in_the_current_folder(tmp_path: Path) -> None:
    write_family(tmp_path, "beside_a_run")
    with only_installed():
        with pytest.raises(MetarlError, match=r"put its folder on PYTHONPATH, or add --import path/to/beside_a_run.py"):
            metarl.load("beside_a_run:Thermostat")
        with pytest.raises(MetarlError, match="a run names its code by module"):
            metarl.load("beside_a_run.py:Thermostat")
    assert "beside_a_run" not in sys.modules


def test_a_registered_name_has_no_colon() -> None:
    registry: Registry[type[TaskFamily]] = Registry("family", "families", "nothing", lambda cls, title: None)
    for name in ("a:B", "a/b", ""):
        with pytest.raises(MetarlError, match="take a word without ':' and '/'"):
            registry.add(name, TaskFamily)


def test_an_unknown_name_gets_the_nearest_five_and_the_ways_to_name_ones_own() -> None:
    with pytest.raises(MetarlError) as caught:
        metarl.load("qqqq")
    told = str(caught.value)
    assert told.startswith("family 'qqqq' is not registered; known: ")
    assert told.count(",") < 8 and "more (of your own, write module:Name, or add --import MODULE;" in told


def test_names_of_files_are_made_of_plain_characters() -> None:
    assert file_name("rooms.attic:Thermostat") == "rooms.attic-Thermostat"
    assert file_name("a/b:C") == "a-b-C"


@pytest.mark.parametrize("command", ["families", "check", "agents"])
def test_commands_that_show_take_a_reference(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_family(tmp_path, f"shown_{command}")
    write_agent(tmp_path, "shown_agent")
    name = "shown_agent:Still" if command == "agents" else f"shown_{command}:Thermostat"
    assert main([command, name]) == 0
    out = capsys.readouterr().out
    assert name in out
    assert "metarl/Thermostat-v0" not in out  # it is not registered


def test_import_registers_families_for_every_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_family(tmp_path, "imported_room", "imported-room")
    try:
        assert main(["families", "--import", "imported_room", "imported-room"]) == 0
        assert main(["bench", "--import", str(path), "sim", "--help-me"]) == 2
    finally:
        FAMILIES._items.pop("imported-room", None)
        gymnasium.registry.pop("metarl/Thermostat-v0", None)
    out, err = capsys.readouterr()
    assert "imported-room" in out
    assert err.startswith(f"metarl: importing imported_room from {path}\n")


def test_workers_of_check_all_import_what_the_command_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_family(tmp_path, "worked_room", "worked-room")
    chosen = [Subject("family", "worked-room"), Subject("family", "worked-room")]
    monkeypatch.setattr("metarl.checks.check.subjects", lambda: chosen)
    try:
        assert main(["check", "--all", "--quiet", "--jobs", "2", "--import", "worked_room"]) == 0
    finally:
        FAMILIES._items.pop("worked-room", None)
        gymnasium.registry.pop("metarl/Thermostat-v0", None)
    out, err = capsys.readouterr()
    assert "2 passed, 0 failed" in out
    assert err.count("importing worked_room") == 1
