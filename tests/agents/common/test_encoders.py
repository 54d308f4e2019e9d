"""Encoders: every part of an observation reaches the network, images by convolutions that are a function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from metarl.agents.common import encoders
from metarl.agents.common.encoders import (
    AutoEncoder,
    BlocksEncoder,
    EncoderSettings,
    ObservationEncoder,
    PixelsEncoder,
    VectorEncoder,
)
from metarl.agents.common.moments import RunningMoments
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.families.layout import layout_of
from tests.families.kinds import OBSERVATIONS


def box(*shape: int, dtype: Any = np.uint8, high: float = 255) -> spaces.Box:
    return spaces.Box(0, high, shape, dtype=dtype)


def tensors(encoder: ObservationEncoder, observations: np.ndarray) -> tuple[Tensor, Tensor]:
    numbers, raw = encoder.observe(observations)
    return torch.as_tensor(numbers, dtype=torch.float64), torch.as_tensor(raw)


def samples(space: spaces.Space[Any], count: int) -> np.ndarray:
    space.seed(0)
    layout = layout_of(space)
    return np.stack([layout.flatten(space.sample()) for _ in range(count)])


def small(space: spaces.Space[Any], **settings: Any) -> tuple[ObservationEncoder, dict[str, Tensor]]:
    encoder = ObservationEncoder(AutoEncoder(channels=(3, 4), image_features=5, **settings), space)
    return encoder, encoder.initial_parameters(torch.Generator().manual_seed(0))


def test_vectors_are_passed_on_bit_for_bit_without_parameters() -> None:
    space = spaces.Box(-1.0, 1.0, (2, 3), dtype=np.float32)
    encoder = ObservationEncoder(AutoEncoder(), space)
    assert encoder.initial_parameters(torch.Generator()) == {}
    seen = np.random.default_rng(0).normal(size=(4, 7, 2, 3)).astype(np.float32)
    numbers, raw = encoder.observe(seen)
    assert numbers.dtype == np.float32 and np.array_equal(numbers, seen.reshape(4, 7, 6))
    assert raw.shape == (4, 7, 0)
    given = torch.as_tensor(numbers)
    assert encoder({}, given, torch.as_tensor(raw)) is given
    moments = RunningMoments(6)
    moments.add(numbers.reshape(-1, 6))
    assert np.array_equal(encoder.observe(seen, moments).numbers, moments.normalize(numbers))


def test_discrete_parts_become_one_hot_vectors_that_moments_do_not_touch() -> None:
    space = spaces.Dict({"a": spaces.Discrete(3, start=-1), "b": spaces.MultiDiscrete([2, 2]), "c": box(2)})
    encoder = ObservationEncoder(AutoEncoder(), space)
    layout = layout_of(space)
    seen = layout.flatten({"a": 1, "b": np.array([0, 1]), "c": np.array([7, 9], np.uint8)})[None]
    moments = RunningMoments(encoder.num_scaled)
    moments.add(np.array([[6.0, 8.0], [8.0, 10.0]]))
    numbers, _ = encoder.observe(seen, moments)
    np.testing.assert_array_equal(numbers, [[0, 0, 0, 0, 1, 1, 0, 0, 1]])


def test_discrete_observations_alone_are_one_hot() -> None:
    encoder = ObservationEncoder(AutoEncoder(), spaces.Discrete(4, start=2))
    np.testing.assert_array_equal(encoder.observe(np.array([2, 5])).numbers, [[1, 0, 0, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize(
    ("space", "is_image"),
    [
        (box(84, 84, 1), True),
        (box(4, 84, 84), True),
        (box(84, 84), True),
        (box(7, 7, 3), True),
        (box(3, 3, 3), True),
        (box(210, 160, 3), True),
        (box(8, 8, 3, dtype=np.float32, high=1.0), True),
        (box(8, 8, 3, dtype=np.float32, high=2.0), False),
        (box(8, 8, dtype=np.float32, high=1.0), False),
        (box(8, 8, 3, dtype=np.int64), False),
        (spaces.Box(-np.inf, np.inf, (8, 8, 3), dtype=np.float32), False),
        (box(7056), False),
        (box(2, 2, 3), False),
        (box(4, 84, 84, 3), False),
    ],
    ids=str,
)
def test_auto_takes_bytes_and_floats_up_to_one_for_images(space: spaces.Box, is_image: bool) -> None:
    encoder = ObservationEncoder(AutoEncoder(), space)
    assert bool(encoder.encoded) == is_image
    assert encoder.num_raw + encoder.num_numbers == np.prod(space.shape)
    assert not ObservationEncoder(VectorEncoder(), space).encoded


def test_pixels_takes_every_bounded_box_of_rank_2_or_3_and_refuses_to_find_none() -> None:
    assert ObservationEncoder(PixelsEncoder(), box(8, 8, dtype=np.float32, high=9.0)).encoded
    with pytest.raises(MetarlError, match=r"finds no image in Box.*take encoder: auto"):
        ObservationEncoder(PixelsEncoder(), box(5, dtype=np.float32, high=1.0))


@pytest.mark.parametrize("shape", [(84, 84, 1), (4, 84, 84), (84, 84), (7, 7, 3), (3, 3, 1), (64, 30, 3), (9, 40, 3)])
def test_convolutions_fit_images_of_any_size(shape: tuple[int, ...]) -> None:
    space = box(*shape)
    encoder = ObservationEncoder(AutoEncoder(), space)
    parameters = encoder.initial_parameters(torch.Generator().manual_seed(0))
    features = encoder(parameters, *tensors(encoder, samples(space, 2)))
    assert features.shape == (2, encoder.num_features) == (2, 128)
    assert sum(value.numel() for value in parameters.values()) < 300_000


def test_axes_of_channels_first_and_last_give_the_same_features() -> None:
    last = samples(box(12, 10, 3), 5)
    encoders = [small(box(12, 10, 3)), small(box(3, 12, 10))]
    features = [
        encoder(parameters, *tensors(encoder, seen))
        for (encoder, parameters), seen in zip(encoders, (last, np.moveaxis(last, -1, 1)), strict=True)
    ]
    torch.testing.assert_close(*features)
    assert features[0].std() > 0


def test_bytes_stay_bytes_in_memory_and_are_scaled_to_one_in_the_network() -> None:
    encoder, parameters = small(box(8, 8, 1))
    seen = samples(box(8, 8, 1), 3)
    numbers, raw = tensors(encoder, seen)
    assert raw.dtype == torch.uint8
    floats, same = small(box(8, 8, 1, dtype=np.float64, high=1.0))
    torch.testing.assert_close(
        encoder(parameters, numbers, raw), floats(same, *tensors(floats, (seen / 255.0).astype(np.float64)))
    )


def test_images_of_a_dict_with_floats_are_bytes_again() -> None:
    space = OBSERVATIONS["dict"]
    assert layout_of(space).dtype == np.float32
    encoder, parameters = small(space)
    numbers, raw = tensors(encoder, samples(space, 4))
    assert raw.dtype == torch.uint8 and numbers.shape == (4, 2 + 4)
    assert encoder(parameters, numbers, raw).shape == (4, encoder.num_features)


@pytest.mark.parametrize("name", OBSERVATIONS)
@pytest.mark.parametrize("settings", [AutoEncoder(channels=(4,), image_features=16), VectorEncoder()])
def test_every_part_reaches_the_features(name: str, settings: EncoderSettings) -> None:
    space = OBSERVATIONS[name]
    encoder = ObservationEncoder(settings, space)
    parameters = encoder.initial_parameters(torch.Generator().manual_seed(1))
    low, high = samples(space, 40).reshape(40, -1).min(0), samples(space, 40).reshape(40, -1).max(0)
    layout = layout_of(space)
    before, after = (x.astype(layout.dtype).reshape(1, *layout.shape) for x in (low, high))
    for part in layout.parts:
        changed = before.copy()
        rows = slice(part.start, part.start + part.size)
        changed.reshape(1, -1)[:, rows] = after.reshape(1, -1)[:, rows]
        ours, theirs = (encoder(parameters, *tensors(encoder, x)) for x in (before, changed))
        assert not torch.equal(ours, theirs), part.name


def test_each_task_has_its_own_convolutions_under_vmap() -> None:
    encoder, parameters = small(OBSERVATIONS["dict"])
    numbers, raw = tensors(encoder, samples(OBSERVATIONS["dict"], 6).reshape(3, 2, -1))
    factors = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    many = {name: torch.stack([value * factor for factor in factors]) for name, value in parameters.items()}
    mapped = torch.vmap(encoder)(many, numbers, raw)
    for task in range(3):
        own = {name: value[task] for name, value in many.items()}
        torch.testing.assert_close(mapped[task], encoder(own, numbers[task], raw[task]))


def test_gradients_of_first_and_second_order_agree_with_finite_differences() -> None:
    space = box(5, 4, 2)
    encoder = ObservationEncoder(AutoEncoder(channels=(2,), image_features=2), space)
    parameters = encoder.initial_parameters(torch.Generator().manual_seed(3))
    names, values = list(parameters), [value.requires_grad_(True) for value in parameters.values()]
    seen = tensors(encoder, samples(space, 2))

    def features(*given: Tensor) -> Tensor:
        return torch.tanh(encoder(dict(zip(names, given, strict=True)), *seen))

    assert torch.autograd.gradcheck(features, values)
    assert torch.autograd.gradgradcheck(features, values)


def test_chunks_change_neither_features_nor_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, parameters = small(OBSERVATIONS["dict"])
    given = tensors(encoder, samples(OBSERVATIONS["dict"], 11).reshape(11, 1, -1))
    values = [value.requires_grad_(True) for value in parameters.values()]
    whole = encoder(parameters, *given)
    expected = torch.autograd.grad(whole.square().sum(), values)
    monkeypatch.setattr(type(encoder), "chunk_size", 3)
    for held in (0, encoders.HELD_FLOATS):
        monkeypatch.setattr(encoders, "HELD_FLOATS", held)
        chunked = encoder.in_chunks(parameters, *given)
        torch.testing.assert_close(chunked, whole)
        for ours, theirs in zip(torch.autograd.grad(chunked.square().sum(), values), expected, strict=True):
            torch.testing.assert_close(ours, theirs)
    with torch.no_grad():
        torch.testing.assert_close(encoder.in_chunks(parameters, *given), whole)


def test_a_gradient_holds_the_activations_of_few_observations_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, parameters = small(box(8, 8, 1))
    given = tensors(encoder, samples(box(8, 8, 1), 12))
    values = {name: value.requires_grad_(True) for name, value in parameters.items()}
    monkeypatch.setattr(type(encoder), "chunk_size", 3)
    saved: list[int] = []

    def floats_saved() -> int:
        saved.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: (saved.append(t.numel()), t)[1], lambda t: t):
            encoder.in_chunks(values, *given)
        return sum(saved)

    assert encoder.held(12) == 12
    whole = floats_saved()
    monkeypatch.setattr(encoders, "HELD_FLOATS", 11 * encoder.num_activations)
    assert encoder.held(12) == 3 and encoder.held(11) == 11
    assert floats_saved() < whole / 3


def test_initial_parameters_follow_from_the_generator_alone() -> None:
    encoder, parameters = small(box(8, 8, 1))
    torch.manual_seed(5)
    again = encoder.initial_parameters(torch.Generator().manual_seed(0))
    assert all(torch.equal(value, again[name]) for name, value in parameters.items())


BLOCKS: list[dict[str, Any]] = [
    {"channels": (4, 6)},
    {"channels": (4, 6), "halving": "pool"},
    {"channels": (4, 4, 4), "norm": "group", "residual": True},
]


@pytest.mark.parametrize("settings", BLOCKS)
@pytest.mark.parametrize("shape", [(9, 9, 1), (10, 7), (3, 8, 8)])
def test_blocks_halve_an_image_of_any_size_and_mix_no_images(settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    encoder = ObservationEncoder(BlocksEncoder(**settings), spaces.Box(0, 255, shape, np.uint8))
    parameters = encoder.initial_parameters(torch.Generator().manual_seed(0))
    raw = torch.randint(0, 256, (5, int(np.prod(shape))), generator=torch.Generator().manual_seed(1))
    numbers = torch.zeros(5, 0, dtype=torch.float64)
    features = encoder(parameters, numbers, raw)
    assert features.shape == (5, encoder.num_features)
    assert features.std() > 0
    for row in range(5):
        torch.testing.assert_close(encoder(parameters, numbers[:1], raw[row : row + 1])[0], features[row])


def test_four_blocks_turn_an_image_of_28_by_28_into_as_many_numbers_as_the_papers() -> None:
    encoder = ObservationEncoder(BlocksEncoder(halving="pool"), spaces.Box(0, 255, (28, 28, 1), np.uint8))
    assert encoder.num_features == 64
