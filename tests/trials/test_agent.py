"""The contract's defaults, and one line for whatever does not keep it."""

from __future__ import annotations

import doctest
import importlib
from typing import Any

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.checks.check import check, check_agent
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.trials.agent import Agent, Learner, Oracle, TrainableAgent
from metarl.trials.episodes import Episodes, TimeStep, Trial
from metarl.trials.registered import register_agent
from metarl.trials.rollout import rounds_of, run_trial
from tests.probes import UnequalEpisodes


class Zero(Learner):
    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        return np.zeros((*timestep.active.shape, 2), dtype=np.float32)


class Plain(Agent):
    def begin(self, streams: Streams) -> Learner:
        return Zero()


class Duck:
    """Has every method of an agent, and does not extend it."""

    Config = Agent.Config
    plays = ()
    pools_replicas = True

    def begin(self, streams: Streams) -> Learner:
        return Zero()


def play(agent: Any, *, training: bool = False) -> Trial:
    family = UnequalEpisodes()
    return run_trial(agent, family.make_vec(family.sample("train", 3, seed=0), 2), 2, seed=0, training=training)


def test_the_example_of_the_contract_runs() -> None:
    results = doctest.testmod(importlib.import_module("metarl.trials.agent"))
    assert results.attempted >= 5 and not results.failed


def test_an_agent_of_two_methods_has_the_documented_defaults() -> None:
    agent = Plain()
    assert (agent.pools_replicas, agent.min_rounds, agent.plays, agent.requires) == (True, 1, (), "")
    assert (agent.shaped_by, agent.rounds_setting, agent.Config().model_dump()) == ((), "", {})
    trial = play(agent, training=True)
    np.testing.assert_array_equal(trial.exploring_steps, np.zeros((3, 2), dtype=np.int64))


def test_exploring_steps_of_a_learner_reach_the_update() -> None:
    class Exploring(Zero):
        def __init__(self) -> None:
            self.exploring_steps = np.arange(6).reshape(3, 2)

    class Explorer(TrainableAgent):
        def begin(self, streams: Streams) -> Learner:
            return Zero()

        def begin_training(self, streams: Streams) -> Learner:
            return Exploring()

        def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
            return {}

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: dict[str, Any]) -> None: ...

    np.testing.assert_array_equal(play(Explorer(), training=True).exploring_steps, np.arange(6).reshape(3, 2))
    assert not play(Explorer()).exploring_steps.any()


@pytest.mark.parametrize("plays", [play, lambda agent: next(rounds_of(agent, _envs(), seed=0))])
@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (Duck(), "agent is an object of class Duck; its class must extend metarl.Agent"),
        (Plain, "agent is the class Plain; make an instance of it, as metarl.make_agent does"),
        (None, "agent is an object of class NoneType; its class must extend metarl.Agent"),
    ],
    ids=["duck", "class", "none"],
)
def test_what_is_no_agent_costs_one_line(agent: Any, words: str, plays: Any) -> None:
    with pytest.raises(MetarlError) as caught:
        plays(agent)
    assert str(caught.value) == words


def _envs() -> Any:
    family = UnequalEpisodes()
    return family.make_vec(family.sample("train", 3, seed=0), 2)


def test_a_learner_that_is_none_costs_one_line() -> None:
    class Loose(Agent):
        def begin(self, streams: Streams) -> Any:
            return Duck()

    with pytest.raises(
        MetarlError, match="Loose began with an object of class Duck; return a learner whose class extends"
    ):
        play(Loose())


class Half(Agent):
    """An agent without `begin`."""


def test_a_class_that_is_no_agent_is_neither_registered_nor_checked() -> None:
    with pytest.raises(
        MetarlError, match=r"agent 'duck' is <class .*Duck'>; it must be a class that extends metarl.Agent"
    ):
        register_agent("duck")(Duck)  # type: ignore[type-var]
    with pytest.raises(MetarlError, match="agent 'half': class Half lacks begin; write the methods"):
        register_agent("half")(Half)
    with pytest.raises(MetarlError, match=r"agent 'loose': Config is <class 'dict'>; it must be a class that extends"):
        register_agent("loose")(type("Loose", (Plain,), {"Config": dict}))
    for given in (Duck, Plain()):
        with pytest.raises(MetarlError, match=r"it must be a class that extends metarl.Agent"):
            check_agent(given)  # type: ignore[arg-type]
    with pytest.raises(MetarlError, match=r"give a class that extends metarl.TaskFamily or metarl.Agent"):
        check("tests.trials.test_agent:Duck")


def test_an_oracle_begins_only_with_its_tasks() -> None:
    class Shown(Oracle):
        def begin_knowing(self, tasks: Any, streams: Streams) -> Learner:
            self.shown = tasks
            return Zero()

    agent = Shown()
    play(agent)
    assert len(agent.shown) == 3
    with pytest.raises(MetarlError, match="Shown is an oracle and must be shown its tasks"):
        agent.begin(Streams.of(0, np.arange(3)[:, None], np.arange(2)))


def test_adaptation_happens_between_rounds_and_not_after_the_last() -> None:
    class Counting(Zero):
        def __init__(self) -> None:
            self.adapted: list[Episodes] = []

        def adapt(self, episodes: Episodes) -> None:
            self.adapted.append(episodes)

    class Counts(Agent):
        def begin(self, streams: Streams) -> Learner:
            self.learner = Counting()
            return self.learner

    agent = Counts()
    trial = play(agent)
    assert len(trial.rounds) == 2
    (adapted,) = agent.learner.adapted
    np.testing.assert_array_equal(adapted.rewards, trial.rounds[0].rewards)


def test_a_family_is_no_agent() -> None:
    family: TaskFamily = load("navigation-2d")
    with pytest.raises(MetarlError, match=r"its class must extend metarl.Agent"):
        play(family)
