"""Action distributions against torch's own, and their gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from metarl.agents.common.heads import ActionHead, action_head
from torch import Tensor, distributions

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams

BOX = spaces.Box(np.float32([-1.0, 0.0]), np.float32([1.0, 4.0]))
ONE = spaces.Discrete(5, start=2)
MANY = spaces.MultiDiscrete([2, 5, 3], start=[0, -1, 4])
TABLE = spaces.MultiDiscrete([[2, 3], [4, 2]])
SWITCHES = spaces.MultiBinary(4)
GRID = spaces.MultiBinary((2, 3))
SPACES = (BOX, ONE, MANY, TABLE, SWITCHES, GRID)
STREAMS = Streams.of(0, np.arange(6)[:, None], np.arange(7))


def outputs(head: ActionHead, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, 7, head.num_outputs, generator=generator, dtype=torch.float64)


def torch_terms(space: spaces.Space[Any], given: Tensor, actions: Tensor) -> list[tuple[Any, Tensor]]:
    """Return torch's distribution of each independent part of an action, and the part's value."""
    if isinstance(space, spaces.Box):
        mean, log_std = given.chunk(2, -1)
        half, centre = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 2.0])
        return [(distributions.Independent(distributions.Normal(mean, log_std.exp()), 1), (actions - centre) / half)]
    if isinstance(space, spaces.MultiBinary):
        flat = actions.flatten(2).double()
        return [(distributions.Independent(distributions.Bernoulli(logits=given), 1), flat)]
    if isinstance(space, spaces.Discrete):
        return [(distributions.Categorical(logits=given), actions - int(space.start))]
    assert isinstance(space, spaces.MultiDiscrete)
    index = (actions - torch.as_tensor(space.start)).flatten(2).unbind(-1)
    parts = given.split(space.nvec.reshape(-1).tolist(), -1)
    return [(distributions.Categorical(logits=p), i) for p, i in zip(parts, index, strict=True)]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_log_probability_entropy_and_kl_are_torchs(space: Any) -> None:
    head = action_head(space)
    mine, others = outputs(head), outputs(head, 1)
    actions = torch.as_tensor(head.sample(mine, STREAMS))
    terms, other_terms = torch_terms(space, mine, actions), torch_terms(space, others, actions)
    torch.testing.assert_close(head.log_prob(mine, actions), sum(d.log_prob(a) for d, a in terms))
    torch.testing.assert_close(head.entropy(mine), sum(d.entropy() for d, _ in terms))
    kls = [distributions.kl_divergence(d, e) for (d, _), (e, _) in zip(terms, other_terms, strict=True)]
    torch.testing.assert_close(head.kl(mine, others), sum(kls))
    torch.testing.assert_close(head.kl(mine, mine), torch.zeros(6, 7, dtype=torch.float64))


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_gradients_of_the_log_probability_agree_with_finite_differences(space: Any) -> None:
    head = action_head(space)
    given = outputs(head)
    actions = torch.as_tensor(head.sample(given, STREAMS))
    functions: list[Callable[[Tensor], Tensor]] = [
        lambda x: head.log_prob(x, actions),
        head.entropy,
        lambda x: head.kl(x, outputs(head, 1)),
    ]
    for function in functions:
        assert torch.autograd.gradcheck(function, (given.requires_grad_(True),))


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_samples_modes_and_uniform_draws_lie_in_the_space(space: Any) -> None:
    head = action_head(space)
    given = outputs(head)
    for actions in (head.sample(given, STREAMS), head.mode(given), head.uniform(STREAMS)):
        assert actions.shape == (6, 7, *space.shape)
        if not isinstance(space, spaces.Box):
            assert all(action in space for action in actions.reshape(42, *space.shape))
        assert head.features(actions).shape == (6, 7, head.num_features)


@pytest.mark.parametrize("space", [ONE, MANY, TABLE, SWITCHES, GRID], ids=str)
def test_samples_have_the_frequencies_of_the_distribution(space: Any) -> None:
    head = action_head(space)
    given = outputs(head)[0, 0].expand(20000, 1, -1)
    actions = head.sample(given, Streams.of(3, np.arange(20000)[:, None], np.arange(1)))
    features = np.asarray(head.features(actions), dtype=np.float64).mean(axis=(0, 1))
    if isinstance(space, spaces.MultiBinary):
        expected = given[0, 0].sigmoid()
    else:
        sizes = [int(space.n)] if isinstance(space, spaces.Discrete) else space.nvec.reshape(-1).tolist()
        expected = torch.cat([part.softmax(-1) for part in given[0, 0].split(sizes)])
    np.testing.assert_allclose(features, expected.numpy(), atol=0.02)


@pytest.mark.parametrize("space", [MANY, TABLE, SWITCHES, GRID], ids=str)
def test_a_task_gives_the_same_under_vmap(space: Any) -> None:
    head = action_head(space)
    given = outputs(head)
    actions = torch.as_tensor(head.sample(given, STREAMS))
    mapped = torch.vmap(head.log_prob)(given, actions)
    torch.testing.assert_close(mapped, head.log_prob(given, actions))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("space", SPACES, ids=str)
def test_outputs_that_are_not_finite_are_refused_instead_of_an_action(space: Any, bad: float) -> None:
    head = action_head(space)
    given = outputs(head)
    given[2, 3, 0] = bad
    for act in (lambda: head.sample(given, STREAMS), lambda: head.mode(given)):
        with pytest.raises(MetarlError, match=r"(logits|means or deviations) are not finite in 1 of 42 worlds"):
            act()


def test_an_action_space_without_a_policy_is_refused() -> None:
    space: Any = spaces.Tuple([spaces.Discrete(2)])
    with pytest.raises(MetarlError, match="give a Box, Discrete, MultiDiscrete or MultiBinary"):
        action_head(space)
