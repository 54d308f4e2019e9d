"""MAML-PPO against finite differences, plain loops and problems with a known answer."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from metarl.agents.maml_ppo import MAMLPPO, Round
from torch import Tensor

from metarl.advantage import discounted_returns, linear_baseline
from metarl.agent import make_agent
from metarl.errors import MetarlError
from metarl.families import ArrayFamily
from metarl.streams import Streams, generator
from metarl.task import Tasks, load
from metarl.trial import Trial, rollout, run_trial
from tests.probes import RightArm, Target, UnequalEpisodes


def new_agent(family: ArrayFamily, **settings: object) -> MAMLPPO:
    agent = make_agent("maml-ppo", family, {"dtype": "float64", "hidden_sizes": [4], **settings}, seed=3, device="cpu")
    assert isinstance(agent, MAMLPPO)
    return agent


def played_trial(agent: MAMLPPO, family: ArrayFamily, *, rounds: int, tasks: int = 3, replicas: int = 4) -> Trial:
    envs = family.make_vec(family.sample("train", tasks, seed=5), replicas)
    return run_trial(agent, envs, rounds, seed=8)


def moved_away(agent: MAMLPPO) -> None:
    """Move the parameters off those that acted, where ratios are not one and nothing cancels by accident."""
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in agent.parameters.values():
            parameter += 0.05 * torch.randn(parameter.shape, generator=noise, dtype=parameter.dtype)


def gradient_of(agent: MAMLPPO, loss: Tensor) -> dict[str, Tensor]:
    return dict(zip(agent.parameters, torch.autograd.grad(loss, list(agent.parameters.values())), strict=True))


def finite_difference(agent: MAMLPPO, loss: Callable[[], float], direction: dict[str, Tensor], step: float) -> float:
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for name, parameter in agent.parameters.items():
                parameter += sign * step * direction[name]
        values.append(loss())
        with torch.no_grad():
            for name, parameter in agent.parameters.items():
                parameter -= sign * step * direction[name]
    return (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize("inner_steps", [1, 2, 3])
@pytest.mark.parametrize("family", [load("navigation-2d", horizon=5), RightArm(), UnequalEpisodes()])
def test_meta_gradient_equals_finite_differences(family: ArrayFamily, inner_steps: int) -> None:
    agent = new_agent(family, inner_lr=0.5)
    rounds, _ = agent._replayed(played_trial(agent, family, rounds=inner_steps + 1))
    moved_away(agent)
    gradient = gradient_of(agent, agent.outer_losses(rounds)[0].loss.mean())
    noise = torch.Generator().manual_seed(1)
    for _ in range(5):
        direction = {n: torch.randn(g.shape, generator=noise, dtype=g.dtype) for n, g in gradient.items()}
        exact = sum(float((gradient[name] * direction[name]).sum()) for name in gradient)
        measured = finite_difference(
            agent, lambda: float(agent.outer_losses(rounds)[0].loss.mean().detach()), direction, 1e-5
        )
        assert measured == pytest.approx(exact, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("inner_steps", [1, 2])
def test_first_order_meta_gradient_is_the_gradient_at_the_adapted_parameters(inner_steps: int) -> None:
    family = load("navigation-2d", horizon=5)
    first, second = new_agent(family, inner_lr=0.5, first_order=True), new_agent(family, inner_lr=0.5)
    rounds, _ = first._replayed(played_trial(first, family, rounds=inner_steps + 1))
    computed = gradient_of(first, first.outer_losses(rounds)[0].loss.mean())
    expected = {name: torch.zeros_like(p) for name, p in first.parameters.items()}
    for task in range(3):
        mine = tuple(Round(*(field[task] for field in played)) for played in rounds)
        adapted = adapted_plainly(first, mine)
        last_alone, _ = first.outer_loss(adapted, mine[-1:])
        gradients = torch.autograd.grad(last_alone.loss, list(adapted.values()))
        for name, gradient in zip(adapted, gradients, strict=True):
            expected[name] += gradient / 3
    for name in expected:
        torch.testing.assert_close(computed[name], expected[name])
    other = gradient_of(second, second.outer_losses(rounds)[0].loss.mean())
    assert max(float((computed[n] - other[n]).abs().max()) for n in computed) > 1e-4


def adapted_plainly(agent: MAMLPPO, rounds: tuple[Round, ...]) -> dict[str, Tensor]:
    """Adapt one task with autograd and the loss written out: sum over action dimensions, mean over steps."""
    parameters = {n: p.detach().clone().requires_grad_(True) for n, p in agent.parameters.items()}
    for played in rounds[:-1]:
        hidden = torch.tanh(played.observations @ parameters["layers.0.weight"].T + parameters["layers.0.bias"])
        mean = hidden @ parameters["layers.1.weight"].T + parameters["layers.1.bias"]
        normal = torch.distributions.Normal(mean, parameters["log_std"].exp())
        log_prob = normal.log_prob(played.actions / 0.1).sum(-1)  # the walls of 2D navigation stand at 0.1
        ratio = (log_prob - played.old_log_prob).exp()
        loss = -(ratio * played.advantages)[played.mask > 0].mean()
        gradients = torch.autograd.grad(loss, list(parameters.values()))
        parameters = {
            name: (p - agent.config.inner_lr * g).detach().requires_grad_(True)
            for (name, p), g in zip(parameters.items(), gradients, strict=True)
        }
    return parameters


@pytest.mark.parametrize("inner_steps", [1, 2, 3])
def test_adapting_all_tasks_in_one_call_equals_a_plain_loop(inner_steps: int) -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family, inner_lr=0.5)
    rounds, _ = agent._replayed(played_trial(agent, family, rounds=inner_steps + 1))
    parameters = agent.stacked(3)
    for played in rounds[:-1]:
        parameters = agent.adapted(parameters, played)
    for task in range(3):
        expected = adapted_plainly(agent, tuple(Round(*(field[task] for field in played)) for played in rounds))
        for name, value in expected.items():
            torch.testing.assert_close(parameters[name][task], value.detach())


def test_log_probability_is_summed_over_action_dimensions() -> None:
    family = load("navigation-2d")
    agent = new_agent(family)
    outputs = torch.tensor([[0.3, -0.2, 0.1, -0.4]], dtype=torch.float64)
    action = torch.tensor([[0.05, 0.02]], dtype=torch.float64)
    normal = torch.distributions.Normal(outputs[:, :2], outputs[:, 2:].exp())
    expected = normal.log_prob(action / 0.1)
    torch.testing.assert_close(agent.head.log_prob(outputs, action), expected[:, 0] + expected[:, 1])


def test_update_sees_the_rounds_as_the_learner_played_them() -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family)
    learner = agent.begin(Streams.of(8, "learner", np.arange(3)[:, None], np.arange(4)))
    trial = played_trial(agent, family, rounds=3)
    rounds, _ = agent._replayed(trial)
    for played, episodes in zip(rounds, trial.rounds, strict=True):
        torch.testing.assert_close(
            played.old_log_prob, torch.vmap(agent.log_prob)(learner.parameters, played), rtol=0, atol=0
        )
        learner.adapt(episodes)


def test_ratio_is_one_in_the_first_epoch_and_is_clipped_in_later_ones() -> None:
    family = load("navigation-2d", horizon=20)
    agent = new_agent(family, learning_rate=0.05, clip_range=0.05, num_epochs=4)
    metrics = agent.update(played_trial(agent, family, rounds=2), generator(0))
    assert metrics["first_ratio_deviation"] == pytest.approx(0.0, abs=1e-12)
    assert metrics["clip_fraction"] > 0.05
    assert metrics["kl"] > 0


def test_one_epoch_never_clips() -> None:
    family = load("navigation-2d", horizon=20)
    agent = new_agent(family, learning_rate=0.05, clip_range=0.05, num_epochs=1)
    # The clip fraction is what the gradient steps saw: a single one sees a ratio of one.
    assert agent.update(played_trial(agent, family, rounds=2), generator(0))["clip_fraction"] == 0


def test_advantages_bootstrap_at_the_time_limit_and_cut_at_termination() -> None:
    family = UnequalEpisodes(horizon=4)
    agent = new_agent(family, discount=0.9, gae_lambda=0.8)
    tasks = Tasks({"length": np.array([2.0, 9.0])}, np.arange(2))
    episodes = run_trial(agent, family.make_vec(tasks, 6), 1, seed=0).rounds[0]
    zeros = np.zeros((2, 6))
    returns = discounted_returns(episodes.rewards, episodes.mask, 0.9, zeros)
    values, final_values = linear_baseline(episodes.observations, episodes.final_observations, returns, episodes.mask)
    computed, _ = agent.advantages(episodes)
    for task, steps, terminated in ((0, 2, True), (1, 4, False)):
        expected = np.zeros((steps, 6))
        for replica in range(6):
            following = [*values[1:steps, task, replica], 0.0 if terminated else final_values[task, replica]]
            carry = 0.0
            for t in reversed(range(steps)):
                delta = episodes.rewards[t, task, replica] + 0.9 * following[t] - values[t, task, replica]
                carry = delta + 0.9 * 0.8 * carry
                expected[t, replica] = carry
        np.testing.assert_allclose(computed[:steps, task], (expected - expected.mean()) / expected.std(), atol=1e-6)


def test_baseline_explains_returns_that_follow_from_the_state() -> None:
    family = load("navigation-2d")
    agent = new_agent(family)
    metrics = agent.update(played_trial(agent, family, rounds=2, replicas=10), generator(0))
    assert metrics["explained_variance"] > 0.5


def test_adaptation_under_evaluation_moves_every_task_and_never_the_agent() -> None:
    family = load("navigation-2d", horizon=10)
    agent = new_agent(family)
    before = copy.deepcopy(agent.state_dict())
    learner = agent.begin(Streams.of(1, np.arange(3)[:, None], np.arange(4)))
    envs = family.make_vec(family.sample("test", 3, seed=0), 4)
    learner.adapt(rollout(envs, learner, seed=2))
    moved = learner.parameters["layers.1.bias"] - agent.parameters["layers.1.bias"].detach()
    assert (moved.abs().amax(dim=1) > 1e-4).all()
    for name, value in agent.state_dict().items():
        assert torch.equal(value, before[name])


def test_every_inner_step_learns_from_fresh_episodes() -> None:
    family = load("navigation-2d", horizon=5)
    trial = played_trial(new_agent(family), family, rounds=4)
    for earlier, later in zip(trial.rounds[:-1], trial.rounds[1:], strict=True):
        assert not np.allclose(earlier.actions, later.actions)


def test_more_than_one_inner_step_improves_on_one() -> None:
    family = Target()
    agent = new_agent(family, hidden_sizes=[8], inner_lr=0.1, initial_std=0.5)
    trial = played_trial(agent, family, rounds=6, tasks=20, replicas=40)
    returns = trial.returns.mean(axis=(1, 2))
    assert returns[1] > returns[0]
    assert returns[5] > returns[1]


def test_one_round_is_refused_with_the_remedy() -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family)
    with pytest.raises(MetarlError, match="rounds is 1; MAML-PPO needs at least 2"):
        agent.update(played_trial(agent, family, rounds=1), generator(0))


def test_meta_learning_solves_the_target_probe() -> None:
    family = Target()
    agent = make_agent("maml-ppo", family, {"hidden_sizes": [16], "inner_lr": 0.3, "learning_rate": 3e-3}, seed=0)
    assert isinstance(agent, MAMLPPO)
    for update in range(60):
        tasks = family.sample("train", 20, seed=0, start=20 * update)
        agent.update(run_trial(agent, family.make_vec(tasks, 20), 2, seed=update), generator(0, update))
    trial = run_trial(agent, family.make_vec(family.sample("test", 40, seed=0), 20), 2, seed=0)
    before, after = trial.returns.mean(axis=(1, 2))
    # Noise of deviation s costs 5 s^2 a return; not knowing the target costs 5/3 more.
    assert after > before + 1.0
