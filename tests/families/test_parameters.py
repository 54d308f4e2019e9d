"""Other values and ranges for the parameters of any family, its title, and whether it shows the task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.checks.check import check_family
from metarl.cli.pages import family_page
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.record import Evaluation
from metarl.evaluation.table import table
from metarl.families.load import load
from metarl.pictures.gallery import tasks_figure
from metarl.runs.config import load_config
from metarl.runs.run import default_run_dirs
from metarl.trials.plan import TrialPlan
from metarl.trials.registered import make_agent
from tests.small_runs import write_config

POLES = """
family: cartpole-physics
name: short-poles
parameters:
  gravity: 9.8
  length:
    train: {uniform: [0.3, 0.7]}
    extrapolation: {uniform: [0.7, 0.9]}
"""


def write(folder: Path, text: str, name: str = "poles.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_ranges_of_a_file_replace_those_of_the_family_in_every_split(tmp_path: Path) -> None:
    family = load(write(tmp_path, POLES))
    for split in family.splits:
        tasks = family.sample(split, 200, seed=0)
        low, high = (0.7, 0.9) if split == "extrapolation" else (0.3, 0.7)
        assert (tasks.values["gravity"] == 9.8).all()
        assert ((tasks.values["length"] >= low) & (tasks.values["length"] <= high)).all()
        assert family.contains(split, tasks).all()
    assert not family.contains("train", family.sample("extrapolation", 9, seed=0)).any()
    np.testing.assert_array_equal(
        family.sample("test", 9, seed=0).values["masspole"],
        load("cartpole-physics").sample("test", 9, seed=0).values["masspole"],
    )


def test_family_with_other_ranges_keeps_every_rule(tmp_path: Path) -> None:
    assert check_family(load(write(tmp_path, POLES))) == []


def test_page_and_picture_show_the_ranges_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, POLES)
    page = family_page(path)
    assert "uniform 0.3 to 0.7" in page
    assert "one of 9.8" in page
    assert "log-uniform 4.9 to 19.6" not in page.split("task parameters:")[1]
    title = tasks_figure(load(path), 20).get_suptitle()
    assert title.startswith("Tasks of short-poles")


def test_settings_go_through_a_config_an_override_and_an_evaluation_file(tmp_path: Path) -> None:
    path = write(tmp_path, POLES)
    config = load_config(
        write_config(tmp_path), [f"family={path}", "family.parameters.force_mag=8", "family.horizon=9"]
    )
    assert config.family["name"] == "cartpole-physics"
    assert config.family["parameters"]["gravity"] == 9.8
    again = load("cartpole-physics", **{key: value for key, value in config.family.items() if key != "name"})
    assert again.parameters["force_mag"].train.num_values == 1
    plan = TrialPlan(split="test", num_tasks=2, rounds=1, replicas=1, seed=0)
    record = evaluate(make_agent("random", again), again, plan)
    record.save(tmp_path / "evaluation.json")
    loaded = Evaluation.load(tmp_path / "evaluation.json")
    assert load(loaded.family, **loaded.settings) == again
    assert loaded.tasks.values["force_mag"].tolist() == [8, 8]
    assert "on short-poles, test split" in table([loaded])


def test_name_of_a_file_names_the_run_folder(tmp_path: Path) -> None:
    named = load_config(write_config(tmp_path), [f"family={write(tmp_path, POLES)}"])
    assert next(default_run_dirs(named, tmp_path)).name == "short-poles-maml-ppo-seed0"
    unnamed = write(tmp_path, POLES.replace("name: short-poles", ""), "my poles (2).yaml")
    assert load(unnamed).title == "my-poles-2-"
    assert next(default_run_dirs(load_config(write_config(tmp_path), [f"family={unnamed}"]))).name.startswith(
        "my-poles-2--maml"
    )


def test_values_that_are_not_given_stay() -> None:
    own = load("cartpole-physics")
    changed = load("cartpole-physics", parameters={"length": {"train": {"uniform": [0.3, 0.4]}}})
    assert changed.parameters["length"].extrapolation == own.parameters["length"].extrapolation
    assert changed.parameters["length"].unit == "m"
    without = load("cartpole-physics", parameters={"length": {"extrapolation": None}})
    assert without.parameters["length"].extrapolation is None
    assert without.parameters["length"].train == own.parameters["length"].train


def test_fixed_parameter_is_the_same_in_every_task() -> None:
    family = load("half-cheetah-velocity", "promp", parameters={"velocity": 1.5})
    assert family.num_tasks == 1
    assert [task["velocity"] for task in family.sample("test", 3, seed=0)] == [1.5] * 3


def test_keys_beside_a_file_replace_those_keys_alone(tmp_path: Path) -> None:
    family = load(write(tmp_path, POLES), parameters={"length": {"train": {"log_uniform": [0.4, 0.5]}}})
    assert family.parameters["gravity"].train.range == (9.8, 9.8)
    assert family.parameters["length"].train.range == (0.4, 0.5)
    assert family.parameters["length"].extrapolation.range == (0.7, 0.9)  # type: ignore[union-attr]


def test_shows_task_silences_the_check_of_the_first_observation() -> None:
    told = "give the task away"
    hidden = load("cartpole-physics", shows_task=False)
    shown = load("cartpole-physics", shows_task=True)
    assert shown.shows_task
    assert not hidden.shows_task
    assert load("cartpole-physics", **json.loads(json.dumps(shown.settings))) == shown
    assert told not in " ".join(check_family(shown))


def test_family_without_the_options_has_no_more_settings_than_before() -> None:
    assert load("cartpole-physics").settings == {"horizon": 500}


@pytest.mark.parametrize(
    ("family", "parameters", "words"),
    [
        ("cartpole-physics", {"gravty": 1}, "parameters.gravty is unknown .* did you mean 'gravity'"),
        ("cartpole-physics", {"gravity": "x"}, "parameters.gravity is 'x'; it must be a number, or a mapping"),
        ("cartpole-physics", {"gravity": True}, "parameters.gravity is True"),
        ("cartpole-physics", {"gravity": None}, "parameters.gravity is None"),
        ("cartpole-physics", {"gravity": float("nan")}, "parameters.gravity is nan"),
        ("cartpole-physics", {"length": {"train": {"uniform": [0.3, 1.2]}}}, "overlaps .*`extrapolation: null"),
        ("cartpole-physics", {"length": {"trian": 3}}, "length.trian is an unknown key; did you mean 'train'"),
        ("cartpole-physics", {"length": {}}, "give it `train`"),
        ("cartpole-physics", {"length": [0.3, 0.7]}, "it takes one number, or a mapping with train"),
        ("cartpole-physics", {"length": {"train": {"uniform": [0.1, 0.2], "shape": [2]}}}, "leave the shape out"),
        ("cartpole-physics", {"masscart": 0}, "masscart would be 0 or less"),
        ("cartpole-physics", {"masscart": {"train": {"uniform": [-1, 1]}, "extrapolation": None}}, "0 or less"),
        ("cartpole-physics", {"gravity": 1e99}, "value 1e\\+99 cannot be played, first step: the observation is inf"),
        ("cartpole-physics", 3, "it must map parameters to values"),
        ("half-cheetah-direction", {"direction": 0.5}, "its values are one of -1, 1: draw from them"),
        ("tabular-mdp", {"rewards": 3}, "rewards is 3; it must be numbers of shape \\(10, 5\\)"),
    ],
)  # fmt: skip
def test_wrong_values_get_one_line(family: str, parameters: Any, words: str) -> None:
    with pytest.raises(MetarlError, match=words) as caught:
        load(family, parameters=parameters)
    assert "\n" not in str(caught.value)


def test_a_parameter_whose_splits_have_values_of_their_own_takes_one_value_and_no_range() -> None:
    with pytest.raises(MetarlError, match="its splits have values of their own, which no range replaces: give it one"):
        load("image-classes", parameters={"classes": {"train": {"choice": [[0, 1, 2, 3, 4]]}}})
    family = load("image-classes")
    drawn = family.sample("test", 1, seed=0)[0]["classes"]
    fixed = load("image-classes", parameters={"classes": drawn})
    for split in fixed.splits:
        assert fixed.sample(split, 2, seed=0).values["classes"].tolist() == [drawn, drawn]
    assert not fixed.is_unseen("test")
