"""RL^2 against step-by-step runs, independent loops and problems with a known answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytest
import torch
from metarl.agents.common.moments import RunningMoments, ValueScale
from metarl.agents.common.sequences import sequences
from metarl.agents.memories.config import GRUSettings, MemorySettings
from metarl.agents.memories.contract import State
from metarl.agents.rl2.agent import RL2, RL2Learner
from metarl.agents.rl2.config import PPOSettings, RL2Config
from metarl.agents.rl2.from_rewards import FromRewards
from metarl.agents.rl2.from_teacher import FromTeacher

from metarl.base.errors import MetarlError
from metarl.base.settings import choices
from metarl.base.streams import Streams, generator
from metarl.checks.check import check_agent
from metarl.checks.probes import probes
from metarl.families.arrays import ArrayFamily
from metarl.families.distributions import Choice
from metarl.families.load import load
from metarl.families.task import Parameter, Tasks
from metarl.trials.agent import Agent, Learner
from metarl.trials.episodes import TimeStep, Trial
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.agents.memories.small import MEMORIES
from tests.agents.rl2.settings import nest
from tests.probes import Cue, RightArm, Target, UnequalEpisodes

ONE_STEP = PPOSettings(num_epochs=1, num_minibatches=1)
"""An update of one step. The registered agent is checked with several."""


def new_agent(family: ArrayFamily, **settings: object) -> RL2:
    agent = make_agent("rl2", family, nest({"dtype": "float64", "hidden_size": 8, **settings}), seed=3, device="cpu")
    assert isinstance(agent, RL2)
    # A first policy that hardly depends on its memory would hide faults in the memory.
    with torch.no_grad():
        agent.network.policy.weight *= 100
    return agent


def reward_lesson(agent: RL2) -> FromRewards:
    assert isinstance(agent.lesson, FromTeacher)
    return agent.lesson.rewards


class Witness(Agent):
    """An agent that lets another act, and writes down what its network put out and what was seen."""

    def __init__(self, agent: RL2) -> None:
        self.agent, self.features, self.timesteps = agent, [], []

    def begin(self, streams: Streams) -> Learner:
        learner = self.agent.begin(streams)
        step = self.agent.network.memory.step

        def witnessed(inputs: torch.Tensor, state: State, moving: torch.Tensor) -> tuple[torch.Tensor, State]:
            features, following = step(inputs, state, moving)
            self.features.append(features)
            return features, following

        self.agent.network.memory.step = witnessed  # type: ignore[method-assign]
        act = learner.act

        def act_and_write(timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
            self.timesteps.append(timestep)
            return act(timestep, deterministic=deterministic)

        learner.act = act_and_write  # type: ignore[method-assign]
        return learner


def unequal_trial(agent: RL2 | Witness, rounds: int = 3, lengths: tuple[int, ...] = (1, 3, 6, 8)) -> Trial:
    family = UnequalEpisodes()
    tasks = Tasks({"length": np.array(lengths, dtype=np.float64)}, np.array([4, 9, 2, 7])[: len(lengths)])
    return run_trial(agent, family.make_vec(tasks, 2), rounds, seed=11)


@pytest.mark.parametrize("bptt_steps", [None, 1, 4, 100])
@pytest.mark.parametrize("memory", MEMORIES)
def test_learning_reads_what_acting_saw_with_episodes_of_different_length(memory: str, bptt_steps: int | None) -> None:
    agent = new_agent(UnequalEpisodes(), memory=memory, bptt_steps=bptt_steps)
    witness = Witness(agent)
    trials = sequences(unequal_trial(witness))
    read, _, _ = agent.read(trials)
    seen = torch.stack(witness.features)
    active = np.stack([timestep.active.reshape(-1) for timestep in witness.timesteps])
    for column in range(8):
        acted = seen[active[:, column], column]
        torch.testing.assert_close(read[: len(acted), column], acted, rtol=0, atol=1e-12)
        assert trials.mask[:, column].sum() == len(acted)


def test_memory_stands_still_where_the_episode_is_over() -> None:
    agent = new_agent(UnequalEpisodes())
    learner = agent.begin(Streams.of(0, np.arange(2)[:, None], np.arange(1)))
    assert isinstance(learner, RL2Learner)
    timestep = TimeStep(
        observations=np.ones((2, 1, 2)),
        previous_actions=np.zeros((2, 1, 2), dtype=np.float32),
        previous_rewards=np.ones((2, 1)),
        previous_terminations=np.zeros((2, 1), dtype=bool),
        previous_truncations=np.zeros((2, 1), dtype=bool),
        active=np.array([[True], [False]]),
    )
    learner.act(timestep, deterministic=False)
    assert learner.state["hidden"][0].abs().max() > 0
    assert learner.state["hidden"][1].abs().max() == 0


def test_task_alone_equals_the_same_task_beside_longer_and_shorter_ones() -> None:
    agent = new_agent(UnequalEpisodes())
    together = unequal_trial(agent)
    family = UnequalEpisodes()
    for task in range(4):
        alone = run_trial(agent, family.make_vec(together.tasks[task : task + 1], 2), 3, seed=11)
        for mine, theirs in zip(alone.rounds, together.rounds, strict=True):
            steps = len(mine.rewards)
            np.testing.assert_array_equal(mine.mask, theirs.mask[:steps, task : task + 1])
            np.testing.assert_allclose(
                mine.actions, theirs.actions[:steps, task : task + 1] * mine.mask[..., None], atol=1e-9
            )
            np.testing.assert_allclose(mine.rewards, theirs.rewards[:steps, task : task + 1], atol=1e-9)


def test_bootstrap_reads_the_true_final_observation_and_leaves_the_memory_alone() -> None:
    agent = new_agent(UnequalEpisodes())
    trial = unequal_trial(agent)
    trials = sequences(trial)
    with_last, (inputs, _), _ = agent.read(trials)
    lengths = trials.mask.sum(axis=0)
    for column, length in enumerate(lengths):
        memory = agent.network.memory
        without, _ = memory.sequence(inputs[:length, column : column + 1], memory.initial_state(1))
        torch.testing.assert_close(with_last[:length, column : column + 1], without, rtol=0, atol=1e-12)
        final = trial.rounds[-1].final_observations.reshape(8, 2)[column]
        np.testing.assert_allclose(inputs[length, column, :2].numpy(), final)


@pytest.mark.parametrize("trial_end", ["truncation", "termination"])
def test_advantages_equal_a_plain_loop_over_each_trial(trial_end: str) -> None:
    agent = new_agent(UnequalEpisodes(), discount=0.9, gae_lambda=0.7, trial_end=trial_end)
    trial = unequal_trial(agent)
    trials = sequences(trial)
    values = np.random.default_rng(0).normal(size=(len(trials.mask) + 1, 8))
    computed = reward_lesson(agent).advantages(trials, values)
    for column in range(8):
        task, replica = divmod(column, 2)
        rewards = [r for e in trial.rounds for r in e.rewards[: e.lengths[task, replica], task, replica]]
        over = trial.rounds[-1].terminations[:, task, replica].any() or trial_end == "termination"
        following = list(values[1 : len(rewards), column]) + [0.0 if over else values[len(rewards), column]]
        expected, carry = [], 0.0
        for reward, value, next_value in reversed(list(zip(rewards, values[:, column], following, strict=False))):
            carry = reward + 0.9 * next_value - value + 0.9 * 0.7 * carry
            expected.append(carry)
        np.testing.assert_allclose(computed[: len(rewards), column], expected[::-1])
        assert (computed[len(rewards) :, column] == 0).all()


def test_policy_is_told_terminations_and_truncations_apart() -> None:
    agent = new_agent(UnequalEpisodes())
    witness = Witness(agent)
    unequal_trial(witness, rounds=2, lengths=(3, 8))
    second_round = next(t for t in witness.timesteps[1:] if (t.previous_terminations | t.previous_truncations).all())
    np.testing.assert_array_equal(second_round.previous_terminations, [[True, True], [False, False]])
    np.testing.assert_array_equal(second_round.previous_truncations, [[False, False], [True, True]])
    inputs = agent.inputs(second_round, np.zeros((2, 2), dtype=bool)).numbers
    np.testing.assert_array_equal(inputs[..., -2:].numpy()[:, 0], [[1, 0], [0, 1]])


def test_first_step_of_a_trial_is_told_no_action_and_no_reward() -> None:
    agent = new_agent(RightArm())
    agent.inputs.moments.add(np.array([[0.0, 0.0], [0.0, 1.0]]))
    timestep = TimeStep(
        observations=np.zeros((1, 1, 1)),
        previous_actions=np.zeros((1, 1), dtype=np.int64),
        previous_rewards=np.zeros((1, 1)),
        previous_terminations=np.zeros((1, 1), dtype=bool),
        previous_truncations=np.zeros((1, 1), dtype=bool),
        active=np.ones((1, 1), dtype=bool),
    )
    assert (agent.inputs(timestep, np.ones((1, 1), dtype=bool)).numbers == 0).all()
    assert (agent.inputs(timestep, np.zeros((1, 1), dtype=bool)).numbers != 0).any()


def test_ratio_is_one_in_the_first_minibatch_and_is_clipped_later() -> None:
    agent = new_agent(UnequalEpisodes(), learning_rate=0.02, clip_range=0.05)
    metrics = agent.update(unequal_trial(agent), generator(0))
    assert metrics["first_ratio_deviation"] == pytest.approx(0.0, abs=1e-12)
    assert metrics["clip_fraction"] > 0.01


def test_value_head_keeps_its_predictions_when_its_scale_moves() -> None:
    scale, head = ValueScale(), torch.nn.Linear(3, 1).double()
    memory = torch.randn(10, 3, dtype=torch.float64)
    scale.follow(np.array([1.0, 2.0, 4.0]), head)
    before = scale.to_returns(head(memory)).detach()
    scale.follow(np.array([-900.0, 3000.0]), head)
    torch.testing.assert_close(scale.to_returns(head(memory)).detach(), before)


def test_value_targets_reach_the_head_at_unit_scale_whatever_the_returns() -> None:
    scale, head = ValueScale(), torch.nn.Linear(3, 1).double()
    targets = np.random.default_rng(0).normal(-5000.0, 300.0, 1000)
    scale.follow(targets, head)
    normalize_advantages = scale.from_returns(targets)
    assert abs(normalize_advantages.mean()) < 1e-6
    assert normalize_advantages.std() == pytest.approx(1.0)


def test_value_function_that_is_used_is_the_one_that_is_trained() -> None:
    family = UnequalEpisodes()
    agent = new_agent(family, learning_rate=3e-3)
    envs = family.make_vec(family.sample("train", 40, seed=0), 2)
    explained: list[float] = []
    while len(explained) < 40 and (len(explained) < 8 or np.mean(explained[-5:]) <= np.mean(explained[:3]) + 0.2):
        trial = run_trial(agent, envs, 2, seed=len(explained))
        explained.append(agent.update(trial, generator(len(explained)))["explained_variance"])
    assert np.mean(explained[-5:]) > np.mean(explained[:3]) + 0.2


def test_running_moments_equal_those_of_all_rows_at_once() -> None:
    rows = np.random.default_rng(0).normal(3.0, 2.0, (100, 2))
    rows[:, 1] = 7.0
    moments = RunningMoments(2)
    for part in np.array_split(rows, 7):
        moments.add(part)
    normalize_advantages = moments.normalize(rows)
    np.testing.assert_allclose(
        normalize_advantages[:, 0], np.clip((rows[:, 0] - rows[:, 0].mean()) / rows[:, 0].std(), -10, 10)
    )
    assert (normalize_advantages[:, 1] == 0).all()


def test_evaluation_leaves_statistics_and_parameters_bitwise_unchanged() -> None:
    agent = new_agent(UnequalEpisodes())
    agent.update(unequal_trial(agent), generator(0))
    before = agent.state_dict()
    unequal_trial(agent)
    for name, value in agent.state_dict().items():
        assert torch.equal(value, before[name])


def learned(family: ArrayFamily, updates: int, num_trials: int, enough: float, **settings: object) -> float:
    """Return the mean return in unseen tasks after some updates: fewer where two in a row earn `enough`."""
    agent = make_agent("rl2", family, nest(settings), seed=0, device="cpu")
    assert isinstance(agent, RL2)
    earned = [-np.inf]
    for update in range(updates):
        tasks = family.sample("train", num_trials, seed=0, start=num_trials * update)
        trial = run_trial(agent, family.make_vec(tasks), 1, seed=update)
        earned.append(float(trial.returns.mean()))
        if min(earned[-2:]) >= enough:
            break
        agent.update(trial, generator(0, update))
    return float(run_trial(agent, family.make_vec(family.sample("test", 200, seed=0)), 1, seed=0).returns.mean())


# Every memory learns in the next test too, which asks more of it.
@pytest.mark.parametrize(
    "memory", [name if name == "gru" else pytest.param(name, marks=pytest.mark.slow) for name in MEMORIES]
)
def test_two_armed_bandit_whose_first_pull_tells_all_is_solved(memory: str) -> None:
    # Best is 5.5: the first pull is a coin toss, the rest are known. Random is 3.
    # At 5e-3 a Transformer stays at random with one seed of four, and which one depends on the machine's rounding.
    learning_rate = 2e-3 if memory == "transformer" else 5e-3
    assert learned(RightArm(), 30, 128, 5.4, memory=memory, hidden_size=32, learning_rate=learning_rate) > 5.3


@pytest.mark.parametrize("horizon", [10, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (25, 50))])
@pytest.mark.parametrize(
    "memory",
    # A recurrent memory and attention, for seconds each: the gradients of all are compared with a plain loop below.
    [
        each if each in ("gru", "transformer") else pytest.param(each, marks=pytest.mark.slow)
        for each in MEMORIES
        if each != "none"
    ],
)
def test_cue_is_remembered_over_many_steps(memory: str, horizon: int) -> None:
    # Best is 1. Without memory, or with one of fewer steps, it is a coin toss.
    # At 1e-2 the associative memory stays at a coin toss on some processors, as their rounding has it.
    learning_rate = 5e-3 if memory == "associative" else 1e-2
    settings = {"hidden_size": 16, "learning_rate": learning_rate, "gae_lambda": 1.0, "discount": 1.0}
    assert learned(Cue(horizon=horizon), 60, 128, 0.97, memory=memory, **settings) > 0.9


def plain_gradient(agent: RL2, trial: Trial) -> dict[str, torch.Tensor]:
    """Return the gradient of PPO's loss at ratio one, by a loop over trials and steps."""
    config, trials = agent.config, sequences(trial)
    read, (inputs, _), _ = agent.read(trials)
    told = torch.zeros(trials.mask.shape[1], 0)
    with torch.no_grad():
        values = reward_lesson(agent).value_scale.to_returns(agent.network.values(read, told)).numpy()
    advantages = reward_lesson(agent).advantages(trials, values)
    targets = reward_lesson(agent).value_scale.from_returns(advantages + values[:-1])
    taken = advantages[trials.mask]
    advantages = (advantages - taken.mean()) / (taken.std() + 1e-8)
    loss, memory = torch.zeros((), dtype=torch.float64), agent.network.memory
    for column in range(trials.mask.shape[1]):
        state = memory.initial_state(1)
        for t in range(trials.mask[:, column].sum()):
            if config.bptt_steps is not None and t % config.bptt_steps == 0:
                state = {name: value.detach() for name, value in state.items()}
            features, state = memory.sequence(inputs[t : t + 1, column : column + 1], state)
            outputs, action = agent.network.actions(features[0, 0]), torch.as_tensor(trials.actions[t, column])
            log_prob = agent.head.log_prob(outputs, action)
            error = agent.network.values(features[0], told[:1])[0] - float(targets[t, column])
            loss = loss - torch.exp(log_prob - log_prob.detach()) * float(advantages[t, column])
            loss = loss + 0.5 * config.ppo.vf_coef * error**2 - config.ppo.ent_coef.start * agent.head.entropy(outputs)
    names, parameters = zip(*agent.network.named_parameters(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss / trials.mask.sum(), parameters), strict=True))


@pytest.mark.parametrize("memory", MEMORIES)
@pytest.mark.parametrize(("bptt_steps", "num_shards"), [(None, 1), (4, 2), (5, 3), (100, 8)])
def test_gradient_equals_a_plain_loop_cut_where_it_says_and_however_it_is_sharded(
    memory: str, bptt_steps: int | None, num_shards: int
) -> None:
    settings = {"num_epochs": 1, "num_minibatches": 1, "max_grad_norm": 1e9, "learning_rate": 1e-15, "ent_coef": 0.3}
    agent = new_agent(
        UnequalEpisodes(), memory=memory, bptt_steps=bptt_steps, num_shards=num_shards, num_layers=2, **settings
    )
    trial = unequal_trial(agent)
    # Reading goes by the moments that were known before the update: those that it learns are for the next.
    agent.config.__dict__["normalize_inputs"] = False
    agent.update(trial, generator(0))
    for name, gradient in plain_gradient(agent, trial).items():
        found = dict(agent.network.named_parameters())[name].grad
        torch.testing.assert_close(found, gradient, rtol=1e-7, atol=1e-9, msg=name)


def test_cut_back_propagation_has_another_gradient_than_an_uncut_one() -> None:
    trial = unequal_trial(new_agent(UnequalEpisodes()))
    whole, cut = (plain_gradient(new_agent(UnequalEpisodes(), bptt_steps=steps), trial) for steps in (None, 4))
    assert not torch.allclose(whole["memory.cells.weight_hh_l0"], cut["memory.cells.weight_hh_l0"], rtol=1e-3)


def test_minibatches_are_whole_trials_each_once_an_epoch() -> None:
    agent = new_agent(UnequalEpisodes(), num_epochs=2, num_minibatches=3)
    batches = list(agent._minibatches(10, generator(0)))
    assert len(batches) == 6
    for epoch in (batches[:3], batches[3:]):
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(10))


def test_rates_follow_their_schedules_and_a_restored_agent_goes_on_where_it_was() -> None:
    settings = {
        "learning_rate": {"start": 0.01, "end": 0.002, "updates": 4},
        "ent_coef": {"start": 0.4, "end": 0.0, "updates": 2},
        "discount": {"start": 0.9, "end": 1.0, "updates": 2},
        "gae_lambda": {"start": 0.8, "end": 0.5, "updates": 3},
    }
    agent, other = (new_agent(UnequalEpisodes(), **settings) for _ in range(2))
    trial = unequal_trial(agent)
    logged = [agent.update(trial, generator(n)) for n in range(3)]
    other.load_state_dict(agent.state_dict())
    logged += [other.update(trial, generator(n)) for n in range(3, 6)]
    assert [m["learning_rate"] for m in logged] == pytest.approx([0.01, 0.008, 0.006, 0.004, 0.002, 0.002])
    assert [m["ent_coef"] for m in logged] == pytest.approx([0.4, 0.2, 0.0, 0.0, 0.0, 0.0])
    assert [m["discount"] for m in logged] == pytest.approx([0.9, 0.95, 1.0, 1.0, 1.0, 1.0])
    assert [m["gae_lambda"] for m in logged] == pytest.approx([0.8, 0.7, 0.6, 0.5, 0.5, 0.5])
    assert other.optimizer.learning_rate == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ppo": {"learning_rate": 0}}, "ppo.learning_rate is 0: it must start above 0"),
        (
            {"ppo": {"learning_rate": {"start": 1e-3, "end": 1e-4}}},
            "end and updates go together; give both, or neither",
        ),
        (
            {"ppo": {"ent_coef": {"start": 0.1, "stop": 0.0}}},
            "ppo.ent_coef.stop: unknown key; known: end, start, updates",
        ),
        ({"ppo": {"ent_coef": -1}}, "ppo.ent_coef.start is -1: it must be greater than or equal to 0"),
        ({"ppo": {"ent_coef": "much"}}, "ppo.ent_coef.start is 'much': it must be a valid number"),
        ({"ppo": {"ent_coef": True}}, "ppo.ent_coef"),
        ({"discount": 1.5}, "discount is 1.5: its start is 1.5; it must be at most 1"),
        ({"gae_lambda": {"start": 0.9, "end": 2, "updates": 3}}, "its end is 2; it must be at most 1"),
        ({"memory": "lsmt"}, "memory.name is 'lsmt': unknown; did you mean 'lstm'?"),
        ({"memory": {"name": "transformer", "hidden_size": 12}}, "take a multiple of 8"),
        ({"memory": {"name": "associative", "hidden_size": 14}}, "take a multiple of 4"),
        (
            {"memory": {"name": "gru", "num_heads": 2}},
            "a setting of 'transformer', but memory.name is 'gru'; write memory={name: transformer, num_heads: ...}",
        ),
        ({"bptt_steps": 0}, "bptt_steps is 0"),
        ({"learning_rate": 1e-3}, "learning_rate: unknown key; write ppo.learning_rate"),
        ({"hidden_size": 8}, "hidden_size: unknown key; write memory.hidden_size"),
        ({"infer_task": True}, "infer_task: unknown key; write inference_coef: 1.0 for true, 0 for false"),
    ],
)
def test_bad_setting_is_told_in_one_line(settings: dict[str, object], words: str) -> None:
    with pytest.raises(MetarlError) as caught:
        make_agent("rl2", UnequalEpisodes(), settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("memory", MEMORIES)
def test_agent_with_every_memory_keeps_the_rules(memory: str) -> None:
    small = choices(RL2Config.model_fields["memory"])[memory](hidden_size=8)

    class Config(RL2Config):
        memory: MemorySettings = small  # type: ignore[assignment]
        bptt_steps: int = 4
        ppo: PPOSettings = ONE_STEP

    # No memory is told which kind of actions there is: the registered agent is checked on the others.
    assert check_agent(type(f"RL2With{memory}", (RL2,), {"Config": Config}), probes()[:1]) == []


def test_agent_with_an_informed_critic_that_infers_the_task_keeps_the_rules() -> None:
    class Config(RL2Config):
        memory: MemorySettings = GRUSettings(hidden_size=8)
        ppo: PPOSettings = ONE_STEP
        critic: Literal["memory", "informed"] = "informed"
        inference_coef: float = 1.0

    assert check_agent(type("Informed", (RL2,), {"Config": Config}), probes()[:1]) == []


def test_an_agent_that_reads_no_rewards_keeps_the_rules() -> None:
    class Config(RL2Config):
        memory: MemorySettings = GRUSettings(hidden_size=8)
        ppo: PPOSettings = ONE_STEP
        reads_rewards: bool = False

    assert check_agent(type("WithoutRewards", (RL2,), {"Config": Config}), probes()[:1]) == []


@pytest.mark.parametrize("reads", [True, False])
def test_rewards_change_what_the_network_sees_only_if_it_reads_them(reads: bool) -> None:
    agent = new_agent(UnequalEpisodes(), reads_rewards=reads)
    agent.update(unequal_trial(agent), generator(0))
    states = []
    for reward in (1.0, -3.0):
        learner = agent.begin(Streams.of(0, np.arange(1)[:, None], np.arange(1)))
        assert isinstance(learner, RL2Learner)
        for step in range(2):
            timestep = TimeStep(
                observations=np.ones((1, 1, 2)),
                previous_actions=np.zeros((1, 1, 2), dtype=np.float32),
                previous_rewards=np.full((1, 1), reward * step),
                previous_terminations=np.zeros((1, 1), dtype=bool),
                previous_truncations=np.zeros((1, 1), dtype=bool),
                active=np.ones((1, 1), dtype=bool),
            )
            learner.act(timestep, deterministic=True)
        states.append(learner.state["hidden"])
    assert torch.equal(*states) is not reads


def test_informed_critic_knows_from_the_first_step_what_memory_must_find_out() -> None:
    agents = {critic: new_agent(Target(), critic=critic, learning_rate=3e-3) for critic in ("memory", "informed")}
    explained = {"memory": 0.0, "informed": 0.0}
    for update in range(30):
        envs = Target().make_vec(Target().sample("train", 64, seed=0, start=64 * update), 1)
        for critic, agent in agents.items():
            told = agent.update(run_trial(agent, envs, 1, seed=update), generator(update))
            explained[critic] = told["explained_variance"]
        if update >= 5 and explained["informed"] > explained["memory"] + 0.2:
            break
    assert explained["informed"] > explained["memory"] + 0.2


def test_memory_that_infers_the_task_comes_to_know_it() -> None:
    """At first as little as its distribution tells, which is a loss of one; the first steps' rewards tell more."""
    family = Target()
    agent = new_agent(family, inference_coef=1.0, learning_rate=3e-3)
    losses = []
    for update in range(40):
        envs = family.make_vec(family.sample("train", 64, seed=0, start=64 * update), 1)
        losses.append(agent.update(run_trial(agent, envs, 1, seed=update), generator(update))["inference_loss"])
        if losses[-1] < 0.5:
            break
    assert losses[0] == pytest.approx(1.0, abs=0.3)
    assert losses[-1] < 0.5


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"critic": "informed"}, "critic: memory"),
        ({"inference_coef": 1.0}, "inference_coef: 0"),
        ({"critic": "informed", "inference_coef": 1.0}, "critic: memory and inference_coef: 0"),
    ],
)
def test_training_that_is_to_be_told_of_tasks_that_are_all_the_same_is_refused_in_one_line(
    settings: dict[str, object], remedy: str
) -> None:
    @dataclass(frozen=True)
    class One(Target):
        name: ClassVar[str] = "one"

        @property
        def parameters(self) -> Mapping[str, Parameter]:
            return {"target": Parameter(Choice((0.5,)))}

    with pytest.raises(MetarlError, match=f"all training tasks of 'one' are the same: .*; take {remedy}$"):
        new_agent(One(), **settings)


def test_rl2_runs_on_the_bandit_whose_arms_it_must_tell_apart() -> None:
    family = load("bernoulli-bandit", "n10-k5")
    agent = new_agent(family)  # type: ignore[arg-type]
    trial = run_trial(agent, family.make_vec(family.sample("train", 4, seed=0), 2), 2, seed=0)
    trials = sequences(trial)
    assert trials.terminated.all()
    assert trials.mask.shape == (20, 8)
