"""The oracle by stable-baselines3: it sees each task in sensible units, learns from that, and is called what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium import spaces
from metarl.agents.common.task_numbers import TaskNumbers
from metarl.agents.sb3.oracle import SB3PPOOracle
from metarl.agents.sb3.ppo import SB3PPO

from metarl import load
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams, generator
from metarl.checks.probes import Reach
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.record import AgentRecord, Evaluation
from metarl.evaluation.table import table
from metarl.families.batch import State
from metarl.families.distributions import Choice
from metarl.families.family import TaskFamily
from metarl.families.task import Parameter
from metarl.report.groups import group_runs
from metarl.report.runs import read_run
from metarl.runs.config import TrainConfig
from metarl.runs.run import load_run
from metarl.training.train import meta_train
from metarl.trials.registered import AGENTS, describe_agent, make_agent
from metarl.trials.rollout import run_trial
from tests.small_runs import config


def new_agent(family: TaskFamily, **settings: Any) -> SB3PPOOracle:
    made = make_agent("sb3-ppo-oracle", family, {"hidden_sizes": [8], **settings}, seed=0, device="cpu")
    return cast(SB3PPOOracle, made)


@dataclass(frozen=True)
class HalfFixed(Reach):
    """A goal that differs, and a parameter that never does."""

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"fixed": Parameter(Choice((0.1,))), **super().parameters}


@pytest.mark.parametrize(
    "family", [load("ant-velocity"), load("tabular-mdp", horizon=4), load("humanoid-direction"), HalfFixed()], ids=str
)
def test_what_is_shown_of_tasks_has_zero_mean_and_unit_deviation_over_others_of_training(family: TaskFamily) -> None:
    shown = TaskNumbers(family).scaled(family.sample("train", 2000, seed=5))
    np.testing.assert_allclose(shown.mean(axis=0), 0, atol=0.2)
    np.testing.assert_allclose(shown.std(axis=0), 1, atol=0.2)


def test_a_parameter_that_never_varies_is_not_shown() -> None:
    family = HalfFixed()
    tasks = family.sample("train", 6, seed=1)
    shown = TaskNumbers(family).scaled(tasks)
    assert shown.shape == (6, 2)
    assert np.corrcoef(shown[:, 0], tasks.values["goal"][:, 0])[0, 1] == pytest.approx(1.0, abs=1e-5)


@dataclass(frozen=True)
class Same(Reach):
    """Every task is the same."""

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"goal": Parameter(Choice(((0.1, 0.2),)))}


@dataclass(frozen=True)
class SameDict(Same):
    """The same in a Dict."""

    @property
    def observation_space(self) -> spaces.Dict:  # type: ignore[override]
        return spaces.Dict({"place": super().observation_space})

    def observation(self, state: State) -> Any:
        return {"place": super().observation(state)}


@pytest.mark.parametrize("family", [Same(), SameDict()], ids=["vector", "dict"])
def test_where_all_tasks_are_the_same_it_is_the_agent_that_sees_none(family: TaskFamily) -> None:
    agent, plain = new_agent(family), make_agent("sb3-ppo", family, {"hidden_sizes": [8]}, seed=0, device="cpu")
    trial = run_trial(agent, family.make_vec(family.sample("train", 3, seed=0), 2), 2, seed=0)
    assert agent.update(trial, generator(1)) == cast(SB3PPO, plain).update(trial, generator(1))


@pytest.mark.parametrize("family", [load("bernoulli-bandit", horizon=7), load("navigation-2d", horizon=6), Reach()])
def test_update_is_that_of_sb3_ppo_on_observations_with_their_task_behind_them(family: TaskFamily) -> None:
    agent = new_agent(family)
    spaces_behind = SimpleNamespace(observation_space=agent.ppo.inputs.space, action_space=family.action_space)
    plain = SB3PPO(agent.ppo.config, spaces_behind, seed=0, device="cpu")
    tasks = family.sample("train", 4, seed=1)
    trial = run_trial(agent, family.make_vec(tasks, 3), 2, seed=3)
    size = int(np.prod(family.observation_space.shape))
    shown = agent.numbers.scaled(tasks)

    def behind(array: np.ndarray) -> np.ndarray:
        made = np.zeros((*array.shape[:-1], size + shown.shape[1]))
        for place in np.ndindex(array.shape[:-1]):
            made[place] = [*array[place], *shown[place[-2]]]
        return made

    rounds = tuple(
        replace(e, observations=behind(e.observations), final_observations=behind(e.final_observations))
        for e in trial.rounds
    )
    assert agent.update(trial, generator(5)) == plain.update(replace(trial, rounds=rounds), generator(5))
    for name, value in agent.state_dict().items():
        assert torch.equal(value, plain.state_dict()[name]), name


def test_it_learns_to_go_where_only_the_task_says() -> None:
    family = load("navigation-2d", horizon=12)
    made = {
        "hidden_sizes": [32],
        "learning_rate": 3e-3,
        "gamma": 0.9,
        "log_std_init": -1.5,
        "batch_size": 256,
        "n_epochs": 5,
    }
    returns = {}
    for name in ("sb3-ppo-oracle", "sb3-ppo"):
        agent: Any = make_agent(name, family, made, seed=0, device="cpu")
        for update in range(15):
            envs = family.make_vec(family.sample("train", 64, seed=0, start=64 * update))
            agent.update(run_trial(agent, envs, 1, seed=update), generator(0, update))
        returns[name] = evaluate(agent, family, num_tasks=40, rounds=1).iqm[0]
    assert returns["sb3-ppo-oracle"] > returns["sb3-ppo"] + 1.0


def test_it_is_marked_as_an_oracle_wherever_it_is_told_of(tmp_path: Path) -> None:
    agent = {"name": "sb3-ppo-oracle", "hidden_sizes": [8], "n_epochs": 1}
    run = meta_train(TrainConfig(**{**config(num_updates=2), "agent": agent}), tmp_path / "run", progress=False)
    trained = load_run(run)
    record = AgentRecord("sb3-ppo-oracle", trained=trained.provenance)
    made = evaluate(trained.agent, trained.family, num_tasks=3, record=record)
    made.save(run / "evaluation.json")
    assert Evaluation.load(run / "evaluation.json").agent.oracle
    assert "sb3-ppo-oracle (oracle, shown the task) on navigation-2d" in table([made])
    assert [group.name for group in group_runs([read_run(run)])] == ["sb3-ppo-oracle (oracle, shown the task)"]
    told = {name: "(oracle, shown the task)" in describe_agent(AGENTS[name]) for name in AGENTS}
    assert {name for name, oracle in told.items() if oracle} == {
        "beeline",
        "best-arm",
        "best-slate",
        "sb3-ppo-oracle",
        "shortest-path",
        "true-curve",
        "value-iteration",
    }
    assert not evaluate(make_agent("random", trained.family), trained.family, num_tasks=2).agent.oracle


def test_unknown_tasks_and_tasks_that_switch_are_refused_in_one_line() -> None:
    with pytest.raises(MetarlError, match="must be shown its tasks; call begin_knowing"):
        new_agent(load("navigation-2d")).begin(Streams.of(0, "learner", np.arange(2)[:, None], np.arange(2)))
    with pytest.raises(MetarlError, match="leave switch_at out"):
        new_agent(load("half-cheetah-velocity", switch_at=[20]))
