"""Families from YAML alone, as a user writes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from metarl.check import check_family
from metarl.config import load_config
from metarl.declared import DISTRIBUTIONS, read_family
from metarl.errors import MetarlError
from metarl.task import load
from tests.runs import write_config

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
        ({"varies": {"m": {"set": "gravity[z]", "train": {"uniform": ["a"]}}}}, "uniform takes no \\['a'\\]"),
        ({"varies": {"m": {"set": "gravity[z]", "train": 3}}}, "must be one distribution"),
        ({"varies": {"m": {"set": "gravity[z]"}}}, "varies.m.train is missing"),
        ({"varies": {"m": {"sett": "gravity[z]", "train": {"uniform": [1, 2]}}}}, "varies.m.sett is an unknown key"),
        ({"varies": {"m": {"train": {"uniform": [1, 2]}}}}, "acts on nothing"),
        ({"varies": {"velocity": {"set": "gravity[z]", "train": {"uniform": [1, 2]}}}}, "take another name"),
        ({"varies": {}}, "must name at least one parameter"),
        ({"varies": [1]}, "must name at least one parameter"),
        ({"family": "navigation-2d", "preset": "maml"}, "has no MuJoCo model"),
        ({"env": "Pendulum-v1"}, "either `family: NAME`"),
        ({"switch_at": 0}, "switch_at is \\[0\\]"),
        ({"switch_at": [30, 20]}, "ascending"),
        ({"switch_at": "soon"}, "whole numbers"),
    ],
)
def test_wrong_file_gets_one_line_that_names_it(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = write(tmp_path, yaml.safe_dump({**yaml.safe_load(HEAVY), **changes}))
    with pytest.raises(MetarlError, match=words) as caught:
        load(path)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"env": "Pendulm-v1"}, "did you mean 'Pendulum-v1'"),
        ({"varies": {"h": {"train": {"uniform": [1, 5]}}}}, "unexpected keyword argument 'h'"),
        ({"varies": {"m": {"scale": "body_mass[*]", "train": {"uniform": [1, 2]}}}}, "has none"),
        ({"arguments": {"g": 3}}, "both given"),
        (
            {"env": "Hopper-v5", "varies": {"m": {"scale": "limb_length[leg]", "train": {"uniform": [1, 2]}}}},
            "limb_length needs a family",
        ),
        (
            {"env": "Hopper-v5", "varies": {"m": {"scale": "body_mass[leeg]", "train": {"uniform": [1, 2]}}}},
            "did you mean 'leg'",
        ),
    ],
)
def test_wrong_file_about_gymnasium_gets_one_line(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = write(tmp_path, yaml.safe_dump({**yaml.safe_load(LUNAR), **changes}))
    with pytest.raises(MetarlError, match=words) as caught:
        load(path).sample("train", 1, seed=0)
        load(path).observation_space  # noqa: B018 -- makes the environment
    assert path in str(caught.value) or "'h'" in str(caught.value)
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


def test_missing_file_is_told() -> None:
    with pytest.raises(MetarlError, match=r"nowhere\.yaml: No such file"):
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
