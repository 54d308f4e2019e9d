"""Sequences of tokens: layers that are a function, and that see no padding and no other sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from metarl.agents.common.encoders import AutoEncoder, ObservationEncoder, TokensEncoder
from pydantic import ValidationError
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.families.spaces import Tokens

LAYERS: list[dict[str, Any]] = [
    {"name": "convolution", "filters": [3, 4]},
    {"name": "attention", "num_layers": 2, "num_heads": 2},
]
both = pytest.mark.parametrize("layers", LAYERS, ids=lambda layers: layers["name"])
TEXT = torch.tensor([3, 1, 4, 1, 5])


def encoder_of(layers: dict[str, Any], space: spaces.Space[Any]) -> tuple[ObservationEncoder, dict[str, Tensor]]:
    settings = AutoEncoder.model_validate({"embedding": 4, "layers": layers, "token_features": 6})
    encoder = ObservationEncoder(settings, space)
    parameters = encoder.initial_parameters(torch.Generator().manual_seed(0))
    # With biases, padding that no mask keeps out has an effect.
    return encoder, {name: value + 0.1 * name.endswith("bias") for name, value in parameters.items()}


def features(encoder: ObservationEncoder, parameters: dict[str, Tensor], tokens: Tensor) -> Tensor:
    return encoder(parameters, torch.zeros(*tokens.shape[:-1], 0, dtype=torch.float64), tokens)


@both
def test_room_behind_a_sequence_changes_no_feature(layers: dict[str, Any]) -> None:
    short, parameters = encoder_of(layers, Tokens(5, 9))
    long, roomy = encoder_of(layers, Tokens(8, 9))
    if layers["name"] == "attention":
        places = torch.cat([parameters["tokens0-places-weight"], torch.ones(3, 4, dtype=torch.float64)])
        roomy = {**parameters, "tokens0-places-weight": places}
    expected = features(short, parameters, TEXT[None])
    assert expected.abs().sum() > 0
    torch.testing.assert_close(
        features(long, roomy, torch.cat([TEXT, torch.zeros(3, dtype=torch.int64)])[None]), expected
    )


@both
def test_token_0_has_no_gradient_and_an_empty_sequence_is_finite(layers: dict[str, Any]) -> None:
    encoder, parameters = encoder_of(layers, Tokens(5, 9))
    values = {name: value.requires_grad_(True) for name, value in parameters.items()}
    tokens = torch.stack([TEXT, torch.tensor([2, 7, 0, 0, 0]), torch.zeros(5, dtype=torch.int64)])
    found = features(encoder, values, tokens)
    assert found.isfinite().all()
    gradients = torch.autograd.grad(found.square().sum(), list(values.values()))
    assert all(gradient.isfinite().all() for gradient in gradients)
    embedding = dict(zip(values, gradients, strict=True))["tokens0-embedding-weight"]
    assert not embedding[0].any() and embedding[[1, 2, 3, 4, 5, 7]].all()


@both
def test_a_sequence_alone_has_its_features_among_others(layers: dict[str, Any]) -> None:
    encoder, parameters = encoder_of(layers, Tokens(5, 9))
    tokens = torch.stack([TEXT, TEXT.flip(0), torch.tensor([8, 8, 2, 0, 0])])
    together = features(encoder, parameters, tokens)
    for alone, row in zip(tokens, together, strict=True):
        torch.testing.assert_close(features(encoder, parameters, alone[None])[0], row)
    assert not torch.allclose(together[0], together[1])


@both
def test_each_task_has_its_own_layers_under_vmap(layers: dict[str, Any]) -> None:
    encoder, parameters = encoder_of(layers, Tokens(5, 9))
    tokens = torch.randint(0, 9, (3, 2, 5), generator=torch.Generator().manual_seed(1))
    factors = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    many = {name: torch.stack([value * factor for factor in factors]) for name, value in parameters.items()}
    mapped = torch.vmap(encoder)(many, torch.zeros(3, 2, 0, dtype=torch.float64), tokens)
    for task in range(3):
        own = {name: value[task] for name, value in many.items()}
        torch.testing.assert_close(mapped[task], features(encoder, own, tokens[task]))


@both
def test_gradients_of_first_and_second_order_agree_with_finite_differences(layers: dict[str, Any]) -> None:
    encoder, parameters = encoder_of(layers, Tokens(3, 4))
    names, values = list(parameters), [value.requires_grad_(True) for value in parameters.values()]
    tokens = torch.tensor([[1, 3, 2], [2, 1, 0]])

    def scores(*given: Tensor) -> Tensor:
        return torch.tanh(features(encoder, dict(zip(names, given, strict=True)), tokens)).sum(-1)

    assert torch.autograd.gradcheck(scores, values)
    assert torch.autograd.gradgradcheck(scores, values, fast_mode=True)


def test_tokens_are_the_smallest_whole_numbers_beside_images_and_floats() -> None:
    image = spaces.Box(0, 255, (6, 6, 1), dtype=np.uint8)
    encoder = ObservationEncoder(AutoEncoder(), spaces.Dict({"a": image, "b": Tokens(4, 256), "c": spaces.Discrete(3)}))
    assert encoder.num_raw == 40 and encoder.num_numbers == 3 and encoder.num_features == 3 + 128 + 128
    assert encoder.raw(encoder.layout.zeros((2,))).dtype == np.uint8
    assert Tokens(4, 256).dtype == np.int16 and Tokens(4, 70_000).contains(np.full(4, 69_999, np.int32))


def test_tokens_takes_every_row_of_numbers_of_one_range_and_refuses_to_find_none() -> None:
    space = spaces.MultiDiscrete([7, 7, 7])
    assert not ObservationEncoder(AutoEncoder(), space).encoded
    assert ObservationEncoder(TokensEncoder(), space).encoded
    for other in (spaces.MultiDiscrete([7, 8]), spaces.MultiDiscrete([7, 7], start=[1, 1]), spaces.Discrete(7)):
        with pytest.raises(MetarlError, match=r"'tokens' finds no sequence in .*take encoder: auto"):
            ObservationEncoder(TokensEncoder(), other)


def test_heads_that_do_not_share_the_embedding_evenly_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"embedding is 10, which 4 heads cannot share; take a multiple"):
        AutoEncoder.model_validate({"embedding": 10, "layers": "attention"})


def test_a_baseline_counts_tokens() -> None:
    encoder, _ = encoder_of(LAYERS[0], Tokens(5, 9))
    seen = encoder.encoded[0].view(np.array([[3, 1, 4, 1, 0]]))
    np.testing.assert_allclose(seen, [[0.4, 0, 0.2, 0.2, 0, 0, 0, 0]])
