"""The `teacher` section: its short forms, its presets, and mistakes in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from metarl.base.errors import MetarlError
from metarl.runs.config import TrainConfig, load_config, resolve
from metarl.runs.teacher import PRESETS, TeacherConfig


def loaded(tmp_path: Path, teacher: Any, *overrides: str) -> TrainConfig:
    path = tmp_path / "taught.yaml"
    path.write_text(yaml.safe_dump({"family": "bernoulli-bandit", "agent": "rl2", "teacher": teacher}))
    return load_config(path, overrides)


@pytest.mark.parametrize("written", ["ucb1", ["ucb1"], {"of": "ucb1"}, {"of": {"name": "ucb1"}}, {"of": ["ucb1"]}])
def test_a_teacher_has_short_forms_which_resolve_to_the_same(tmp_path: Path, written: Any) -> None:
    config = loaded(tmp_path, written)
    assert config.teacher is not None
    assert config.teacher.of == ({"name": "ucb1", "exploration": 0.2},)
    assert TrainConfig.model_validate(resolve(config)) == config


def test_overrides_reach_into_a_short_form(tmp_path: Path) -> None:
    teacher = loaded(tmp_path, "ucb1", "teacher.loss=kickstart").teacher
    assert teacher is not None
    assert teacher.loss == "kickstart"
    again = loaded(tmp_path, "ucb1", "teacher=gittins").teacher
    assert again is not None
    assert again.of[0]["name"] == "gittins"


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_gives_defaults_and_what_is_given_wins(preset: str) -> None:
    plain = TeacherConfig.model_validate({"of": "gittins", "preset": preset})
    for key, value in PRESETS[preset].items():
        assert getattr(plain, key) == getattr(TeacherConfig.model_validate({"of": "x", key: value}), key)
    assert TeacherConfig.model_validate({"of": "x", "preset": preset, "share": 0.0}).share.start == 0.0


@pytest.mark.parametrize(
    ("teacher", "told"),
    [
        ("gitins", "agent 'gitins' is not registered; did you mean 'gittins'?"),
        ({"of": {"name": "ucb1", "exploraton": 1}}, "did you mean 'exploration'"),
        ({"of": {"run": "x", "checkpoint": "first"}}, "teacher.of.checkpoint is 'first'"),
        ({"of": []}, "teacher.of"),
        ({"of": "gittins", "loss": "kickstart", "share": 0.5}, "share is above 0, but loss is 'kickstart'"),
        ({"of": "gittins", "learns": "mode", "temperature": 2}, "temperature is 2, which softens distributions"),
        ({"of": "gittins", "samples": True}, "teacher.samples: unknown key; write teacher.learns: sample for true"),
        ({"of": "gittins", "temperature": 0}, "teacher.temperature is 0"),
        ({"of": "gittins", "share": 1.5}, "share"),
        ({"loss": "imitate"}, "teacher.of: missing"),
        (3, "teacher is 3"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(tmp_path: Path, teacher: Any, told: str) -> None:
    with pytest.raises(MetarlError) as caught:
        loaded(tmp_path, teacher)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
