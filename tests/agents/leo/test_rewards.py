"""LEO from rewards: its gradients against a plain loop and finite differences, its codes, and what it learns."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.leo.agent import LEO
from metarl.agents.maml.adaptation import CODE, START, AdaptCode
from metarl.agents.maml.agent import MAML, MAMLLearner
from metarl.agents.maml.codes import CodedObjective
from metarl.agents.maml.records import Round
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.evaluation.evaluate import evaluate
from metarl.families.arrays import ArrayFamily
from metarl.families.load import load
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.agents import plain
from tests.agents.maml.problems import HALF, compare_with_finite_differences, one_task, perturb, play_trial
from tests.families.asked import Lines
from tests.families.kinds import ArrayMeters
from tests.probes import RightArm, UnequalEpisodes

SMALL: dict[str, Any] = {"latent_size": 3, "hidden_sizes": [4], "dtype": "float64", "num_inner_steps": 2}
FIXED = {"inner_lr_kind": "fixed"}
FREE = {"kl": 0.0, "encoder": 0.0, "orthogonality": 0.0, "squares": 0.0}
PENALTIES = {"kl": 0.3, "encoder": 0.5, "orthogonality": 0.7, "squares": 0.2}


def made(family: ArrayFamily, **settings: Any) -> MAML:
    agent = make_agent("leo", family, {**SMALL, **settings}, seed=3, device="cpu")
    assert isinstance(agent, LEO) and isinstance(agent.world, MAML)
    return agent.world


def prepared(family: ArrayFamily, rounds: int, **settings: Any) -> tuple[MAML, tuple[Round, ...]]:
    """Return an agent off the parameters that acted, and rounds with the noise of an update."""
    agent = made(family, initial_std=0.5, inner_lr=0.4, **settings)
    data, _ = agent.rounds.replay(play_trial(agent, family, rounds=rounds, tasks=2, replicas=2))
    perturb(agent)
    return agent, agent.rounds.draw(data, np.random.default_rng(4))


def objective_of(agent: MAML) -> CodedObjective:
    assert isinstance(agent.objective, CodedObjective)
    return agent.objective


def code_by_hand(agent: MAML, meta: Mapping[str, Tensor], data: Round, half: float) -> tuple[Tensor, Tensor]:
    """Return the mean and the deviation of a task's code: pair after pair of runs of steps."""
    config = agent.config.adapts
    assert isinstance(config, AdaptCode)
    steps: list[Tensor | None] = []
    for replica in range(data.mask.shape[1]):
        for t in range(data.mask.shape[0]):
            action = data.actions[t, replica]
            features = action / half if action.dtype.is_floating_point else torch.eye(2).double()[action]
            inputs = torch.cat([data.observations[t, replica], features.clamp(-1, 1), data.outcomes[t, replica]])
            hidden = torch.relu(meta["steps.read.weight"] @ inputs + meta["steps.read.bias"])
            steps.append(meta["steps.encode"] @ hidden if data.mask[t, replica] else None)
    length = math.ceil(len(steps) / config.num_related)
    runs = [[step for step in steps[i : i + length] if step is not None] for i in range(0, len(steps), length)]
    total, taken = torch.zeros(2 * config.size).double(), sum(len(run) for run in runs)
    for one in runs:
        for other in runs:
            if one and other:
                pair = torch.cat([torch.stack(one).mean(0), torch.stack(other).mean(0)])
                pair = torch.relu(meta["steps.relate.1"] @ torch.relu(meta["steps.relate.0"] @ pair))
                total = total + len(one) * len(other) / taken**2 * (meta["steps.relate.2"] @ pair)
    mean, log_std = total[: config.size], total[config.size :]
    return mean, torch.exp(log_std) * config.initial_std


def loss_by_hand(agent: MAML, meta: Mapping[str, Tensor], rounds: tuple[Round, ...], half: float) -> Tensor:
    config, weights = agent.config.adapts, agent.config.adapts.penalties  # type: ignore[union-attr]
    assert isinstance(config, AdaptCode)
    names = [name.removeprefix("latent.decoder.") for name in meta if name.startswith("latent.decoder.")]

    def policy(code: Tensor) -> dict[str, Tensor]:
        return {name: meta[name] + meta[f"latent.decoder.{name}"] @ code for name in names}

    mean, std = code_by_hand(agent, meta, rounds[0], half)
    begun = code = meta[START] + mean + std * rounds[0].noise
    losses = [plain.surrogate(agent, policy(meta[START]), rounds[0], half)]
    for number, data in enumerate(rounds[:-1]):
        if number:
            losses.append(plain.surrogate(agent, policy(code), data, half))
        for _ in range(config.num_inner_steps):
            (slope,) = torch.autograd.grad(plain.inner_loss(agent, policy(code), data, half), code, create_graph=True)
            code = code - meta[f"inner_lr.{START}"] * slope
    losses.append(plain.surrogate(agent, policy(code), rounds[-1], half))
    kl = kl_divergence(Normal(meta[START] + mean, std), Normal(meta[START], torch.ones_like(std))).mean()
    decoder = torch.cat([meta[f"latent.decoder.{name}"].reshape(-1, config.size) for name in names]).T
    rows = [row / row.norm() for row in decoder]
    correlations = torch.stack([(a @ b - float(i == j)) ** 2 for i, a in enumerate(rows) for j, b in enumerate(rows)])
    layers = [value for name, value in meta.items() if name.startswith("steps.") and not name.endswith("bias")]
    squares = torch.stack([value.square().sum() for value in (*layers, decoder)]).sum()
    penalty = weights.kl * kl + weights.encoder * (code.detach() - begun).square().mean()
    penalty = penalty + weights.orthogonality * correlations.mean() + weights.squares * squares / 2
    return torch.stack(losses).mean() + penalty


@pytest.mark.parametrize("num_related", [32, 4])
@pytest.mark.parametrize(
    ("family", "half"),
    [(load("navigation-2d", horizon=3), HALF), (RightArm(horizon=3), 1.0), (UnequalEpisodes(horizon=3), 1.0)],
)
def test_the_meta_gradient_is_that_of_a_plain_loop(family: ArrayFamily, half: float, num_related: int) -> None:
    agent, rounds = prepared(
        family, 3, penalties=PENALTIES, learns_from={"name": "rewards", "num_related": num_related}
    )
    gradients, _ = agent.over_tasks.task_gradients(rounds)
    for task in range(2):
        meta = {name: p.detach().clone().requires_grad_(True) for name, p in agent.parameters.items()}
        loss = loss_by_hand(agent, meta, tuple(one_task(data, task) for data in rounds), half)
        expected = torch.autograd.grad(loss, list(meta.values()), allow_unused=True)
        for name, value in zip(meta, expected, strict=True):
            wanted = torch.zeros_like(meta[name]) if value is None else value
            torch.testing.assert_close(gradients[name][task], wanted, rtol=1e-7, atol=1e-10, msg=name)


@pytest.mark.parametrize("family", [load("navigation-2d", horizon=3), RightArm(horizon=3)])
def test_the_meta_gradient_is_that_of_finite_differences(family: ArrayFamily) -> None:
    compare_with_finite_differences(*prepared(family, 3, penalties=FREE))


def test_the_order_of_steps_and_those_that_were_not_taken_change_no_code() -> None:
    agent, (data, *_) = prepared(UnequalEpisodes(), 2)
    one = one_task(data, 0)
    code = objective_of(agent).encoder(agent.parameters, one)
    order = torch.randperm(len(one.mask), generator=torch.Generator().manual_seed(0))
    turned = one._replace(**{name: getattr(one, name)[order] for name in ("observations", "raw", "actions", "mask")})
    turned = turned._replace(outcomes=one.outcomes[order])
    torch.testing.assert_close(objective_of(agent).encoder(agent.parameters, turned), code)
    assert (data.mask == 0).any()
    noise = torch.where(data.mask[..., None] > 0, data.observations, 1e6)
    for task in range(len(noise)):
        cut = one_task(data._replace(observations=noise), task)
        expected = objective_of(agent).encoder(agent.parameters, one_task(data, task))
        torch.testing.assert_close(objective_of(agent).encoder(agent.parameters, cut), expected)


def test_the_encoder_reads_what_came_next_and_the_final_observation_of_each_episode() -> None:
    family = UnequalEpisodes()
    agent = made(family)
    trial = play_trial(agent, family, rounds=1)
    (data,), episodes = agent.rounds.replay(trial)[0], trial.rounds[0]
    for t, task, replica in np.argwhere(episodes.mask):
        ends = t + 1 == episodes.lengths[task, replica]
        following = episodes.final_observations[task, replica] if ends else episodes.observations[t + 1, task, replica]
        expected = [episodes.rewards[t, task, replica], *following]
        assert data.outcomes[task, t, replica].tolist() == pytest.approx(expected)


def test_rewards_reach_the_encoder_in_units_of_training() -> None:
    family = RightArm()
    agent = made(family)
    trial = play_trial(agent, family, rounds=2)
    agent.update(trial, np.random.default_rng(0))
    rewards = np.concatenate([episodes.rewards.ravel() for episodes in trial.rounds])
    seen = agent.rounds.make(trial.rounds[0], agent.over_tasks.start(3))[0].outcomes[0, :, :, 0].numpy()
    np.testing.assert_allclose(seen, (trial.rounds[0].rewards[:, 0] - rewards.mean()) / rewards.std(), rtol=1e-6)


def test_a_learner_begins_at_the_start_and_takes_the_mean_of_its_code() -> None:
    family = RightArm()
    agent = made(family, num_inner_steps=1, inner_lr=1e-9, learns_from={"name": "rewards", "outer": FIXED})
    perturb(agent)
    learner = agent.begin(Streams.of(0, np.arange(3)[:, None], np.arange(4)))
    assert isinstance(learner, MAMLLearner)
    assert torch.equal(learner.fast[START], agent.parameters[START].detach().expand(3, -1))
    (data, _), _ = agent.rounds.replay(play_trial(agent, family, rounds=2))
    learner.fast = agent.over_tasks.adapt(learner.fast, data)
    for task in range(3):
        mean = objective_of(agent).encoder(agent.parameters, one_task(data, task)).mean
        torch.testing.assert_close(learner.fast[CODE][task], (agent.parameters[START] + mean).detach())


QUICK: dict[str, Any] = {
    "hidden_sizes": [16],
    "learns_from": {"name": "rewards", "outer": {**FIXED, "learning_rate": 0.02, "rounds": "all"}},
}


@pytest.mark.parametrize("inner_lr", [1.0, 1e-9])
def test_the_right_arm_is_found_and_kept_by_steps_and_encoder_and_by_the_encoder_alone(inner_lr: float) -> None:
    family = RightArm()
    agent = make_agent("leo", family, {**QUICK, "inner_lr": inner_lr}, seed=0, device="cpu")
    assert isinstance(agent, LEO)
    for update in range(8):
        with contextlib.closing(family.make_vec(family.sample("train", 10, seed=update), 4)) as envs:
            agent.update(run_trial(agent, envs, 2, seed=update), np.random.default_rng(update))
    first, second = evaluate(agent, family, num_tasks=40, rounds=2, replicas=4).returns.mean(axis=0)
    assert first < 4.5 and second > 5.5


def test_it_goes_on_bitwise_from_its_state() -> None:
    family = RightArm()
    agent, other = (make_agent("leo", family, SMALL, seed=seed, device="cpu") for seed in (0, 1))
    assert isinstance(agent, LEO) and isinstance(other, LEO)
    trial = play_trial(agent.world, family, rounds=2)  # type: ignore[arg-type]
    agent.update(trial, np.random.default_rng(0))
    other.load_state_dict(agent.state_dict())
    for each in (agent, other):
        each.update(trial, np.random.default_rng(1))
    for name, value in agent.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_images_are_encoded_task_by_task_as_in_one_call() -> None:
    family = ArrayMeters(seen="image")
    agent = made(family, encoder={"name": "auto", "channels": [2], "image_features": 3})
    perturb(agent)
    rounds = agent.rounds.draw(
        agent.rounds.replay(play_trial(agent, family, rounds=2, replicas=1))[0], np.random.default_rng(0)
    )
    assert agent.over_tasks.one_by_one
    gradients, _ = agent.over_tasks.task_gradients(rounds)
    gradient = torch.func.grad(lambda meta, data: objective_of(agent).outer_loss(meta, data)[0])
    meta = {name: value.detach() for name, value in agent.parameters.items()}
    for name, value in torch.vmap(gradient, in_dims=(None, 0))(meta, rounds).items():
        torch.testing.assert_close(gradients[name], value)
    assert any(name.startswith("encoder.") and bool(value.any()) for name, value in gradients.items())


@pytest.mark.parametrize("outer", ["trpo", {"name": "ppo", "meta_gradient": "first-order"}])
def test_the_code_of_maml_composes_with_its_meta_steps(outer: Any) -> None:
    family = RightArm(horizon=3)
    agent = make_agent("maml-ppo", family, {"adapts": "code", "outer": outer, "hidden_sizes": [4]}, device="cpu")
    assert isinstance(agent, MAML)
    metrics = agent.update(play_trial(agent, family, rounds=2), np.random.default_rng(0))
    assert np.isfinite(list(metrics.values())).all() and metrics["code_kl"] > 0


def test_rewards_are_learned_from_where_a_family_knows_answers_too() -> None:
    agent = make_agent("leo", Lines(), {"learns_from": "rewards", "hidden_sizes": [4]})
    assert isinstance(agent, LEO) and isinstance(agent.world, MAML) and agent.answers_in_training
    targets, hidden = (make_agent("leo", Lines(reveal=when), {"hidden_sizes": [4]}) for when in ("round", "never"))
    assert isinstance(targets, LEO) and not targets.answers_in_training
    assert isinstance(hidden, LEO) and isinstance(hidden.world, MAML)


@pytest.mark.parametrize(
    ("family", "settings", "said"),
    [
        (RightArm(), {"learning_rate": 0.5}, "agent.learning_rate is 0.5, but 'leo' learns from rewards here"),
        (RightArm(), {"learns_from": {"name": "rewards", "initial_std": 1e-4}}, "initial_std is 0.0001, below min_std"),
        (RightArm(), {"learns_from": {"name": "rewards", "outer": "trpo"}}, "learns_from.*outer"),
        (Lines(), {"num_finetune_steps": 2}, r"num_finetune_steps.*learns_from=\{name: targets, num_finetune_steps"),
    ],
)
def test_a_setting_that_does_not_count_is_refused(family: Any, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(MetarlError, match=said):
        make_agent("leo", family, settings)


def test_reptile_cannot_move_a_code_and_right_answers_know_none() -> None:
    with pytest.raises(MetarlError, match="outer 'reptile' moves only what adapts, here 'code'"):
        make_agent("maml-ppo", RightArm(), {"adapts": "code", "outer": "reptile"})
    with pytest.raises(MetarlError, match="adapts"):
        make_agent("maml", Lines(), {"adapts": "code"})
