from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from metarl.base.descriptions import description_of
from metarl.base.errors import MetarlError
from metarl.base.yaml_text import dump_yaml
from metarl.cli.demo import CONFIGS
from metarl.runs.config import TrainConfig, load_config, parse_override, resolve
from tests.architecture import settings_classes
from tests.base.test_yaml_text import VALUES
from tests.small_runs import config, write_config

WORDS = st.from_regex(r"[a-z_][a-z_0-9]*", fullmatch=True)


@given(st.lists(WORDS, min_size=1, max_size=3), VALUES)
def test_an_override_gives_back_the_key_and_the_value_written_as_yaml(key: list[str], value: object) -> None:
    text = dump_yaml({"value": value})
    assert parse_override(f"{'.'.join(key)}={text}") == (".".join(key), {"value": value})


@given(st.text())
def test_any_text_at_all_is_an_override_or_a_one_line_error(text: str) -> None:
    try:
        key, _ = parse_override(text)
    except MetarlError as error:
        message = str(error)
    else:
        assert text.startswith(f"{key}=")
        return
    assert len(message.splitlines()) == 1


def test_an_override_in_scientific_notation_becomes_a_number(tmp_path: Path) -> None:
    loaded = load_config(write_config(tmp_path), ["agent.inner_lr=3e-4", "seed=7", "agent.hidden_sizes=[4, 4]"])
    assert loaded.agent["inner_lr"] == 3e-4
    assert loaded.seed == 7
    assert loaded.agent["hidden_sizes"] == [4, 4]


def test_an_override_may_open_a_section_that_the_file_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("family: navigation-2d\nagent: maml-ppo\n")
    loaded = load_config(path, ["evaluation.every=3", "agent.inner_lr=0.5", "family.horizon=9"])
    assert (loaded.evaluation.every, loaded.agent["inner_lr"], loaded.family["horizon"]) == (3, 0.5, 9)


def rate(start: float) -> dict[str, float | None]:
    """Return a step size that stays, as configs are saved with it."""
    return {"start": start, "end": None, "updates": None}


@pytest.mark.parametrize(
    ("overrides", "outer"),
    [
        (["agent.outer.clip_range=0.2"], {"name": "ppo", "learning_rate": rate(3e-3), "clip_range": 0.2}),
        (["agent.outer=trpo", "agent.outer.max_kl=0.02"], {"name": "trpo", "max_kl": 0.02}),
        (["agent.outer={name: trpo, max_kl: 0.02}"], {"name": "trpo", "max_kl": 0.02}),
        (["agent.outer.learning_rate=1", "agent.outer=trpo"], {"name": "trpo", "max_kl": 0.01}),
        (["agent=reptile", "agent.outer.learning_rate=1"], {"name": "reptile", "learning_rate": rate(1.0)}),
    ],
)
def test_an_override_reaches_a_setting_in_a_choice_or_replaces_the_choice(
    tmp_path: Path, overrides: list[str], outer: dict[str, object]
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("family: navigation-2d\nagent: {name: maml-ppo, outer: {learning_rate: 0.003}}\n")
    assert load_config(path, overrides).agent["outer"].items() >= outer.items()


def test_settings_that_remain_of_another_choice_are_refused_with_both_remedies(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("family: navigation-2d\nagent: {name: maml-ppo, outer: {learning_rate: 0.003}}\n")
    with pytest.raises(MetarlError) as caught:
        load_config(path, ["agent.outer.name=trpo"])
    assert str(caught.value) == (
        "command line 'agent.outer.name=trpo': agent.outer.learning_rate: a setting of 'ppo', but agent.outer.name is "
        "'trpo'; write agent.outer={name: ppo, learning_rate: ...}, or agent.outer=trpo to drop the settings of 'ppo'"
    )


@pytest.mark.parametrize("agent", ["maml-ppo", "rl2"])
@pytest.mark.parametrize(
    "family", ["navigation-2d", {"name": "bernoulli-bandit", "preset": "n100-k10"}, {"name": "half-cheetah-velocity"}]
)
def test_a_resolved_config_loads_as_itself_and_lists_every_setting(tmp_path: Path, agent: str, family: object) -> None:
    from metarl.families.load import load
    from metarl.trials.registered import AGENTS

    first = resolve(load_config(write_config(tmp_path, agent, family=family)))
    path = tmp_path / "resolved.yaml"
    path.write_text(dump_yaml(first))
    again = load_config(path)
    assert resolve(again) == first == again.model_dump(mode="json")
    assert first["agent"].keys() == {"name"} | AGENTS[agent].Config.model_fields.keys()
    assert first.keys() == TrainConfig.model_fields.keys()
    name, settings = first["family"]["name"], {k: v for k, v in first["family"].items() if k != "name"}
    assert load(name, **settings).settings == settings


def test_a_preset_is_spelled_out_and_settings_win_over_it(tmp_path: Path) -> None:
    family = {"name": "bernoulli-bandit", "preset": "n100-k10", "horizon": 50}
    assert load_config(write_config(tmp_path, family=family)).family == {
        "name": "bernoulli-bandit",
        "num_arms": 10,
        "horizon": 50,
    }


@pytest.mark.parametrize(
    ("family", "agent", "expected"),
    [("sinusoid", "maml", 1), ("image-classes", "rl2", 1), ("navigation-2d", "rl2", 10)],
)
def test_a_family_that_asks_questions_has_one_replica_as_more_would_be_more_shots(
    family: str, agent: str, expected: int
) -> None:
    names = [f"family={family}", f"agent={agent}"]
    assert load_config(None, names).replicas == expected
    assert resolve(TrainConfig.model_validate({"family": family, "agent": agent}))["replicas"] == expected
    assert load_config(None, [*names, "family.title=mine"]).replicas == expected
    given = load_config(None, [*names, "replicas=10"])
    assert given.replicas == 10
    assert resolve(given)["replicas"] == 10


def test_a_config_made_in_python_takes_bare_names() -> None:
    made = resolve(TrainConfig(family="navigation-2d", agent="rl2"))  # type: ignore[arg-type]
    assert made["family"]["name"] == "navigation-2d"
    assert made["agent"]["memory"]["hidden_size"] > 0


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sead=3", "sead: unknown key; did you mean 'seed'?"),
        ("agent.iner_lr=1", "agent.iner_lr: unknown key; did you mean 'inner_lr'?"),
        ("evaluation.evry=3", "evaluation.evry: unknown key; did you mean 'every'?"),
        ("num_updates=0", "num_updates is 0: it must be greater than or equal to 1"),
        ("seed=true", "seed is True: it must be a number"),
        ("agent.inner_lr=fast", "agent.inner_lr is 'fast': it must be a valid number"),
        ("agent.inner_lr=.nan", "agent.inner_lr is '.nan': .nan is not finite; give a finite number"),
        ("seed.x=3", "seed is {'x': 3}: it must be a valid integer"),
        ("device.x=3", "device.x: 'device' is 'cpu', which has no keys; set device=..."),
        ("device=gpu", "device is 'gpu': it must be 'auto', 'cpu' or 'cuda'"),
        ("evaluation=4", "evaluation is 4: it must be a mapping of keys to values"),
        ("family=navigaton-2d", "family 'navigaton-2d' is not registered; did you mean 'navigation-2d'?"),
        ("agent.horizon=500", "agent.horizon: a setting of the family; set family.horizon, which is 5"),
        (
            "agent.num_inner_steps=0",
            "agent: num_inner_steps is not a setting; a trial of `rounds` rounds has rounds - 1 inner steps",
        ),
        ("agent=mamlppo", "agent 'mamlppo' is not registered; did you mean 'maml-ppo'?"),
        ("agent.name=3", "agent.name is 3: it must be a word"),
        ("family.horizn=3", "family: setting 'horizn' is unknown"),
        ("family.preset=paml", "family: preset 'paml' is unknown"),
        ("family.preset=[]", "family.preset is []: it must be a word"),
        ("family=[]", "family is []: it must be a mapping of keys to values, or a bare name"),
        ("seed=[", "seed is '[': not valid YAML: expected the node content"),
        (
            "agent.outer={name: ppo, name: trpo}",
            "agent.outer is '{name: ppo, name: trpo}': key 'name' is given twice; keep one",
        ),
        (
            "agent={name: rl2, 1: 3}",
            "agent is '{name: rl2, 1: 3}': key 1 is no word; keys are words, such as inner_lr, or in quotes",
        ),
        ("agent.hidden_sizes=[true]", "agent.hidden_sizes.0 is True: it must be a number"),
        ("agent.hidden_sizes=[4, true]", "agent.hidden_sizes.1 is True: it must be a number"),
    ],
)
def test_a_wrong_override_is_named_with_rule_and_remedy(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(MetarlError) as caught:
        load_config(write_config(tmp_path), [override])
    assert str(caught.value).startswith(f"command line {override!r}: {message}")


@pytest.mark.parametrize("override", ["seed", "a..b=1"])
def test_an_override_of_another_form_is_quoted(tmp_path: Path, override: str) -> None:
    with pytest.raises(MetarlError, match=f"command line: override '{override}' is not of the form key=value"):
        load_config(write_config(tmp_path), [override])


def test_an_override_of_too_many_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match="has more than 50 parts; no setting is so deep"):
        load_config(write_config(tmp_path), [".".join(["agent"] * 5000) + "=1"])


@pytest.mark.parametrize("word", ["None", "null", "~", "Null", "NULL"])
def test_every_word_for_null_is_null_in_an_override(word: str, tmp_path: Path) -> None:
    path = write_config(tmp_path, agent="rl2")
    assert load_config(path, [f"agent.bptt_steps={word}"]).agent["bptt_steps"] is None


def test_a_number_that_begins_with_zero_is_decimal(tmp_path: Path) -> None:
    assert load_config(write_config(tmp_path), ["seed=010"]).seed == 10


def test_the_override_that_is_at_fault_is_the_one_quoted(tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=r"^command line 'agent.nam=3': agent.nam: unknown key"):
        load_config(write_config(tmp_path), ["agent.inner_lr=0.5", "agent.nam=3", "seed=1"])


def test_a_boolean_for_a_number_is_refused_in_a_family_too(tmp_path: Path) -> None:
    path = write_config(tmp_path, family={"name": "half-cheetah-velocity", "max_velocity": True})
    with pytest.raises(MetarlError, match=r"family.max_velocity is True: it must be a number") as caught:
        load_config(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,\n", ":2: "),
        ("seed: 1\nfamily: {name: x\n", ":3: "),
        ("seed: 1\nrounds: 2\nseed: 2\n", ":3: key 'seed' is given twice; keep one"),
        ("", " holds None; a config is a mapping"),
        ("- 1\n", " holds [1]; a config is a mapping"),
        ("1: 2\nfamily: navigation-2d\nagent: rl2\n", ":1: key 1 is no word"),
        ("seed: 1\n", ": family: missing; give it a value"),
        ("family: {horizon: 3}\nagent: rl2\n", ": family.name is missing: give it a value"),
    ],
)
def test_a_file_that_is_no_config_is_told_in_one_line_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(MetarlError) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}{message}")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00seed")
    for path, why in [
        (tmp_path, "Is a directory"),
        (tmp_path / "no.yaml", "does not exist"),
        (tmp_path / "binary.yaml", "1: byte 0xff is not UTF-8; save the file as UTF-8"),
    ]:
        with pytest.raises(MetarlError, match=why) as caught:
            load_config(path)
        assert str(caught.value).startswith(str(path))


def test_a_mistake_in_the_file_is_not_blamed_on_the_command_line(tmp_path: Path) -> None:
    path = write_config(tmp_path, agent="maml-ppo", num_updates=-5)
    with pytest.raises(MetarlError) as caught:
        load_config(path, ["seed=3"])
    assert str(caught.value) == f"{path}: num_updates is -5: it must be greater than or equal to 1"


@pytest.mark.parametrize(
    "path",
    [
        *sorted(set(Path("configs").rglob("*.yaml")) - set(Path("configs/external").iterdir())),
        *sorted(CONFIGS.glob("*.yaml")),
    ],
    ids=str,
)
def test_every_config_of_the_repository_loads(path: Path) -> None:
    assert load_config(path).num_updates > 0


def test_every_setting_has_a_docstring() -> None:
    models = settings_classes([TrainConfig])
    assert {model.__name__ for model in models} == {
        "TrainConfig",
        "ParallelConfig",
        "EvaluationConfig",
        "LogConfig",
        "WandbConfig",
        "StartConfig",
        "TeacherConfig",
        "Schedule",
    }
    assert all(description_of(model, name) for model in models for name in model.model_fields)


@pytest.mark.parametrize(
    ("written", "overrides", "to", "project"),
    [
        ({}, [], ("wandb",), "metarl"),
        ({"log": ["csv", "tensorboard", "csv"]}, [], ("csv", "tensorboard"), "metarl"),
        ({"log": "csv"}, [], ("csv",), "metarl"),
        ({"log": None}, [], (), "metarl"),
        ({"log": {"to": ["csv"], "wandb": {"project": "p"}}}, ["log=none"], (), "p"),
        ({"log": ["csv"], "wandb": {"project": "p"}}, ["wandb.tags=[a]"], ("csv",), "p"),
        ({"wandb": {"project": "p"}}, ["log=csv,wandb"], ("csv", "wandb"), "p"),
        ({"log": {"wandb": {"project": "p"}}}, ["log.to=[csv]", "wandb.project=q"], ("csv",), "q"),
        ({"log": "csv"}, ["log={wandb: {project: p}}"], ("wandb",), "p"),
    ],
)
def test_short_forms_of_the_log_say_the_same(
    written: dict[str, Any], overrides: list[str], to: tuple[str, ...], project: str, tmp_path: Path
) -> None:
    path = tmp_path / "config.yaml"
    rest = {key: value for key, value in config().items() if key != "wandb"}
    path.write_text(yaml.safe_dump({**rest, **written}))
    found = load_config(path, overrides)
    assert (found.log.to, found.log.wandb.project) == (to, project)
    assert TrainConfig.model_validate(resolve(found)) == found
    if not overrides:
        assert TrainConfig(**{**rest, **written}).log == found.log


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("log=tensorbord", "log.to.0 is 'tensorbord': it must be 'wandb', 'tensorboard' or 'csv'"),
        ("log.to=csv", "log.to is 'csv': it must be a list"),
        ("log=3", "log is 3: it must be a mapping"),
        ("log.wandb.mode=on", "log.wandb.mode is 'on': it must be"),
        ("wandb=3", "log.wandb is 3: it must be a mapping"),
    ],
)
def test_a_wrong_log_costs_one_line(override: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(MetarlError) as caught:
        load_config(write_config(tmp_path), [override])
    assert f"command line '{override}': {told}" in str(caught.value)


def test_wandb_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=r"wandb and log\.wandb are both given, which is the same; leave one out"):
        load_config(write_config(tmp_path, log={"wandb": {"project": "p"}}))
