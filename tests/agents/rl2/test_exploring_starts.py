"""Trials of training that begin exploring: what is played there, what is learned from it, and where it must not be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from metarl.agents.common.heads import action_head
from metarl.agents.common.sequences import sequences
from metarl.agents.rl2.agent import RL2
from metarl.agents.rl2.exploring_starts import ExploringLearner, ExploringStarts

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams, generator
from metarl.evaluation.evaluate import evaluate
from metarl.families.arrays import ArrayFamily
from metarl.families.task import Tasks
from metarl.runs.record import read_metrics
from metarl.trials.agent import Learner
from metarl.trials.episodes import Episodes, TimeStep, Trial
from metarl.trials.rollout import run_trial
from tests.agents.rl2.test_agent import new_agent
from tests.probes import RightArm, Target, UnequalEpisodes
from tests.small_runs import AGENTS, trained

ASTRAY = {"exploring_starts": {"share": 1.0, "steps": 9, "noise": 1.0}}


def trial_of(agent: RL2, family: ArrayFamily, *, tasks: int = 6, rounds: int = 3, training: bool = True) -> Trial:
    envs = family.make_vec(family.sample("train", tasks, seed=1), 2)
    return run_trial(agent, envs, rounds, seed=5, training=training)


class Still(Learner):
    """Names the same action always."""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        return np.full(timestep.active.shape, 7)

    def adapt(self, episodes: Episodes) -> None: ...


def play(starts: ExploringStarts, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return exploring steps, [trial, 1], and actions, [step, trial, 1], where `active` [step, trial]."""
    streams = Streams.of(3, np.arange(active.shape[1])[:, None], np.arange(1))
    learner = ExploringLearner(Still(), action_head(spaces.Discrete(4, start=1)), starts, streams)
    nothing = np.zeros(streams.shape)
    step = TimeStep(nothing, nothing, nothing, nothing > 0, nothing > 0, nothing == 0)
    actions = [learner.act(replace(step, active=now[:, None]), deterministic=False) for now in active]
    return learner.exploring_steps, np.stack(actions)


def test_so_many_trials_begin_exploring_each_number_of_steps_as_likely() -> None:
    steps, _ = play(ExploringStarts(share=0.4, steps=5, noise=1.0), np.ones((1, 20_000), dtype=bool))
    counts = np.bincount(steps.reshape(-1), minlength=6) / steps.size
    np.testing.assert_allclose(counts, [0.6, *[0.08] * 5], atol=0.012)


def test_exploring_steps_take_so_many_actions_at_random_and_all_others_are_the_learners() -> None:
    steps, actions = play(ExploringStarts(share=0.5, steps=10, noise=0.3), np.ones((12, 20_000), dtype=bool))
    exploring = np.arange(12)[:, None, None] < steps
    assert (actions[~exploring] == 7).all()
    counts = np.bincount(actions[exploring], minlength=8) / exploring.sum()
    np.testing.assert_allclose(counts[[1, 2, 3, 4, 7]], [0.075, 0.075, 0.075, 0.075, 0.7], atol=0.01)


def test_steps_that_wait_are_neither_counted_nor_use_up_random_numbers() -> None:
    starts = ExploringStarts(share=1.0, steps=4, noise=1.0)
    waits = np.ones((12, 500), dtype=bool)
    waits[2:5] = False
    steps, plain = play(starts, np.ones((9, 500), dtype=bool))
    again, waited = play(starts, waits)
    np.testing.assert_array_equal(again, steps)
    np.testing.assert_array_equal(waited[waits[:, 0]], plain)


def test_actions_at_random_fill_the_box_evenly() -> None:
    family = Target()
    drawn = action_head(family.action_space).uniform(Streams.of(0, np.arange(200)[:, None], np.arange(200)))
    assert drawn.shape == (200, 200, 1)
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(np.histogram(drawn, 8, (-2, 2))[0] / drawn.size, 1 / 8, atol=0.01)


def test_own_steps_are_those_after_the_exploring_ones_across_episodes_of_any_length() -> None:
    agent = new_agent(UnequalEpisodes(), exploring_starts={"share": 0.7, "steps": 12})
    trial = trial_of(agent, UnequalEpisodes())
    trials = sequences(trial)
    assert (trial.exploring_steps > trial.rounds[0].lengths).any()
    for column, exploring in enumerate(trial.exploring_steps.reshape(-1)):
        taken = int(trials.mask[:, column].sum())
        np.testing.assert_array_equal(np.flatnonzero(trials.own[:, column]), np.arange(min(exploring, taken), taken))


def test_memory_sees_the_actions_that_were_taken_and_not_those_of_the_policy() -> None:
    agent = new_agent(UnequalEpisodes(), **ASTRAY)
    begun = []
    begin = agent.begin_training

    def witnessed(streams: Streams) -> object:
        begun.append(begin(streams))
        return begun[-1]

    agent.begin_training = witnessed  # type: ignore[method-assign, assignment]
    family = UnequalEpisodes()
    envs = family.make_vec(family.sample("train", 1, seed=1), 1)
    trial = run_trial(agent, envs, 3, seed=5, training=True)
    trials = sequences(trial)
    _, (inputs, _), _ = agent.read(trials)
    # The learner has not been told of the last step: its memory is that of the whole trial but for what follows.
    _, memory = agent.network.memory.sequence(inputs[:-1], agent.network.memory.initial_state(1))
    torch.testing.assert_close(begun[0].learner.state["hidden"], memory["hidden"], rtol=0, atol=1e-12)


@pytest.mark.parametrize("family", [UnequalEpisodes(), RightArm()])
def test_trial_outside_training_is_bitwise_that_of_an_agent_without_exploring_starts(family: ArrayFamily) -> None:
    explorer, plain = new_agent(family, **ASTRAY), new_agent(family)
    expected = trial_of(plain, family, training=False)
    for agent, training in ((explorer, False), (plain, True)):
        trial = trial_of(agent, family, training=training)
        assert not trial.exploring_steps.any()
        for mine, theirs in zip(trial.rounds, expected.rounds, strict=True):
            np.testing.assert_array_equal(mine.actions, theirs.actions)
    assert (trial_of(explorer, family).rounds[0].actions != expected.rounds[0].actions).any()


def test_evaluation_does_not_explore() -> None:
    def returns(agent: RL2) -> np.ndarray:
        return evaluate(agent, RightArm(), num_tasks=20, rounds=1, seed=0).returns

    np.testing.assert_array_equal(returns(new_agent(RightArm(), **ASTRAY)), returns(new_agent(RightArm())))


def test_task_alone_explores_as_the_same_task_beside_others() -> None:
    agent = new_agent(UnequalEpisodes(), exploring_starts={"share": 0.7, "steps": 12})
    family = UnequalEpisodes()
    tasks = Tasks({"length": np.array([1.0, 3.0, 6.0, 8.0])}, np.array([4, 9, 2, 7]))
    together = run_trial(agent, family.make_vec(tasks, 2), 3, seed=11, training=True)
    for task in range(4):
        alone = run_trial(agent, family.make_vec(tasks[task : task + 1], 2), 3, seed=11, training=True)
        np.testing.assert_array_equal(alone.exploring_steps[0], together.exploring_steps[task])
        for mine, theirs in zip(alone.rounds, together.rounds, strict=True):
            theirs_here = theirs.actions[: len(mine.mask), task : task + 1]
            np.testing.assert_allclose(mine.actions[mine.mask], theirs_here[mine.mask], atol=1e-9)


def test_rewards_that_explorers_were_paid_enter_no_target() -> None:
    trial = trial_of(new_agent(RightArm(), **ASTRAY), RightArm(), rounds=2)
    exploring = np.arange(6)[:, None, None] < trial.exploring_steps
    # With inputs that do not tell of rewards, the rewards of the first steps can matter through targets only.
    told = []
    for pay in (0.0, 50.0):
        agent = new_agent(RightArm(), memory="linear", num_epochs=1, num_minibatches=1, **ASTRAY)
        with torch.no_grad():
            agent.network.memory.embed.weight[:, 1] = 0.0
        first = trial.rounds[0]
        changed = replace(first, rewards=np.where(exploring, pay, first.rewards))
        told.append(agent.update(replace(trial, rounds=(changed, trial.rounds[1])), generator(0)))
    assert told[0]["value_loss"] == pytest.approx(told[1]["value_loss"], rel=1e-6)
    assert told[0]["explained_variance"] == pytest.approx(told[1]["explained_variance"], rel=1e-6)


def test_update_from_steps_that_all_explored_is_refused_and_changes_nothing() -> None:
    agent = new_agent(RightArm(), exploring_starts={"share": 1.0, "steps": 9})
    trial = trial_of(agent, RightArm(), rounds=1)
    before = agent.state_dict()
    with pytest.raises(MetarlError, match=r"every step .* explored; take a lower agent\.exploring_starts\.steps"):
        agent.update(replace(trial, exploring_steps=np.full_like(trial.exploring_steps, 6)), generator(0))
    assert all(torch.equal(value, before[name]) for name, value in agent.state_dict().items())


def test_training_explores_and_its_validation_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(share: float) -> list[dict[str, float]]:
        still = {"ppo": {"learning_rate": 1e-12}, "normalize_inputs": False}
        explores = {"share": share, "steps": 9, "noise": 1.0}
        monkeypatch.setitem(AGENTS, "rl2", {**AGENTS["rl2"], **still, "exploring_starts": explores})
        return list(read_metrics(trained(tmp_path / f"{share}", "rl2")))

    plain, explored = run(0.0)[1], run(1.0)[1]
    assert plain["return_before"] != pytest.approx(explored["return_before"], rel=1e-3)
    assert plain["validation/return_before"] == pytest.approx(explored["validation/return_before"], rel=1e-6)


@pytest.mark.parametrize(("key", "value"), [("share", 1.5), ("steps", 0), ("noise", -0.1), ("lenght", 3)])
def test_setting_out_of_range_is_refused_by_name(key: str, value: float) -> None:
    with pytest.raises(MetarlError, match=key):
        new_agent(RightArm(), exploring_starts={key: value})
