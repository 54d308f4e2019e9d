"""Settings of MAML, former keys, and the presets of the papers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from metarl.agents.maml import presets as maml_presets
from metarl.agents.maml.config import MAMLConfig
from metarl.agents.maml.ppo import PPOConfig

from metarl.base.errors import MetarlError
from metarl.base.settings import choices
from metarl.families.load import load
from metarl.trials.registered import AGENTS, make_agent
from tests.agents.maml.problems import PRESETS, new_agent


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inner_lr": -0.1}, "inner_lr is -0.1: it must be greater than 0"),
        ({"outer": {"learning_rate": 0}}, "outer.learning_rate is 0: it must start above 0"),
        ({"outer": "reptile", "adapts": "context"}, "outer 'reptile' moves only what adapts, here 'context'"),
        ({"outer": {"name": "reptile", "inner_lr_kind": "learned"}}, "outer.inner_lr_kind: a setting of 'ppo', but"),
        ({"outer": {"name": "reptile", "target_kl": 0.1}}, "outer.target_kl: a setting of 'ppo', but"),
        ({"outer": {"name": "trpo", "ent_coef": 0.1}}, "outer.ent_coef: a setting of 'ppo', but outer.name is 'trpo'"),
        ({"adapts": {"name": "all", "size": 3}}, "adapts.size: a setting of 'context', but adapts.name is 'all'"),
        ({"initial_std": 0.1, "min_std": 0.5}, "initial_std is 0.1, below min_std 0.5; raise it"),
        (
            {"adapts": "nothing", "outer": {"inner_lr_kind": "learned"}},
            "outer.inner_lr_kind is 'learned', but adapts is 'nothing'",
        ),
        (
            {"num_inner_steps": 0},
            "num_inner_steps is not a setting; a trial of `rounds` rounds has rounds - 1 inner steps",
        ),
        ({"outer": "adam"}, "outer.name is 'adam': unknown; known: ppo, reptile, trpo"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MetarlError, match=message) as caught:
        make_agent("maml-ppo", load("navigation-2d"), settings, device="cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("key", "now"), MAMLConfig.moved.items())
def test_a_former_key_gets_one_line_with_the_key_of_today(key: str, now: str) -> None:
    with pytest.raises(MetarlError, match=re.escape(f"agent 'maml-ppo': {key}: unknown key; write {now}")):
        make_agent("maml-ppo", load("navigation-2d"), {key: 1}, device="cpu")
    field, name, setting = re.fullmatch(r"(\w+)(?:\.|=\{name: ([\w-]+), )(\w+)(?:; .*|: \.\.\.\})?", now).groups()  # type: ignore[union-attr]
    assert setting in choices(MAMLConfig.model_fields[field])[name or "ppo"].model_fields


def test_presets_differ_from_maml_in_what_their_papers_say() -> None:
    defaults = flatten(maml_presets.MAMLPPO.Config().model_dump())
    changed = {
        name: {k: v for k, v in flatten(AGENTS[name].Config().model_dump()).items() if defaults.get(k, v) != v}
        for name in PRESETS
    }
    assert changed == {
        "maml-ppo": {},
        "maml-trpo": {"outer.name": "trpo", "inner_objective": "policy-gradient", "gae_lambda": 1.0},
        "promp": {"outer.inner_kl_coef": 5e-4, "gae_lambda": 1.0},
        "meta-sgd": {"outer.inner_lr_kind": "per-parameter"},
        "cavia": {"adapts.name": "context", "inner_lr": 1.0},
        "latent-maml": {"adapts.name": "latent", "inner_lr": 1.0},
        "anil": {"adapts.name": "last-layer"},
        "reptile": {"outer.name": "reptile"},
        "fomaml": {"outer.meta_gradient": "first-order"},
        "multi-task-ppo": {"adapts.name": "nothing"},
    }


def test_a_preset_keeps_its_own_settings_where_others_of_the_same_choice_are_set() -> None:
    promp = new_agent(load("navigation-2d"), "promp", outer={"clip_range": 0.1}).config.outer
    assert promp == PPOConfig(clip_range=0.1, inner_kl_coef=5e-4)


def flatten(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
