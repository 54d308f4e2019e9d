"""Model files of one's own: found with all they refer to, copied, named by content, and kept inside a run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from metarl.base.errors import MetarlError
from metarl.families.load import load
from metarl.families.model_files import FOLDER, absolute_paths, adopt, fingerprint, keep_models, know_models, located
from metarl.families.model_parts import find_parts
from metarl.families.mujoco.family import MujocoFamily
from tests.families.robots import HOPPER, write_robot


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METARL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("metarl.families.model_files._known", [])
    monkeypatch.setattr("metarl.families.model_files._verified", {})
    return tmp_path / "cache" / FOLDER


def robot(folder: Path, **changes: Any) -> Path:
    write_robot(folder, **changes)
    return folder / "robots" / "hopper.xml"


def foot_mass(family: Any) -> float:
    task = family.sample("train", 1, seed=0)[0]
    return float(family.base.make(task, None).unwrapped.model.body("foot").mass[0])


def test_parts_are_found_by_the_rules_of_mujoco(tmp_path: Path) -> None:
    path = robot(tmp_path)
    assert sorted(str(part.relative_to(tmp_path)) for part in find_parts(path)) == [
        "assets/meshes/legs/foot.stl",
        "assets/textures/skin.png",
        "robots/parts.xml",
    ]
    text = path.read_text().replace("<compiler ", '<compiler strippath="true" ', 1)
    path.write_text(text)
    (tmp_path / "assets/meshes/legs/foot.stl").rename(tmp_path / "assets/meshes/foot.stl")
    assert tmp_path / "assets/meshes/foot.stl" in find_parts(path)


def test_reference_depends_on_content_alone(tmp_path: Path) -> None:
    one, other = (adopt({"xml_file": str(robot(tmp_path / name))}) for name in ("one", "other"))
    heavy = adopt({"xml_file": str(robot(tmp_path / "heavy", foot_mass=9.0))})
    assert one == other
    assert one != heavy
    (tmp_path / "one/assets/meshes/legs/foot.stl").write_bytes(b"solid foot")
    assert adopt({"xml_file": str(tmp_path / "one/robots/hopper.xml")}) != one


def test_family_keeps_its_model_after_the_file_was_edited_or_deleted(tmp_path: Path) -> None:
    path = write_robot(tmp_path, foot_mass=5.0)
    light = load(path)
    write_robot(tmp_path, foot_mass=9.0)
    heavy = load(path)
    shutil.rmtree(tmp_path / "robots")
    assert foot_mass(light) == 5.0
    assert foot_mass(heavy) == 9.0
    assert light != heavy


def test_model_of_an_installed_package_is_found_without_importing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_robot(tmp_path / "site" / "robot_shop")
    (tmp_path / "site/robot_shop/__init__.py").write_text("raise RuntimeError('imported')")
    path.write_text(path.read_text().replace("robots/hopper.xml", "robot_shop:robots/hopper.xml"))
    with pytest.raises(
        MetarlError, match=r"xml_file is a file of package 'robot_shop', which .*; pip install robot-shop"
    ):
        load(path)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert foot_mass(load(path)) == 5.0
    path.write_text(path.read_text().replace("robots/hopper.xml", "robots/hoppper.xml"))
    with pytest.raises(MetarlError, match=r"package 'robot_shop' has no such file; give the file's path below .*shop$"):
        load(path)


def test_paths_are_relative_to_the_file_they_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_robot(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert foot_mass(load(path)) == 5.0
    monkeypatch.chdir(tmp_path)
    assert foot_mass(load("my-hopper.yaml")) == 5.0
    assert absolute_paths({"a": {"map_name": "4x4", "n": 3}}, tmp_path) == {"a": {"map_name": "4x4", "n": 3}}
    (tmp_path / "bad.yaml").write_text(path.read_text().replace("robots/hopper.xml", "./robot/hopper.xml"))
    with pytest.raises(MetarlError, match=r"bad\.yaml: arguments\.xml_file is '\./robot/hopper\.xml', but .*not exist"):
        load("bad.yaml")


def test_model_of_gymnasium_keeps_its_name(tmp_path: Path) -> None:
    assert adopt({"xml_file": "hopper.xml"}) == {"xml_file": "hopper.xml"}
    family = load("gymnasium", env="Hopper-v5", arguments={"xml_file": "hopper.xml"},
                  varies={"reset_noise_scale": {"train": {"uniform": [0.1, 0.2]}}})  # fmt: skip
    assert family.settings["arguments"] == {"xml_file": "hopper.xml"}


def test_run_folder_brings_its_models_along(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = adopt({"xml_file": str(robot(tmp_path))})
    keep_models(tmp_path / "run", settings)
    text = (tmp_path / "robots" / "hopper.xml").read_text()
    shutil.rmtree(cache)
    shutil.rmtree(tmp_path / "robots")
    monkeypatch.setattr("metarl.families.model_files._verified", {})
    with pytest.raises(MetarlError, match=r"are neither in the run nor in .*; restore the run's folder models"):
        located(settings)
    know_models(tmp_path / "run")
    assert Path(located(settings)["xml_file"]).read_text() == text


def stranger(tmp_path: Path, cache: Path) -> tuple[dict[str, Any], Path]:
    """Return settings whose model lies in a run folder only, and its folder there."""
    settings = adopt({"xml_file": str(robot(tmp_path))})
    keep_models(tmp_path / "run", settings)
    shutil.rmtree(cache)
    know_models(tmp_path / "run")
    return settings, next((tmp_path / "run" / FOLDER).iterdir())


def test_changed_model_in_a_run_is_refused(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, folder = stranger(tmp_path, cache)
    monkeypatch.setattr("metarl.families.model_files._verified", {})
    (folder / "robots" / "parts.xml").write_text("<mujoco/>")
    with pytest.raises(MetarlError, match="was changed: its files are not those of"):
        located(settings)


def test_link_out_of_a_run_is_refused(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, folder = stranger(tmp_path, cache)
    monkeypatch.setattr("metarl.families.model_files._verified", {})
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (folder / "assets" / "textures" / "skin.png").unlink()
    (folder / "assets" / "textures" / "skin.png").symlink_to(secret)
    with pytest.raises(MetarlError, match="leads out of"):
        located(settings)


@pytest.mark.parametrize("name", ["../../../../secret.stl", "/etc/passwd"])
def test_model_that_refers_out_of_a_run_is_refused(
    name: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from metarl.families import model_files

    folder = tmp_path / "run" / FOLDER / "new"
    folder.mkdir(parents=True)
    (tmp_path / "secret.stl").write_text("secret")
    (folder / "x.xml").write_text(f'<mujoco><asset><mesh name="m" file="{name}"/></asset></mujoco>')
    digest = model_files._digest(model_files._files_in(folder))
    folder.rename(folder.with_name(digest))
    know_models(tmp_path / "run")
    with pytest.raises(MetarlError, match="outside the run"):
        located({"xml_file": f"{FOLDER}/{digest}/x.xml"})
    for out in ("../x.xml", "/etc/passwd", "..", "a/../../b"):
        assert located({"f": f"{FOLDER}/{digest[:-1]}/{out}"}) == {"f": f"{FOLDER}/{digest[:-1]}/{out}"}


def test_reference_with_dots_cannot_leave_its_folder(tmp_path: Path) -> None:
    settings = adopt({"xml_file": str(robot(tmp_path))})
    digest = settings["xml_file"].split("/")[1]
    with pytest.raises(MetarlError, match="leads out of its folder"):
        located({"f": f"{FOLDER}/{digest}/../../../secret"})


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("legs/foot.stl", "legs/fot.stl", "parts.xml refers to 'legs/fot.stl', but .* does not exist; put it there"),
        ('file="skin.png"', 'file="/tmp/skin.png"', "by an absolute path; write it relative to the model"),
        ("<mujoco>", "<mujoco", "parts.xml is not an XML file"),
    ],
)
def test_model_that_cannot_be_copied_gets_one_line(old: str, new: str, words: str, tmp_path: Path) -> None:
    path = write_robot(tmp_path)
    parts = tmp_path / "robots" / "parts.xml"
    parts.write_text(parts.read_text().replace(old, new))
    with pytest.raises(MetarlError, match=words) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_model_that_includes_itself_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text('<mujoco><include file="b.xml"/></mujoco>')
    (tmp_path / "b.xml").write_text('<mujoco><include file="a.xml"/></mujoco>')
    assert [part.name for part in find_parts(tmp_path / "a.xml")] == ["b.xml"]


def test_model_of_fifty_megabytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = robot(tmp_path)
    with (tmp_path / "assets/meshes/legs/foot.stl").open("ab") as file:
        file.truncate(51 * 2**20)
    with pytest.raises(MetarlError, match=r"have 51 MB; a run holds a copy of at most 50 MB: simplify"):
        adopt({"xml_file": str(path)})


def test_cache_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("METARL_CACHE", str(tmp_path / "file"))
    with pytest.raises(MetarlError, match="set METARL_CACHE to a folder you may write to"):
        adopt({"xml_file": str(robot(tmp_path))})


def test_damaged_cache_is_written_anew(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = robot(tmp_path)
    reference = adopt(str(path))
    copy = Path(located(reference))
    copy.write_text("damaged")
    monkeypatch.setattr("metarl.families.model_files._verified", {})
    assert Path(located(adopt(str(path)))).read_text() == path.read_text()


def test_edited_model_of_a_class_is_compiled_anew(tmp_path: Path) -> None:
    path = tmp_path / "hopper.xml"
    path.write_text(HOPPER.read_text())
    kind: Any = type(load("hopper-rand-params"))
    own = type("OwnHopper", (kind,), {"asset": str(path), "__module__": __name__})
    first = own()
    assert isinstance(first, MujocoFamily)
    before, digest = float(first.model.body("foot").mass[0]), fingerprint(path)
    path.write_text(HOPPER.read_text().replace('size="0.06 0.195"', 'size="0.12 0.195"'))
    assert fingerprint(path) != digest
    assert float(own().model.body("foot").mass[0]) > 2 * before
    assert float(first.model.body("foot").mass[0]) == before
