"""LEO from right answers: its gradients against loops and finite differences, each of its terms, and what it learns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.common.over_ranks import TaskNoise
from metarl.agents.leo.agent import LEO, LEOFromTargets
from metarl.agents.leo.head import (
    DECODE,
    ENCODE,
    FINETUNE_LR,
    LATENT_LR,
    RELATIONS,
    Code,
    LatentHead,
    encode,
    orthogonality,
)
from metarl.agents.leo.head import decode as decode_codes
from metarl.agents.supervised.support import Support
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from metarl.base.errors import MetarlError
from metarl.checks.check import check_agent
from metarl.checks.questions import Guess, Sort
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.trials.registered import make_agent
from tests.agents.supervised.test_ridge import learned, made, numbers, trial_of
from tests.families.asked import Lines

TARGETS = {"name": "targets", "num_finetune_steps": 2, "finetune_lr": 0.1}
SMALL: dict[str, Any] = {"latent_size": 3, "num_inner_steps": 2, "learns_from": TARGETS}


def noise_of(num_tasks: int, seed: int = 5) -> TaskNoise:
    return TaskNoise(torch.Generator().manual_seed(seed), num_tasks)


def encoded_by_hand(head: dict[str, Tensor], rows: list[tuple[Tensor, Tensor]], output: int, classes: bool) -> Tensor:
    """Return mean and log-deviation of the code of one output, question after question."""
    inputs = [x if classes else torch.cat([x, y[output : output + 1]]) for x, y in rows]
    codes = [head[ENCODE] @ x for x in inputs]
    related = []
    for code in codes:
        pairs = []
        for other in codes:
            pair = torch.cat([code, other])
            for name in RELATIONS[:2]:
                pair = torch.relu(head[name] @ pair)
            pairs.append(head[RELATIONS[2]] @ pair)
        related.append(torch.stack(pairs).mean(0))
    own = [r for r, (_, y) in zip(related, rows, strict=True) if not classes or y[output] == 1]
    return torch.stack(own or [torch.zeros_like(related[0])]).mean(0) + 0 * head[ENCODE].sum()


class ByHand:
    """The loss of an update, task after task, output after output, step after step."""

    def __init__(self, agent: LEOFromTargets, classes: bool) -> None:
        self.head, self.classes = agent.head, classes
        assert isinstance(self.head, LatentHead)
        self.config = self.head.config

    def loss_of(self, weights: list[Tensor], rows: list[tuple[Tensor, Tensor]]) -> Tensor:
        losses = []
        for x, y in rows:
            output = torch.stack([w @ x for w in weights])
            losses.append(-(output.log_softmax(-1) * y).sum() if self.classes else (output - y).square().mean())
        return torch.stack(losses).mean()

    def decoded(self, head: dict[str, Tensor], codes: list[Tensor], noise: Tensor) -> list[Tensor]:
        weights = []
        for code, drawn in zip(codes, noise, strict=True):
            mean, log_std = (head[DECODE].T @ code).chunk(2)
            weights.append(mean + math.sqrt(2 / (len(codes) + len(mean))) * torch.exp(log_std) * drawn)
        return weights

    def task(
        self,
        head: dict[str, Tensor],
        support: list[tuple[Tensor, Tensor]],
        queries: list[tuple[Tensor, Tensor]],
        first: Tensor,
        later: list[Tensor],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a task's loss on the queries, its KL, and its encoder penalty."""
        codes, kls = [], []
        for output in range(len(first)):
            mean, log_std = encoded_by_hand(head, support, output, self.classes).chunk(2)
            std = torch.exp(log_std + math.log(self.config.initial_std))
            kls.append(kl_divergence(Normal(mean, std), Normal(torch.zeros_like(mean), torch.ones_like(std))))
            codes.append(mean + std * first[output])
        start = codes
        for noise in later[:-1]:
            loss = self.loss_of(self.decoded(head, codes, noise), support)
            gradients = torch.autograd.grad(loss, codes, create_graph=True)
            codes = [code - head[LATENT_LR] * g for code, g in zip(codes, gradients, strict=True)]
        weights = self.decoded(head, codes, later[-1])
        for _ in range(self.config.of_targets.num_finetune_steps):
            gradients = torch.autograd.grad(self.loss_of(weights, support), weights, create_graph=True)
            weights = [w - head[FINETUNE_LR] * g for w, g in zip(weights, gradients, strict=True)]
        distance = (torch.stack(codes).detach() - torch.stack(start)).square().mean()
        return self.loss_of(weights, queries), torch.stack(kls).mean(), distance


def rows_of(support: Support, task: int) -> list[tuple[Tensor, Tensor]]:
    return list(zip(support.features[task], support.answers[task], strict=True))


def loss_by_hand(agent: LEOFromTargets, head: dict[str, Tensor], rounds: list[Support], classes: bool) -> Tensor:
    hand, noise = ByHand(agent, classes), torch.Generator().manual_seed(5)
    config, (num_tasks, _, outputs) = hand.config, rounds[0].answers.shape
    size = (num_tasks, outputs)
    first = torch.randn(*size, config.latent_size, generator=noise, dtype=torch.float64)
    later = [
        torch.randn(*size, agent.size, generator=noise, dtype=torch.float64) for _ in range(config.num_inner_steps + 1)
    ]
    tasks = [
        hand.task(head, rows_of(rounds[0], t), rows_of(rounds[1], t), first[t], [each[t] for each in later])
        for t in range(num_tasks)
    ]
    loss, kl, distance = (torch.stack(each).mean() for each in zip(*tasks, strict=True))
    rows = head[DECODE] / head[DECODE].square().sum(1, keepdim=True).sqrt()
    correlations = [(a @ b - float(i == j)) ** 2 for i, a in enumerate(rows) for j, b in enumerate(rows)]
    squares = sum(0.5 * head[name].square().sum() for name in (ENCODE, *RELATIONS, DECODE))
    weights = config.penalties
    terms = weights.kl * kl + weights.encoder * distance + weights.orthogonality * torch.stack(correlations).mean()
    return loss + terms + weights.squares * squares


PENALTIES = {"kl": 0.3, "encoder": 0.5, "orthogonality": 0.7, "squares": 0.2}


@pytest.mark.parametrize("family", [Lines(shots=4), Sort()])
def test_the_gradient_is_that_of_a_loop_and_of_finite_differences(family: TaskFamily) -> None:
    classes = isinstance(family, Sort)
    agent = made("leo", family, penalties=PENALTIES, inner_lr=0.4, initial_std=0.5, **SMALL)
    assert isinstance(agent, LEOFromTargets)
    trial = trial_of(agent, family)
    rounds = [agent.support(agent.reader.read(episodes)) for episodes in trial.rounds]
    loss, _, _ = agent.loss(rounds, noise_of(len(rounds[0].mask)))
    head = agent.of_head
    found = torch.autograd.grad(loss, [*head.values(), *agent.features.values()], retain_graph=True)
    features = [support.features for support in rounds]
    by_hand = loss_by_hand(agent, head, rounds, classes)
    torch.testing.assert_close(loss, by_hand)
    expected = torch.autograd.grad(by_hand, [*head.values(), *agent.features.values()])
    for name, ours, theirs in zip([*head, *agent.features], found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9, msg=name)
    assert all(each.requires_grad for each in features)
    # The penalty holds its end still, so that only its beginning counts in a difference: it is left out here.
    moved_agent = made("leo", family, penalties={**PENALTIES, "encoder": 0.0}, inner_lr=0.4, initial_std=0.5, **SMALL)
    moving = moved_agent.of_head
    free, _, _ = moved_agent.loss(rounds_of(moved_agent, trial), noise_of(len(trial.tasks)))
    slopes = torch.autograd.grad(free, list(moving.values()))
    for (name, value), slope in zip(moving.items(), slopes, strict=True):
        direction, values = numbers(*value.shape, seed=2), []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                value += step * direction
            values.append(moved_agent.loss(rounds_of(moved_agent, trial), noise_of(len(trial.tasks)))[0].item())
            with torch.no_grad():
                value -= step * direction
        difference = (values[0] - values[1]) / 2e-5
        assert float((slope * direction).sum()) == pytest.approx(difference, rel=1e-5, abs=1e-7), name


def rounds_of(agent: Any, trial: Any) -> list[Support]:
    return [agent.support(agent.reader.read(episodes)) for episodes in trial.rounds]


def test_the_kl_and_the_entropy_are_those_of_torch() -> None:
    code = Code(numbers(2, 3, 4), numbers(2, 3, 4, seed=1))
    own, prior = Normal(code.mean, code.log_std.exp()), Normal(torch.zeros(4).double(), torch.ones(4).double())
    torch.testing.assert_close(code.kl(), kl_divergence(own, prior).mean())
    torch.testing.assert_close(code.entropy(), own.entropy().mean())


def test_orthogonal_rows_of_any_length_cost_nothing() -> None:
    assert float(orthogonality(torch.diag(torch.tensor([2.0, 0.5, 7.0])))) == pytest.approx(0.0, abs=1e-12)
    assert float(orthogonality(torch.ones(2, 3))) == pytest.approx(0.5)


@pytest.mark.parametrize("classes", [True, False])
def test_questions_that_were_not_asked_change_no_code_and_their_order_changes_none(classes: bool) -> None:
    agent = made("leo", Sort() if classes else Lines(), **SMALL)
    outputs = 3 if classes else 1
    answers = torch.eye(3, dtype=torch.float64)[torch.tensor([[0, 1, 1, 2, 0]])] if classes else numbers(1, 5, 1)
    features = numbers(1, 5, agent.size, seed=3)
    support = Support(features, features, answers, answers, torch.ones(1, 5, dtype=torch.float64))
    support.mask[:, 3:] = 0
    mean, log_std = encode(agent.of_head, support, classes, 0.0)
    assert mean.shape == (1, outputs, 3)
    short = Support(*(each[:, :3] for each in support))
    for ours, theirs in zip((mean, log_std), encode(agent.of_head, short, classes, 0.0), strict=True):
        torch.testing.assert_close(ours, theirs)
    turned = Support(*(each[:, torch.tensor([2, 0, 1])] for each in short))
    torch.testing.assert_close(mean, encode(agent.of_head, turned, classes, 0.0).mean)
    if classes:  # a class without examples is decoded from a code of zeros
        assert not mean[0, 2].any() and not decode_codes(agent.of_head, mean, None)[0, 2].any()


def test_an_evaluation_samples_nothing_and_follows_the_means() -> None:
    family = Sort()
    agent = made("leo", family, **SMALL)
    support = rounds_of(agent, trial_of(agent, family))[0]
    first, second = (agent.head.fit(agent.of_head, support, None) for _ in range(2))
    assert torch.equal(first.weights, second.weights) and not first.weights.requires_grad and not first.metrics
    drawn = [agent.head.fit(agent.of_head, support, noise_of(len(support.mask), n)).weights for n in range(2)]
    assert not torch.allclose(drawn[0], drawn[1], atol=1e-3)


def test_it_keeps_every_rule_of_agents() -> None:
    assert not check_agent(LEO, [Guess(), Sort()])


def test_sinusoids_are_learned_in_a_few_hundred_updates() -> None:
    before, after = learned("leo", {"num_inner_steps": 3, "learning_rate": 3e-3}, 150, 0.4)
    assert after > 0.4 * before


def test_what_it_cannot_learn_from_is_refused() -> None:
    with pytest.raises(MetarlError, match="agent 'leo' learns from right answers, and family 'navigation"):
        make_agent("leo", load("navigation-2d"), {"learns_from": "targets"})
    agent = made("leo", Lines(), learns_from={"name": "targets", "num_finetune_steps": 0})
    assert np.isfinite(agent.update(trial_of(agent, Lines()), np.random.default_rng(0))["loss"])
