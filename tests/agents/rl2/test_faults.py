"""Faults of RL^2 that its other tests let pass: each planted in the code fails one of these."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple, cast

import numpy as np
import pytest
import torch
from metarl.agents.common.advantage import explained_variance
from metarl.agents.common.moments import RunningMoments
from metarl.agents.common.sequences import sequences
from metarl.agents.memories.config import LinearSettings
from metarl.agents.memories.contract import Memory, State
from metarl.agents.memories.linear_recurrence import LinearRecurrence
from metarl.agents.memories.make import make_memory
from metarl.agents.memories.transformer import Transformer
from metarl.agents.rl2.agent import RL2, RL2Learner
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams, generator
from metarl.checks.probes import Reach
from metarl.evaluation.evaluate import evaluate
from metarl.families.arrays import ArrayFamily
from metarl.families.task import Tasks
from metarl.trials.episodes import TimeStep, Trial
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.agents.memories.small import small_memory
from tests.agents.rl2.test_agent import new_agent, reward_lesson, unequal_trial
from tests.agents.test_spaces import AnySpaces
from tests.probes import UnequalEpisodes
from tests.scripted import Numbered


class Column(NamedTuple):
    """One trial, without the steps that were not taken."""

    inputs: Tensor
    """[steps + 1, d]"""
    task: Tensor
    """What training may be told of the task, [1, number]"""
    actions: Tensor
    rewards: list[float]
    terminated: bool


class PlainRL2:
    """The update of RL^2 by loops over trials, epochs and pieces, from the episodes as they were recorded."""

    def __init__(self, agent: RL2, family: ArrayFamily) -> None:
        self.config, self.head, self.family = agent.config, agent.head, family
        self.network = copy.deepcopy(agent.network)
        self.parameters = list(self.network.parameters())
        self.optimizer = torch.optim.Adam(self.parameters)
        self.rows = np.zeros((0, agent.inputs.encoder.num_scaled + 1))
        self.mean = self.square = None
        self.updates = 0

    @property
    def std(self) -> float:
        return 1.0 if self.mean is None else max(self.square - self.mean**2, 1e-6) ** 0.5

    def seen(self, observation: np.ndarray, reward: float) -> np.ndarray:
        row = np.array([*observation.reshape(-1), reward], dtype=np.float64)
        if not len(self.rows):
            return row
        spread = self.rows.std(axis=0)
        return np.where(
            spread > 0, np.clip((row - self.rows.mean(axis=0)) / np.where(spread > 0, spread, 1), -10, 10), 0
        )

    def column(self, trial: Trial, task: int, replica: int) -> Column:
        inputs, actions, rewards = [], [], []
        for episodes in trial.rounds:
            length = episodes.lengths[task, replica]
            end = episodes.final_observations[None]
            for t, observation in enumerate(np.concatenate([episodes.observations[:length], end])[:, task, replica]):
                if t == length and episodes is not trial.rounds[-1]:
                    continue  # the next round's first observation stands in its place
                if t > 0:  # an end is told with the first observation of the next round alone
                    ended = [False, False]
                inputs.append(self.input_of(observation, actions, rewards, ended if actions else [False, False]))
                if t < length:
                    actions.append(episodes.actions[t, task, replica])
                    rewards.append(float(episodes.rewards[t, task, replica]))
            ended = [bool(kind[length - 1, task, replica]) for kind in (episodes.terminations, episodes.truncations)]
        told = self.told(trial.tasks)[task : task + 1]
        return Column(torch.stack(inputs), told, torch.as_tensor(np.stack(actions)), rewards, ended[0])

    def told(self, tasks: Tasks) -> Tensor:
        """Return the numbers of tasks in units of their spread over training, [task, number]."""
        if self.config.critic == "memory" and not self.config.inference_coef:
            return torch.zeros(len(tasks), 0)
        seen = self.family.sample("train", 1000, seed=0)
        rows = [
            [
                (number - column.mean()) / column.std()
                for name, value in task.items()
                for number, column in zip(np.ravel(value), seen.values[name].reshape(1000, -1).T, strict=True)
            ]
            for task in tasks
        ]
        return torch.tensor(rows, dtype=torch.float64)

    def values(self, features: Tensor, column: Column) -> Tensor:
        """Return values by the equation, [steps]."""
        network = self.network
        if network.insight is None:
            return (features @ network.value.weight.T + network.value.bias)[:, 0]
        memory, task = network.insight.of_memory, network.insight.of_task
        chosen = torch.nn.functional.gelu(features @ memory.weight.T + memory.bias)
        both = torch.cat([features, chosen * (task.weight @ column.task[0] + task.bias)], dim=1)
        return (both @ network.value.weight.T + network.value.bias)[:, 0]

    def input_of(self, observation: np.ndarray, actions: list, rewards: list, ended: list[bool]) -> Tensor:
        seen = self.seen(observation, rewards[-1] if rewards else 0.0)
        action = torch.zeros(self.head.num_features, dtype=torch.float64)
        if actions:
            action = torch.as_tensor(self.head.features(np.asarray(actions[-1]))).double()
        else:
            seen[-1] = 0.0
        return torch.cat([torch.from_numpy(seen), action, torch.tensor(ended, dtype=torch.float64)])

    def pieces(self, column: Column, states: list[State] | None) -> Iterator[tuple[State, Tensor]]:
        memory = self.network.memory
        state = memory.initial_state(1)
        for number, piece in enumerate(column.inputs[:-1].split(self.config.bptt_steps or len(column.inputs))):
            state = state if states is None else states[number]
            features, following = memory.sequence(piece[:, None], state)
            yield state, features[:, 0]
            state = following
        if states is None:
            yield state, memory.sequence(column.inputs[-1:, None], state)[0][:, 0]

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        config = self.config
        shape = trial.rounds[0].lengths.shape
        columns = [self.column(trial, *place) for place in np.ndindex(shape)]
        own = [slice(int(trial.exploring_steps[place]), None) for place in np.ndindex(shape)]
        states, old, values, advantages = [], [], [], []
        discount, gae_lambda = config.discount.at(self.updates), config.gae_lambda.at(self.updates)
        with torch.no_grad():
            for column in columns:
                read = list(self.pieces(column, None))
                features = torch.cat([part for _, part in read])
                states.append([state for state, _ in read])
                old.append(self.head.log_prob(self.network.actions(features[:-1]), column.actions))
                value = self.values(features, column).numpy() * self.std + (self.mean or 0.0)
                following = [*value[1:-1], 0.0 if column.terminated else value[-1]]
                carry, estimates = 0.0, []
                for reward, now, later in reversed(list(zip(column.rewards, value, following, strict=False))):
                    carry = reward + discount * later - now + discount * gae_lambda * carry
                    estimates.append(carry)
                advantages.append(np.array(estimates[::-1]))
                values.append(value[:-1])
        returns = [advantage + value for advantage, value in zip(advantages, values, strict=True)]
        told = np.concatenate([each[mine] for each, mine in zip(returns, own, strict=True)])
        foretold = np.concatenate([each[mine] for each, mine in zip(values, own, strict=True)])
        explained = explained_variance(foretold, told, np.ones(len(told), dtype=bool))
        self.follow(told)
        targets = [torch.from_numpy((each - self.mean) / self.std) for each in returns]
        every = np.concatenate([each[mine] for each, mine in zip(advantages, own, strict=True)])
        scaled = [torch.from_numpy((each - every.mean()) / (every.std() + 1e-8)) for each in advantages]
        rates = config.ppo.learning_rate.at(self.updates), config.ppo.ent_coef.at(self.updates)
        self.optimizer.param_groups[0]["lr"] = rates[0]
        history = []
        for _ in range(config.ppo.num_epochs):
            for chosen in np.array_split(rng.permutation(len(columns)), config.ppo.num_minibatches):
                taken: list[list[Tensor]] = [[], [], [], [], []]
                infer = self.network.inference
                for i in chosen:
                    features = torch.cat([part for _, part in self.pieces(columns[i], states[i])])
                    outputs = self.network.actions(features)
                    log_ratio = self.head.log_prob(outputs, columns[i].actions) - old[i]
                    error = (self.values(features, columns[i]) - targets[i]).square()
                    wrong = torch.zeros(len(features))
                    if infer is not None:
                        wrong = (features @ infer.weight.T + infer.bias - columns[i].task[0]).square().mean(dim=1)
                    for into, what in zip(
                        taken, (log_ratio, scaled[i], error, self.head.entropy(outputs), wrong), strict=True
                    ):
                        into.append(what[own[i]])
                log_ratio, advantage, error, entropy, wrong = (torch.cat(part) for part in taken)
                ratio = log_ratio.exp()
                clipped = ratio.clamp(1 - config.ppo.clip_range, 1 + config.ppo.clip_range)
                surrogate = torch.minimum(ratio * advantage, clipped * advantage).mean()
                loss = -surrogate + config.ppo.vf_coef * 0.5 * error.mean() - rates[1] * entropy.mean()
                loss = loss + config.inference_coef * wrong.mean()
                self.optimizer.zero_grad()
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(self.parameters, config.ppo.max_grad_norm)
                self.optimizer.step()
                history.append(
                    {
                        "loss": loss.item(),
                        "value_loss": (0.5 * error.mean()).item(),
                        "entropy": entropy.mean().item(),
                        "kl": (ratio - 1 - log_ratio).mean().item(),
                        "clip_fraction": ((ratio - 1).abs() > config.ppo.clip_range).double().mean().item(),
                        "ratio_deviation": (ratio - 1).abs().mean().item(),
                        "gradient_norm": norm.item(),
                        **({} if infer is None else {"inference_loss": wrong.mean().item()}),
                    }
                )
        if config.normalize_inputs:
            for episodes in trial.rounds:
                observed = episodes.observations[episodes.mask].reshape(episodes.mask.sum(), -1)
                rows = np.concatenate([observed, episodes.rewards[episodes.mask][:, None]], axis=1)
                self.rows = np.concatenate([self.rows, rows])
        self.updates += 1
        metrics = {name: float(np.mean([step[name] for step in history])) for name in history[0]}
        return {
            **metrics,
            "learning_rate": rates[0],
            "ent_coef": rates[1],
            "discount": discount,
            "gae_lambda": gae_lambda,
            "first_ratio_deviation": history[0]["ratio_deviation"],
            "explained_variance": explained,
        }

    def follow(self, returns: np.ndarray) -> None:
        """Move the scale of values a tenth of the way, at first all of it; predictions in units of return stay."""
        mean, std = self.mean or 0.0, self.std
        moments = returns.mean(), np.square(returns).mean()
        if self.mean is None:
            self.mean, self.square = moments
        else:
            self.mean += 0.1 * (moments[0] - self.mean)
            self.square += 0.1 * (moments[1] - self.square)
        with torch.no_grad():
            weight, bias = (std * each for each in (self.network.value.weight, self.network.value.bias))
            self.network.value.weight.copy_(weight / self.std)
            self.network.value.bias.copy_((bias + mean - self.mean) / self.std)


SETTINGS = {
    "num_epochs": 3,
    "num_minibatches": 2,
    "num_shards": 3,
    "clip_range": 0.07,
    "vf_coef": 0.8,
    "max_grad_norm": 0.4,
    "discount": {"start": 0.9, "end": 1.0, "updates": 2},
    "gae_lambda": {"start": 0.6, "end": 0.3, "updates": 4},
    "learning_rate": {"start": 0.02, "end": 0.005, "updates": 2},
    "ent_coef": {"start": 0.3, "end": 0.1, "updates": 2},
}


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        (Numbered(), {"memory": "gru", "bptt_steps": 3}),
        (Numbered(), {"memory": "transformer", "num_heads": 2}),
        (UnequalEpisodes(), {"memory": "linear", "bptt_steps": 4, "initial_std": 0.4}),
        (UnequalEpisodes(), {"memory": "lstm", "normalize_inputs": False}),
        (UnequalEpisodes(), {"memory": "gru", "bptt_steps": 4, "exploring_starts": {"share": 0.7, "steps": 12}}),
        (Numbered(), {"memory": "linear", "exploring_starts": {"share": 1.0, "steps": 4}}),
        (UnequalEpisodes(), {"memory": "lstm", "critic": "informed", "bptt_steps": 4}),
        (Reach(), {"memory": "gru", "critic": "informed"}),
        (Reach(), {"memory": "gru", "inference_coef": 0.3, "exploring_starts": {"share": 0.7}}),
        (UnequalEpisodes(), {"memory": "lstm", "inference_coef": 1.0, "critic": "informed", "bptt_steps": 4}),
    ],
)
def test_updates_equal_those_of_plain_loops_number_by_number(family: ArrayFamily, settings: dict[str, object]) -> None:
    agent = new_agent(family, **{**SETTINGS, **settings})
    plain = PlainRL2(agent, family)
    envs = family.make_vec(family.sample("train", 5, seed=1), 2)
    for update in range(3):
        trial = run_trial(agent, envs, 3, seed=update, training=True)
        assert trial.exploring_steps.any() == ("exploring_starts" in settings)
        assert len({int(n) for e in trial.rounds for n in e.lengths.flat}) > 2
        told, expected = agent.update(trial, generator(update)), plain.update(trial, generator(update))
        assert told.keys() == expected.keys()
        for name, value in expected.items():
            assert told[name] == pytest.approx(value, rel=1e-6, abs=1e-9), (update, name)
        for (name, mine), theirs in zip(agent.network.named_parameters(), plain.parameters, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-8, msg=f"{update}, {name}")


def test_restored_agent_goes_on_bitwise_as_the_one_it_was_saved_from() -> None:
    agent = new_agent(UnequalEpisodes(), memory="lstm", dtype="float32", learning_rate=0.02)
    trial = unequal_trial(agent)
    for update in range(2):
        agent.update(trial, generator(update))
    other = cast(RL2, make_agent("rl2", UnequalEpisodes(), agent.config.model_dump(), seed=8, device="cpu"))
    other.load_state_dict(agent.state_dict())
    played = [unequal_trial(each) for each in (agent, other)]
    for mine, theirs in zip(*(each.rounds for each in played), strict=True):
        np.testing.assert_array_equal(mine.actions, theirs.actions)
    assert agent.update(played[0], generator(2)) == other.update(played[1], generator(2))
    mine, theirs = agent.state_dict(), other.state_dict()
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        assert torch.equal(value, theirs[name]), name


def test_state_given_out_is_a_copy_that_later_updates_leave_alone() -> None:
    agent = new_agent(UnequalEpisodes())
    trial = unequal_trial(agent)
    agent.update(trial, generator(0))
    state = agent.state_dict()
    kept = {name: value.clone() for name, value in state.items()}
    agent.update(trial, generator(1))
    moved = [name for name, value in agent.state_dict().items() if not torch.equal(value, kept[name])]
    assert {"num_updates", "input_moments.count", "value_scale.mean", "log_std", "optimizer.log_std.step"} <= set(moved)
    assert all(torch.equal(value, kept[name]) for name, value in state.items())


def test_trial_cut_off_before_its_neighbours_end_is_bootstrapped_from_its_own_final_observation() -> None:
    agent = new_agent(UnequalEpisodes(), discount=0.5, gae_lambda=0.0)
    trials = sequences(unequal_trial(agent))._replace(terminated=np.zeros(8, dtype=bool))
    lengths = trials.mask.sum(axis=0)
    assert len(set(lengths)) > 1
    values = np.zeros((len(trials.mask) + 1, 8))
    values[lengths, np.arange(8)] = 100.0 + np.arange(8)
    computed = reward_lesson(agent).advantages(trials, values)
    for column, length in enumerate(lengths):
        expected = trials.rewards[:length, column].copy()
        expected[-1] += 0.5 * (100.0 + column)
        np.testing.assert_allclose(computed[:length, column], expected)


def test_noiseless_actions_are_the_means_and_leave_the_streams_alone() -> None:
    agent = new_agent(UnequalEpisodes())
    timestep = TimeStep(
        observations=np.ones((2, 3, 2)),
        previous_actions=np.zeros((2, 3, 2), dtype=np.float32),
        previous_rewards=np.zeros((2, 3)),
        previous_terminations=np.zeros((2, 3), dtype=bool),
        previous_truncations=np.zeros((2, 3), dtype=bool),
        active=np.ones((2, 3), dtype=bool),
    )
    learner = agent.begin(Streams.of(0, np.arange(2)[:, None], np.arange(3)))
    assert isinstance(learner, RL2Learner)
    actions = learner.act(timestep, deterministic=True)
    assert (actions == actions[0, 0]).all()
    assert (learner.streams.counters == 0).all()
    noisy = agent.begin(Streams.of(0, np.arange(2)[:, None], np.arange(3))).act(timestep, deterministic=False)
    assert len(np.unique(noisy[..., 0])) == 6


def test_first_policy_is_nearly_uniform_with_the_deviation_it_is_told() -> None:
    agent = cast(
        RL2, make_agent("rl2", UnequalEpisodes(), {"initial_std": 0.35, "memory": {"hidden_size": 16}}, seed=0)
    )
    torch.testing.assert_close(agent.network.log_std.exp().detach(), torch.full((2,), 0.35))
    rows = agent.network.policy.weight.detach()
    torch.testing.assert_close(rows @ rows.T, 1e-4 * torch.eye(2), rtol=1e-4, atol=1e-9)
    assert agent.network.value.weight.norm().item() == pytest.approx(1.0)


def test_first_weights_follow_from_the_seed() -> None:
    one, same, other = (
        torch.cat([p.flatten() for p in cast(RL2, made).network.parameters()])
        for made in (
            make_agent("rl2", UnequalEpisodes(), {"memory": {"hidden_size": 8}}, seed=seed) for seed in (5, 5, 6)
        )
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def fresh(name: str, size: int = 64) -> Memory:
    memory = small_memory(name, 5, size, 2).double()
    memory.initialize(torch.Generator().manual_seed(0))
    return memory


def test_forget_gates_of_an_lstm_begin_open_and_all_other_biases_at_zero() -> None:
    for name, parameter in fresh("lstm").named_parameters():
        if "bias" in name:
            _, forget, *_ = gates = parameter.detach().chunk(4)
            assert (forget == (1.0 if "bias_ih" in name else 0.0)).all()
            assert all((gate == 0).all() for gate in gates if gate is not forget)


@pytest.mark.parametrize(("name", "gates"), [("gru", 3), ("lstm", 4)])
def test_each_gate_of_a_recurrent_memory_begins_orthogonal(name: str, gates: int) -> None:
    memory = fresh(name, size=16)
    for block in dict(memory.named_parameters())["cells.weight_hh_l1"].detach().chunk(gates):
        torch.testing.assert_close(block @ block.T, torch.eye(16, dtype=torch.float64))


def test_units_of_a_linear_recurrence_keep_nine_tenths_to_nearly_all_at_first() -> None:
    memory = fresh("linear", size=256)
    assert isinstance(memory, LinearRecurrence)
    for layer in memory.blocks:
        with torch.no_grad():
            # Nothing comes in and biases are zero: every gate is half open.
            kept, _, _ = layer.recurrence(torch.zeros(1, 256, dtype=torch.float64))
        assert 0.9 <= kept.min() < 0.91
        assert 0.99 < kept.max() <= 0.999
        assert kept.mean().item() == pytest.approx(0.9495, abs=0.005)


def test_first_features_of_a_transformer_are_of_the_present_step_alone() -> None:
    memory = fresh("transformer")
    inputs, others = torch.randn(2, 6, 3, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    other = torch.cat([others[:5], inputs[5:]])
    with torch.no_grad():
        one, another = (memory.sequence(each, memory.initial_state(3))[0] for each in (inputs, other))
    torch.testing.assert_close(one[5], another[5])
    assert not torch.allclose(one[4], another[4])
    for name, parameter in memory.named_parameters():
        if parameter.dim() == 2 and "out" not in name:
            assert parameter.std().item() == pytest.approx(parameter.shape[1] ** -0.5, rel=0.1)


def moved(memory: Memory) -> dict[str, np.ndarray]:
    """Move every weight of a memory off its first value, and return them all."""
    with torch.no_grad():
        for index, parameter in enumerate(memory.parameters()):
            parameter += 0.2 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(index), dtype=torch.float64
            )
    return {name: parameter.detach().numpy() for name, parameter in memory.named_parameters()}


def normed(x: np.ndarray, weights: dict[str, np.ndarray], name: str) -> np.ndarray:
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def through(x: np.ndarray, weights: dict[str, np.ndarray], name: str) -> np.ndarray:
    return weights[f"{name}.weight"] @ x + weights[f"{name}.bias"]


def gelu(x: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    return x * ndtr(x)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def mlp(x: np.ndarray, weights: dict[str, np.ndarray], layer: str) -> np.ndarray:
    inner = through(normed(x, weights, f"{layer}.mlp_norm"), weights, f"{layer}.mlp_into")
    return x + through(gelu(inner), weights, f"{layer}.mlp_out")


def test_linear_recurrence_equals_the_equations_of_griffin() -> None:
    memory = fresh("linear", size=8)
    weights, inputs = moved(memory), np.random.default_rng(0).normal(size=(7, 5))
    with torch.no_grad():
        found, _ = memory.sequence(torch.from_numpy(inputs)[:, None], memory.initial_state(1))
    states: list[np.ndarray] = [np.zeros(8), np.zeros(8)]
    history: list[list[np.ndarray]] = [[], []]
    for t, seen in enumerate(inputs):
        x = through(seen, weights, "embed")
        for number in range(2):
            layer = f"layers.{number}"
            history[number].insert(0, normed(x, weights, f"{layer}.norm"))
            taps = weights[f"{layer}.taps"]
            mixed = np.sum([tap * past for tap, past in zip(taps, history[number], strict=False)], axis=0)
            value, gate, forget, out = through(mixed, weights, f"{layer}.into").reshape(4, 8)
            kept = sigmoid(-weights[f"{layer}.rate"]) ** (8 * sigmoid(forget))
            states[number] = kept * states[number] + np.sqrt(1 - kept**2) * sigmoid(gate) * value
            x = mlp(x + through(states[number] * gelu(out), weights, f"{layer}.out"), weights, layer)
        np.testing.assert_allclose(found[t, 0].numpy(), normed(x, weights, "norm"), atol=1e-10)


def test_transformer_equals_plain_attention_with_features_turned_as_complex_numbers() -> None:
    memory = fresh("transformer", size=16)
    assert isinstance(memory, Transformer)
    weights, inputs = moved(memory), np.random.default_rng(0).normal(size=(9, 5))
    with torch.no_grad():
        found, _ = memory.sequence(torch.from_numpy(inputs)[:, None], memory.initial_state(1))
    rates = 10_000.0 ** (-np.arange(4) / 4)
    xs = [through(seen, weights, "embed") for seen in inputs]
    for number in range(2):
        layer, keys, values, put_out = f"layers.{number}", [], [], []
        for t, x in enumerate(xs):
            into = through(normed(x, weights, f"{layer}.norm"), weights, f"{layer}.into").reshape(3, 2, 8)
            query, key = ((into[i, :, :4] + 1j * into[i, :, 4:]) * np.exp(1j * t * rates) for i in range(2))
            keys.append(key)
            values.append(into[2])
            scores = np.real(query * np.conj(np.stack(keys))).sum(axis=-1) / np.sqrt(8)
            weight = np.exp(scores) / np.exp(scores).sum(axis=0)
            attended = (weight[..., None] * np.stack(values)).sum(axis=0).reshape(-1)
            put_out.append(mlp(x + through(attended, weights, f"{layer}.out"), weights, layer))
        xs = put_out
    for t, x in enumerate(xs):
        np.testing.assert_allclose(found[t, 0].numpy(), normed(x, weights, "norm"), atol=1e-10)


def test_replicas_are_trials_of_their_own_that_cost_their_own_steps() -> None:
    agent = new_agent(Numbered())
    several = evaluate(agent, Numbered(), num_tasks=3, rounds=2, replicas=4)
    trial_steps = several.env_steps_per_task
    assert (trial_steps[:, 0] <= Numbered().horizon).all()
    assert (trial_steps[:, 1] <= 2 * Numbered().horizon).all()


def test_inputs_far_from_all_that_were_seen_are_cut_off_at_ten_deviations() -> None:
    moments = RunningMoments(1)
    moments.add(np.array([[-1.0], [1.0]]))
    np.testing.assert_allclose(moments.normalize(np.array([[9.0], [11.0], [-1e9]])), [[9.0], [10.0], [-10.0]])


@pytest.mark.parametrize("start", [1, -4])
def test_last_piece_that_is_filled_up_holds_no_action_outside_the_space(start: int) -> None:
    family = AnySpaces(discrete_start=start)  # 3 steps, in pieces of 2
    agent = cast(RL2, make_agent("rl2", family, {"bptt_steps": 2, "memory": {"hidden_size": 8}}, device="cpu"))
    trial = run_trial(agent, family.make_vec(family.sample("train", 3, seed=0)), 1, seed=0)
    assert np.isfinite(agent.update(trial, generator(0))["loss"])


def test_steps_that_fill_up_a_piece_do_not_overflow_under_a_sharp_policy() -> None:
    family = AnySpaces(acted=(16,))
    settings = {"bptt_steps": 2, "memory": {"hidden_size": 8}, "initial_std": 1e-3, "ppo": {"learning_rate": 1e-6}}
    agent = cast(RL2, make_agent("rl2", family, settings, device="cpu"))
    trial = run_trial(agent, family.make_vec(family.sample("train", 3, seed=0)), 1, seed=0)
    assert np.isfinite(agent.update(trial, generator(0))["loss"])


def test_steps_that_were_not_taken_do_not_overflow_under_a_sharp_policy() -> None:
    family = UnequalEpisodes()
    agent = cast(
        RL2, make_agent("rl2", family, {"initial_std": 0.02, "ppo": {"learning_rate": 3e-3}}, seed=0, device="cpu")
    )
    with torch.no_grad():
        agent.network.policy.weight *= 100
    tasks = Tasks({"length": np.array([1.0, 3.0, 6.0, 8.0])}, np.array([4, 9, 2, 7]))
    for update in range(3):
        trial = run_trial(agent, family.make_vec(tasks, 2), 3, seed=update)
        assert np.isfinite(agent.update(trial, generator(update))["loss"])


@pytest.mark.parametrize("memory", ["gru", "lstm", "linear"])
def test_first_weights_do_not_depend_on_the_number_of_threads(memory: str) -> None:
    threads, drawn = torch.get_num_threads(), []
    try:
        for number in (1, 2, 4):
            torch.set_num_threads(number)
            agent = cast(RL2, make_agent("rl2", UnequalEpisodes(), {"memory": memory}, seed=0, device="cpu"))
            drawn.append(torch.cat([parameter.detach().flatten() for parameter in agent.network.parameters()]))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(each, drawn[0]) for each in drawn)


def test_unit_of_a_linear_recurrence_that_forgets_nothing_has_a_finite_gradient() -> None:
    memory = make_memory(LinearSettings(hidden_size=8), 5)
    memory.initialize(torch.Generator().manual_seed(0))
    with torch.no_grad():
        memory.blocks[0].rate[0] = -110.0  # type: ignore[union-attr, index]
    inputs = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(1))
    features, _ = memory.sequence(inputs, memory.initial_state(3))
    for gradient in torch.autograd.grad(features.square().sum(), list(memory.parameters())):
        assert torch.isfinite(gradient).all()


def test_gradient_that_is_not_finite_stops_the_update_and_leaves_the_agent_bitwise_as_it_was() -> None:
    agent = new_agent(UnequalEpisodes(), learning_rate=1e200)
    trial = unequal_trial(agent)
    before = agent.state_dict()
    with pytest.raises(MetarlError, match=r"the gradient's norm is (nan|inf); take a lower agent.ppo.learning_rate"):
        agent.update(trial, generator(0))
    for name, value in agent.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_bootstrap_is_of_the_episode_going_on_and_not_of_an_end_that_no_step_was_taken_at() -> None:
    trial = unequal_trial(new_agent(UnequalEpisodes()), lengths=(8, 8))
    after = sequences(trial).timesteps
    assert not sequences(trial).terminated.any()
    assert not after.previous_truncations[-1].any()
    assert after.previous_truncations[6].all()  # between the episodes it is told
    np.testing.assert_array_equal(after.previous_rewards[-1], trial.rounds[-1].rewards[-1].reshape(-1))
