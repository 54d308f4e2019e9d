"""Families from YAML alone, as a user writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import yaml

from metarl.base.errors import MetarlError
from metarl.checks.check import check_family
from metarl.families.declaration import read_family
from metarl.families.load import load
from metarl.families.variation import DISTRIBUTIONS, parse_variations
from metarl.runs.config import load_config
from tests.small_runs import write_config

HEAVY = """
family: half-cheetah-velocity
preset: promp
varies:
  mass:
    scale:
      - body_mass[*]
      - body_inertia[*]
    train: {uniform: [0.5, 1.5]}
    extrapolation: {uniform: [1.5, 2]}
    meaning: factor of all masses
"""
LUNAR = """
env: Pendulum-v1
varies:
  g: {train: {uniform: [1, 5]}, unit: m/s^2}
"""


def write(folder: Path, text: str, name: str = "mine.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("text", [HEAVY, LUNAR], ids=["mujoco", "gymnasium"])
def test_family_of_a_file_keeps_every_rule(text: str, tmp_path: Path) -> None:
    assert check_family(load(write(tmp_path, text))) == []


def test_file_adds_its_parameters_to_those_of_the_family(tmp_path: Path) -> None:
    family = load(write(tmp_path, HEAVY))
    task = family.sample("train", 1, seed=0)[0]
    assert sorted(task) == ["mass", "velocity"]
    assert family.splits[-1] == "extrapolation"
    envs = family.make_vec(family.tasks({"mass": 2.0, "velocity": 1.0}))
    model = envs.batch.dynamics.worlds.models[0]  # type: ignore[attr-defined]
    np.testing.assert_allclose(model.body_mass, 2 * load("half-cheetah-velocity").model.body_mass)  # type: ignore[attr-defined]


def test_settings_of_a_file_give_the_same_family_back_without_it(tmp_path: Path) -> None:
    for text in (HEAVY, LUNAR):
        family = load(write(tmp_path, text))
        again = load(family.name, **json.loads(json.dumps(family.settings)))
        assert again == family


def test_settings_beside_the_file_come_before_it(tmp_path: Path) -> None:
    path = write(tmp_path, HEAVY)
    assert load(path, horizon=17).horizon == 17
    assert load(path, "amago").horizon == 1000


def test_run_keeps_what_the_file_said(tmp_path: Path) -> None:
    path = write(tmp_path, HEAVY)
    config = load_config(write_config(tmp_path), [f"family={path}"])
    Path(path).unlink()
    assert config.family["name"] == "half-cheetah-velocity"
    assert config.family["varies"]["mass"]["train"] == {"uniform": [0.5, 1.5]}


@pytest.mark.parametrize("word", sorted(DISTRIBUTIONS))
def test_every_distribution_has_a_word(word: str) -> None:
    numbers = {"choice": [1, 2, 3], "disc": [1], "circle": [1], "dirichlet": [1]}.get(word, [0.5, 2])
    row = {word: numbers, **({"shape": [3]} if word in ("uniform", "dirichlet") else {})}
    varies = {"p": {"train": row, "scale": "gravity[z]"}}
    if word in ("uniform", "disc", "circle", "dirichlet"):
        varies["p"]["scale"] = "gravity"
    try:
        family = load("half-cheetah-velocity", varies=varies)
    except MetarlError as error:
        assert word in ("disc", "circle")  # two numbers for three axes
        assert "has shape (2,)" in str(error)
    else:
        assert family.parameters["p"].train.shape == ((3,) if "shape" in row else ())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"family": "half-cheetah-velocty"}, "not registered; did you mean 'half-cheetah-velocity'"),
        ({"preset": "prompt"}, "preset 'prompt' is unknown"),
        ({"preset": [1]}, "preset \\[1\\] is unknown"),
        ({"preset": {"a": 1}}, "preset {'a': 1} is unknown"),
        ({"preset": 3}, "preset 3 is unknown"),
        ({"title": "mine"}, "title is an unknown key; write `name: ...`"),
        ({"name": "my family"}, "name is 'my family'; it must be at most 60 letters, digits"),
        ({"name": 3}, "name is 3; it must be"),
        ({"name": "../mine"}, "name is '../mine'; it must be"),
        ({"shows_task": "yes"}, "shows_task is 'yes'; it must be true or false"),
        ({"varis": {}}, "setting 'varis' is unknown .* did you mean 'varies'"),
        ({"varies": {"m": {"scale": "body_mas[torso]", "train": {"uniform": [1, 2]}}}}, "did you mean 'body_mass'"),
        ({"varies": {"m": {"scale": "body_mass[toso]", "train": {"uniform": [1, 2]}}}}, "did you mean 'torso'"),
        ({"varies": {"m": {"scale": "limb_length[toso]", "train": {"uniform": [1, 2]}}}}, "did you mean 'torso'"),
        ({"varies": {"m": {"set": "body_mass[torso]", "train": {"uniform": [-1, 2]}}}}, "-1; it must be above 0"),
        ({"varies": {"m": {"set": "body_mass[torso]", "train": {"normal": [0, 9]}}}}, "it must be above 0"),
        ({"varies": {"m": {"set": "body_mass[torso]", "train": {"uniform": [2, 1]}}}}, "low must be below high"),
        (
            {
                "varies": {
                    "m": {"set": "gravity[z]", "train": {"uniform": [1, 2]}, "extrapolation": {"uniform": [1, 3]}}
                }
            },
            "overlaps train",
        ),
        ({"varies": {"m": {"set": "gravity[z]", "train": {"unifrom": [1, 2]}}}}, "did you mean 'uniform'"),
        ({"varies": {"m": {"set": "gravity[z]", "train": {"uniform": ["a"]}}}}, "uniform cannot take \\['a'\\]"),
        ({"varies": {"m": {"set": "gravity[z]", "train": 3}}}, "must be one distribution"),
        ({"varies": {"m": {"set": "gravity[z]"}}}, "varies.m.train is missing"),
        ({"varies": {"m": {"sett": "gravity[z]", "train": {"uniform": [1, 2]}}}}, "varies.m.sett is an unknown key"),
        ({"varies": {"m": {"train": {"uniform": [1, 2]}}}}, "acts on nothing"),
        ({"varies": {"velocity": {"set": "gravity[z]", "train": {"uniform": [1, 2]}}}}, "take another name"),
        ({"varies": {}}, "must map at least one parameter"),
        ({"varies": [1]}, "must map at least one parameter"),
        ({"family": "navigation-2d", "preset": "maml"}, "has no MuJoCo model.* \\(goal\\) under `parameters`"),
        ({"env": "Pendulum-v1"}, "either `family: NAME`"),
        ({"agent": {"name": "rl2"}}, "is the config of a training, as it has an agent; give its family"),
        ({"switch_at": 0}, "switch_at is \\[0\\]"),
        ({"switch_at": [30, 20]}, "ascending"),
        ({"switch_at": "soon"}, "whole numbers"),
        *(
            ({"varies": {name: {"set": "slope", "train": {"uniform": [1, 2]}}}}, f"varies has the name {name!r}; use")
            for name in ("velocity@5", "my mass", "", "3")
        ),
    ],
)
def test_wrong_file_gets_one_line_that_names_it(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = write(tmp_path, yaml.safe_dump({**yaml.safe_load(HEAVY), **changes}))
    with pytest.raises(MetarlError, match=words) as caught:
        load(path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("train", "words"),
    [
        *(
            (
                {"uniform": [1, 2], "shape": shape},
                "train.shape is .* list of whole numbers of at least 1, with a product",
            )
            for shape in (3, None, "ab", [-1], [0], [1.5], [True], [10**12], [200, 200], {"a": 1})
        ),
        ({"choice": [1, 2], "shape": [3]}, "train: choice takes no shape"),
        ({"disc": [1], "shape": [2]}, "train: disc takes no shape"),
        ({"uniform": [1, 2, 3]}, "uniform has 3 numbers and takes 2 \\(low, high\\)"),
        ({"dirichlet": [1, 3]}, "dirichlet has 2 numbers and takes 1"),
        ({"uniform": [1]}, "uniform cannot take \\[1\\]; give its numbers: low, high"),
        ({"uniform": [True, 2]}, "uniform cannot take"),
        ({"uniform": [1, 10**400]}, "uniform cannot take"),
        ({"uniform": [0.5, float("inf")]}, "train: Uniform.* numbers must be finite"),
        ({"uniform": [-1e308, 1e308]}, "numbers must be finite"),
        ({"log_uniform": [0.5, float("inf")]}, "numbers must be finite"),
        ({"log_uniform": [1e-300, 1]}, "low must be at least 1e-100"),
        ({"normal": [0, float("inf")]}, "numbers must be finite"),
        ({"normal": [float("nan"), 1]}, "numbers must be finite"),
        ({"choice": [float("nan"), 1]}, "numbers must be finite"),
        ({"choice": [[1, 2], [1, float("inf")]]}, "numbers must be finite"),
        ({"choice": [[]]}, "at least one number"),
        ({"choice": [[1], 2]}, "values must have one shape"),
        ({"disc": [1e200]}, "numbers must be finite"),
        ({"circle": [float("nan")]}, "numbers must be finite"),
        ({"dirichlet": [float("inf")]}, "numbers must be finite"),
    ],
)
def test_numbers_that_no_distribution_takes_are_refused(train: dict[str, Any], words: str) -> None:
    with pytest.raises(MetarlError, match=words) as caught:
        load("half-cheetah-velocity", varies={"m": {"set": "gravity", "train": train}})
    assert "varies.m.train" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "train", "words"),
    [
        ({"set": "slope"}, {"uniform": [0, 1], "shape": [2]}, "slope takes one number"),
        ({"scale": "limb_length[torso]"}, {"disc": [1]}, "limb_length\\[torso\\] takes one number"),
        ({"zero": "actuator_gear[*]"}, {"uniform": [0, 1], "shape": [2]}, "takes one number, so draw it without"),
        ({"zero": "actuator_gear[*]"}, {"uniform": [0, 5]}, "has rows 0 to 5: draw a row's number with choice"),
        ({"zero": "gravity[z]"}, {"choice": [0]}, "zero takes a field with rows"),
        ({"zero": "density"}, {"choice": [0]}, "zero takes a field with rows"),
        ({"scale": "geom_size[*]"}, {"uniform": [-1, 1]}, "it must be 0 or more"),
        ({"scale": "geom_quat[*]"}, {"choice": [0]}, "geom_quat holds unit vectors, and random numbers"),
        ({"add": "body_iquat[torso][0]"}, {"choice": [0]}, "body_iquat holds unit vectors"),
        ({"scale": "jnt_axis[*]"}, {"choice": [0]}, "jnt_axis holds unit vectors"),
        (
            {"scale": "limb_length[torso]"},
            {"uniform": [-2, -1]},
            "'m' makes limb_length\\[torso\\] -2; it must be above 0",
        ),
        ({"scale": "limb_length[torso][1]"}, {"uniform": [1, 2]}, "has no columns; leave the second bracket out"),
        ({"scale": "gravity[x][7]"}, {"uniform": [1, 2]}, "gravity has no columns; leave the second bracket out"),
        (
            {"set": "slope[banana]"},
            {"uniform": [0, 1]},
            "slope is one number of the whole world; leave the bracket out",
        ),
        ({"set": "density[*]"}, {"uniform": [0, 1]}, "one number of the whole world; leave the bracket out"),
        ({"scale": "body_mass[]"}, {"uniform": [1, 2]}, "has an empty name in its bracket"),
        ({"scale": "body_mass[torso,]"}, {"uniform": [1, 2]}, "has an empty name in its bracket"),
        ({"scale": []}, {"uniform": [1, 2]}, "varies.m.scale is \\[\\]; it must be a target"),
        ({"scale": None}, {"uniform": [1, 2]}, "varies.m.scale is None; it must be a target"),
    ],
)
def test_change_that_no_model_takes_is_refused(change: dict[str, Any], train: dict[str, Any], words: str) -> None:
    with pytest.raises(MetarlError, match=words) as caught:
        load("half-cheetah-velocity", varies={"m": {**change, "train": train}})
    assert str(caught.value).startswith("varies.m")
    assert "\n" not in str(caught.value)


def test_model_that_mujoco_refuses_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise mujoco.FatalError("setInertia0: moving body 11 has 0 mass\nand more")

    monkeypatch.setattr("metarl.families.mujoco.models.edit_copy", refuse)
    with pytest.raises(MetarlError, match=r"varies\.m: MuJoCo refuses a model \(FatalError.* 0 mass\); draw from"):
        load("half-cheetah-velocity", varies={"m": {"scale": "body_mass[*]", "train": {"uniform": [1, 2]}}})


@pytest.mark.parametrize(
    ("train", "beyond"),
    [
        ({"uniform": [0.5, 1000]}, {"uniform": [999.5, 2000]}),
        ({"log_uniform": [0.5, 1000]}, {"uniform": [0.1, 0.501]}),
        ({"uniform": [1, 2]}, {"uniform": [0, 3]}),
        ({"uniform": [0, 1]}, {"choice": [*range(1, 1000)]}),
        ({"choice": [*range(1000)]}, {"choice": [1500, 0]}),
        ({"disc": [1]}, {"disc": [2, 0.9]}),
    ],
)
def test_ranges_that_overlap_are_refused_however_little(train: dict[str, Any], beyond: dict[str, Any]) -> None:
    for one, other in ((train, beyond), (beyond, train)):
        with pytest.raises(MetarlError, match=r"varies\.m: extrapolation .* overlaps train"):
            parse_variations({"m": {"train": one, "extrapolation": other}})


@pytest.mark.parametrize(
    ("train", "beyond"),
    [
        ({"uniform": [0.5, 1]}, {"uniform": [1, 2]}),
        ({"log_uniform": [0.5, 1]}, {"log_uniform": [1, 2]}),
        ({"choice": [1, 2]}, {"choice": [3]}),
        ({"disc": [1]}, {"disc": [2, 1]}),
    ],
)
def test_ranges_may_touch(train: dict[str, Any], beyond: dict[str, Any]) -> None:
    for one, other in ((train, beyond), (beyond, train)):
        assert parse_variations({"m": {"train": one, "extrapolation": other}})["m"].parameter.extrapolation is not None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"env": "Pendulm-v1"}, "did you mean 'Pendulum-v1'"),
        (
            {"varies": {"gg": {"train": {"uniform": [1, 5]}}}},
            "'gg' is unknown to environment 'Pendulum-v1'; did you.*'g'",
        ),
        (
            {"env": "CartPole-v1", "varies": {"gravity": {"train": {"uniform": [5, 15]}}}},
            "'gravity' is unknown to environment 'CartPole-v1'; .*for an attribute .* write attribute: gravity",
        ),
        ({"varies": {"m": {"scale": "body_mass[*]", "train": {"uniform": [1, 2]}}}}, "has no model"),
        ({"arguments": {"g": 3}}, "both given"),
        (
            {"env": "Hopper-v5", "varies": {"m": {"scale": "limb_length[leg]", "train": {"uniform": [1, 2]}}}},
            "limb_length works with families of metarl only",
        ),
        (
            {"env": "Hopper-v5", "varies": {"m": {"scale": "body_mass[leeg]", "train": {"uniform": [1, 2]}}}},
            "did you mean 'leg'",
        ),
        (
            {"env": "Hopper-v5", "varies": {"m": {"scale": " limb_length[leg]", "train": {"uniform": [1, 2]}}}},
            "limb_length works with families of metarl only",
        ),
        (
            {"env": "Hopper-v2"},
            "'Hopper-v2' cannot be made with .* ImportError.* install its dependency, or take another",
        ),
        (
            {"env": "phys2d/Pendulum-v0"},
            "ModuleNotFoundError: No module named 'jax'; install its dependency, or take another",
        ),
        ({"env": "nowhere:Pendulum-v1"}, "module 'nowhere' is not found; give a module of this folder"),
        (
            {
                "env": "Hopper-v5",
                "arguments": {"xml_file": "nowhere.xml"},
                "varies": {"reset_noise_scale": {"train": {"uniform": [0, 1]}}},
            },
            "OSError.*nowhere.xml.*; give arguments that its constructor takes",
        ),
        ({"env": "Hopper-v5", "varies": {"frame_skip": {"train": {"choice": [4, 0, 1]}}}}, "ZeroDivisionError"),
        ({"varies": {"g": {"train": {"disc": [1]}}}}, "fails in its first step in task {'g': .*; give arguments"),
        (
            {
                "env": "Hopper-v5",
                "arguments": {"healthy_z_range": 3},
                "varies": {"reset_noise_scale": {"train": {"uniform": [0, 1]}}},
            },
            "'Hopper-v5' fails in its first step in task .*TypeError",
        ),
        ({"switch_at": 3}, "varies.g is a constructor argument of 'Pendulum-v1', which cannot change"),
    ],
)
def test_wrong_file_about_gymnasium_gets_one_line(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = write(tmp_path, yaml.safe_dump({**yaml.safe_load(LUNAR), **changes}))
    with pytest.raises(MetarlError, match=words) as caught:
        load(path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parameter_that_does_nothing_is_found_by_the_check() -> None:
    family = load(
        "half-cheetah-velocity", "promp", varies={"m": {"scale": "geom_solmix[*]", "train": {"uniform": [0.5, 1]}}}
    )
    findings = check_family(family)
    assert len(findings) == 1
    assert "'m', varied alone, changes neither" in findings[0]


@pytest.mark.parametrize("text", ["{", "- 1\n- 2", "just words"])
def test_file_that_is_no_declaration_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=r"mine\.yaml"):
        read_family(write(tmp_path, text))


@pytest.mark.parametrize(
    "varies", ["{m: {scale: body_mass[*]}}", "{m: {scale: [body_mass[torso]]}}", "\n  m:\n    scale: [body_mass[*]]"]
)
def test_target_in_a_list_without_quotes_is_told_how_to_write_it(varies: str, tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=r"not valid YAML: .* quote text that .*\['.*\*.*'\]") as caught:
        load(write(tmp_path, f"family: half-cheetah-velocity\nvaries: {varies}\n"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"env: {'[' * 5000}{']' * 5000}", "nested deeper than 50 levels"),
        (f"horizon: {'1' * 5000}", "has more than 64 bits"),
        ("env: CartPole-v1\nenv: Pendulum-v1", "key 'env' is given twice"),
    ],
)
def test_yaml_that_cannot_be_read_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=rf"mine\.yaml:\d: .*{words}") as caught:
        load(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_path_object_names_a_file_and_other_things_name_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, HEAVY)
    assert load(Path(path)) == load(path)
    with pytest.raises(MetarlError, match="family is 3; give the name of a registered family, or the path"):
        load(3)  # type: ignore[arg-type]


def test_missing_file_is_told() -> None:
    with pytest.raises(MetarlError, match=r"nowhere\.yaml does not exist; give the path of a family's YAML file"):
        load("nowhere.yaml")


def test_choice_of_whole_numbers_reaches_the_constructor_whole() -> None:
    family = load("gymnasium", env="Hopper-v5", varies={"frame_skip": {"train": {"choice": [2, 4]}}})
    for task in family.sample("train", 8, seed=0):
        env = family.make(task, None)  # type: ignore[attr-defined]
        assert env.unwrapped.frame_skip == task["frame_skip"]
        env.close()


def test_observations_that_are_no_array_are_flattened() -> None:
    family = load(
        "gymnasium",
        env="FrozenLake-v1",
        arguments={"map_name": "4x4"},
        varies={"success_rate": {"train": {"uniform": [0.3, 1]}}},
    )
    assert family.observation_space.shape == (16,)
