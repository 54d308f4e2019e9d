"""A run takes what fits of another: other spaces, another memory, and parts that stay as they were."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

import metarl
from metarl.base.errors import MetarlError
from metarl.runs.checkpoint import load
from metarl.runs.config import TrainConfig
from metarl.runs.record import read_sessions
from metarl.training.train import meta_train
from metarl.trials.agent import TrainableAgent
from tests.small_runs import AGENTS, config, trained
from tests.small_runs import metarl as command

FIVE = {"name": "bernoulli-bandit", "num_arms": 5, "horizon": 6}
TEN = {**FIVE, "num_arms": 10}
CORE = {"memory.cells.weight_hh_l0", "memory.cells.bias_ih_l0", "memory.cells.bias_hh_l0"}
STATISTICS = {f"input_moments.{name}" for name in ("count", "mean", "squares")}
FITTING = (
    CORE | STATISTICS | {"value.weight", "value.bias"} | {f"value_scale.{name}" for name in ("mean", "square", "seen")}
)


@pytest.fixture(name="first")
def _first(tmp_path: Path) -> Path:
    return trained(tmp_path / "first", "rl2", family=FIVE, num_updates=2, checkpoint_every=1)


def own(run_dir: Path) -> dict[str, torch.Tensor]:
    return load(run_dir / "last.safetensors")[0]


def fresh(agent: str, family: dict[str, Any], seed: int = 0) -> dict[str, torch.Tensor]:
    settings = config(agent)["agent"]
    made = metarl.make_agent(
        settings["name"],
        metarl.load(**family),
        {key: value for key, value in settings.items() if key != "name"},
        seed=seed,
    )
    assert isinstance(made, TrainableAgent)
    return dict(made.state_dict())


def begun(tmp_path: Path, start: dict[str, Any], **changes: Any) -> tuple[Path, dict[str, torch.Tensor]]:
    """Return a run of ten arms whose every part is frozen that can be, so that it ends as it began."""
    run = trained(tmp_path / "second", "rl2", family=TEN, start_from=start, num_updates=1, **changes)
    return run, own(run)


def test_what_has_name_and_shape_is_taken_and_all_else_is_new(first: Path, tmp_path: Path) -> None:
    start = {"run": str(first), "take": "fitting", "freeze": ["memory"]}
    run, after = begun(tmp_path, start)
    theirs = load(first / "best.safetensors")[0]
    assert all(torch.equal(after[name], theirs[name]) for name in CORE)
    new = fresh("rl2", TEN)
    assert after["memory.cells.weight_ih_l0"].shape == new["memory.cells.weight_ih_l0"].shape
    moved = {name for name in ("memory.cells.weight_ih_l0", "policy.weight") if not torch.equal(after[name], new[name])}
    assert moved == {"memory.cells.weight_ih_l0", "policy.weight"}, "what is new learns from the first update on"
    assert set(read_sessions(run)[0]["started_from"]["taken"]) == FITTING
    # The optimiser begins anew: one step an update of each minibatch of two epochs, and none of what is frozen.
    assert int(after["optimizer.policy.weight.step"]) == 4
    assert int(after["optimizer.memory.cells.weight_hh_l0.step"]) == 0


def test_a_part_is_frozen_for_its_updates_and_learns_after_them(first: Path, tmp_path: Path) -> None:
    start = {"run": str(first), "take": "fitting", "freeze": ["memory"], "frozen_updates": 2}
    theirs = load(first / "best.safetensors")[0]
    frozen = trained(tmp_path / "two", "rl2", family=TEN, start_from=start, num_updates=2)
    assert all(torch.equal(own(frozen)[name], theirs[name]) for name in CORE)
    freed = trained(tmp_path / "three", "rl2", family=TEN, start_from=start, num_updates=3)
    assert not any(torch.equal(own(freed)[name], theirs[name]) for name in CORE)


def test_left_parts_stay_new(first: Path, tmp_path: Path) -> None:
    start = {"run": str(first), "take": "fitting", "leave": ["value", "input_moments.mean"]}
    run, after = begun(tmp_path, {**start, "freeze": ["memory"]})
    # A mean without its count means nothing, nor does a value head without its scale.
    assert set(read_sessions(run)[0]["started_from"]["taken"]) == CORE
    theirs = load(first / "best.safetensors")[0]
    assert torch.equal(after["memory.cells.bias_hh_l0"], theirs["memory.cells.bias_hh_l0"])
    assert float(after["input_moments.count"]) < float(theirs["input_moments.count"])


def test_another_memory_takes_nothing_of_the_first(
    first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(AGENTS["rl2"], "memory", {"name": "lstm", "hidden_size": 8})
    run, _ = begun(tmp_path, {"run": str(first), "take": "fitting"})
    taken = read_sessions(run)[0]["started_from"]["taken"]
    assert taken
    assert not any(name.startswith("memory.") for name in taken)


def test_a_layer_without_its_matrix_is_new_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow, wide = {"name": "navigation-2d", "horizon": 5}, {"name": "half-cheetah-velocity", "horizon": 5}
    monkeypatch.setitem(AGENTS["maml-ppo"], "hidden_sizes", [8, 8])
    first = trained(tmp_path / "first", family=narrow, num_updates=1, checkpoint_every=1, evaluation={"every": 1})
    run = trained(tmp_path / "second", family=wide, num_updates=1, start_from={"run": str(first), "take": "fitting"})
    taken = set(read_sessions(run)[0]["started_from"]["taken"])
    assert {"layers.1.weight", "layers.1.bias"} <= taken
    assert not taken & {"layers.0.weight", "layers.0.bias", "layers.2.bias"}


def test_a_run_with_a_frozen_part_that_was_killed_goes_on_bit_for_bit_without_the_other(
    first: Path, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {
        "family": TEN,
        "start_from": {"run": str(first), "take": "fitting", "freeze": ["memory"], "frozen_updates": 3},
    }
    whole = trained(tmp_path / "whole", "rl2", **changes)
    killed = trained(tmp_path / "killed", "rl2", **changes, num_updates=2)
    shutil.rmtree(first)
    trained(killed, "rl2", **changes, resume=True)
    assert (killed / "last.safetensors").read_bytes() == (whole / "last.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("start", "complaint"),
    [
        ({}, "'memory.cells.weight_ih_l0' has shape .* here it is"),
        ({"leave": ["value"]}, "leave names parts that stay new, but take is 'all'; take: fitting"),
        ({"frozen_updates": 2}, r"frozen_updates is set, but nothing is frozen; give freeze"),
        ({"take": "fitting", "leave": ["valu"]}, "start_from.leave names 'valu', .* did you mean 'value'"),
        ({"take": "fitting", "freeze": ["memry"]}, "start_from.freeze names 'memry', .* did you mean 'memory'"),
        ({"take": "fitting", "freeze": ["policy"]}, "names 'policy', but nothing of it was taken; leave it out"),
        ({"take": "fitting", "freeze": ["input_moments"]}, "'input_moments.count' is none of the parameters that can"),
        (
            {"take": "fitting", "freeze": ["value"]},
            "the value head follows the scale of returns, so it cannot be frozen",
        ),
        ({"take": "fitting", "leave": ["memory", "value"]}, "no layer of it has the name and the shape of one here"),
    ],
)
def test_what_cannot_be_taken_left_or_frozen_costs_one_line_and_makes_nothing(
    first: Path, tmp_path: Path, start: dict[str, Any], complaint: str
) -> None:
    with pytest.raises((MetarlError, ValidationError), match=complaint):
        trained(tmp_path / "second", "rl2", family=TEN, start_from={"run": str(first), **start})
    assert not (tmp_path / "second").exists()


def test_the_whole_agent_can_be_taken_to_another_family_of_the_same_spaces(tmp_path: Path) -> None:
    there, here = ({"name": f"half-cheetah-{task}", "horizon": 5} for task in ("velocity", "direction"))
    first = trained(tmp_path / "first", "rl2", family=there, num_updates=1, checkpoint_every=1, evaluation={"every": 1})
    run = trained(tmp_path / "second", "rl2", family=here, start_from=str(first), num_updates=1)
    assert read_sessions(run)[0]["started_from"]["taken"] == []


def test_agents_that_cannot_freeze_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(AGENTS["maml-ppo"], "outer", {"name": "trpo"})
    first = trained(tmp_path / "first", num_updates=2)
    with pytest.raises(MetarlError, match=r"outer 'trpo' moves all parameters together; leave out start_from\.freeze"):
        trained(tmp_path / "second", start_from={"run": str(first), "freeze": ["layers.0"]})


@pytest.mark.parametrize("outer", [{"num_epochs": 2}, {"name": "reptile"}])
def test_meta_parameters_are_frozen_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outer: dict[str, Any]) -> None:
    monkeypatch.setitem(AGENTS["maml-ppo"], "outer", outer)
    first = trained(tmp_path / "first", num_updates=2)
    run = trained(tmp_path / "second", start_from={"run": str(first), "freeze": ["layers.0"]}, num_updates=2)
    before, after = load(first / "best.safetensors")[0], own(run)
    assert torch.equal(before["layers.0.weight"], after["layers.0.weight"])
    assert not torch.equal(before["layers.1.weight"], after["layers.1.weight"])


def test_the_command_line_tells_in_a_table_what_was_taken(first: Path, tmp_path: Path) -> None:
    settings = [
        "family.num_arms=10", "family.horizon=6", "agent.memory.hidden_size=8", "num_updates=1", "meta_batch_size=3",
        "evaluation.num_tasks=3", f"start_from={first}", "start_from.take=fitting", "start_from.freeze=[memory]",
    ]  # fmt: skip
    told = command("train", "--family", "bernoulli-bandit", "--agent", "rl2", *settings, "--run-dir", tmp_path / "a")
    lines = [line.split() for line in told.stdout.splitlines()]
    assert ["memory.cells.weight_hh_l0", "taken", "frozen"] in lines
    assert ["memory.cells.weight_ih_l0", "new", "24", "x", "14", "here,", "24", "x", "9", "there"] in lines


def test_moments_of_other_observations_are_new_as_a_whole(tmp_path: Path) -> None:
    narrow, wide = {"name": "navigation-2d", "horizon": 5}, {"name": "half-cheetah-velocity", "horizon": 5}
    first = trained(tmp_path / "first", "rl2", family=narrow, num_updates=1, evaluation={"every": 1})
    start = {"run": str(first), "take": "fitting"}
    run = trained(tmp_path / "second", "rl2", family=wide, num_updates=1, start_from=start)
    taken = read_sessions(run)[0]["started_from"]["taken"]
    assert "memory.cells.weight_hh_l0" in taken
    assert not [name for name in taken if name.startswith("input_moments")]
    fresh_run = trained(tmp_path / "fresh", "rl2", family=wide, num_updates=1)
    assert float(own(run)["input_moments.count"]) == float(own(fresh_run)["input_moments.count"])


def test_a_setting_that_shapes_all_layers_is_not_taken_over_in_silence(tmp_path: Path) -> None:
    family = {"name": "sinusoid"}
    changes: dict[str, Any] = {"family": family, "num_updates": 1, "evaluation": {"every": 1, "num_tasks": 3}}
    first = meta_train(
        TrainConfig(**{**config(), **changes, "agent": {"name": "ridge"}}), tmp_path / "first", progress=False
    )
    relu = {**config(), **changes, "agent": {"name": "ridge", "activation": "tanh"}}
    with pytest.raises(MetarlError, match=r"agent.activation is 'tanh', but it was trained with 'relu'"):
        start = {"run": str(first), "take": "fitting"}
        meta_train(TrainConfig(**relu, start_from=start), tmp_path / "second", progress=False)


def test_a_frozen_deviation_is_not_raised_to_its_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained(tmp_path / "first", num_updates=2)
    monkeypatch.setitem(AGENTS["maml-ppo"], "min_std", 1.5)
    monkeypatch.setitem(AGENTS["maml-ppo"], "initial_std", 2.0)
    run = trained(tmp_path / "second", start_from={"run": str(first), "freeze": ["log_std"]}, num_updates=1)
    before, after = load(first / "best.safetensors")[0], own(run)
    assert torch.equal(before["log_std"], after["log_std"])
    freed = trained(tmp_path / "third", start_from=str(first), num_updates=1)
    assert not torch.equal(before["log_std"], own(freed)["log_std"])


@pytest.mark.parametrize("name", ["leo", "maml", "ridge", "prototypes", "fine-tuned", "pretrained-classifier"])
def test_every_parameter_that_is_frozen_stays_bit_for_bit(tmp_path: Path, name: str) -> None:
    small = {"meta_batch_size": 3, "num_updates": 1, "rounds": 2, "evaluation": {"every": 1, "num_tasks": 2}}
    base = {**config(), **small, "replicas": 1, "family": {"name": "text-classes"}, "agent": {"name": name}}
    first = meta_train(TrainConfig(**base), tmp_path / "first", progress=False)
    before = load(first / "best.safetensors")[0]
    learned = {key.rpartition(".")[0].split("optimizer.")[1] for key in before if key.endswith(".exp_avg")}
    frozen = sorted(learned)[: max(1, len(learned) - 1)]
    start = {"run": str(first), "freeze": frozen}
    run = meta_train(TrainConfig(**base, start_from=start), tmp_path / "second", progress=False)
    after = own(run)
    assert all(torch.equal(before[key], after[key]) for key in frozen)
    rest = learned - set(frozen)
    assert any(not torch.equal(before[key], after[key]) for key in rest)
