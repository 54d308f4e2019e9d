"""Observations of every kind of space as one array, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

from metarl.base.errors import MetarlError
from metarl.families.layout import layout_of, map_arrays

IMAGE = spaces.Box(0, 255, (4, 5, 3), dtype=np.uint8)
SPACES = {
    "box": spaces.Box(-1.0, 1.0, (2, 3), dtype=np.float32),
    "scalar": spaces.Box(-1.0, 1.0, (), dtype=np.float64),
    "image": IMAGE,
    "discrete": spaces.Discrete(5, start=-2),
    "multi-discrete": spaces.MultiDiscrete([[2, 3], [4, 500]]),
    "multi-binary": spaces.MultiBinary((2, 2)),
    "dict": spaces.Dict({"image": IMAGE, "goal": spaces.Box(-1.0, 1.0, (2,), dtype=np.float32)}),
    "dict of bytes": spaces.Dict({"image": IMAGE, "way": spaces.Discrete(4), "keys": spaces.MultiBinary(3)}),
    "tuple": spaces.Tuple([spaces.Discrete(3), spaces.Box(0.0, 1.0, (), dtype=np.float64)]),
    "nested": spaces.Dict({"a": spaces.Tuple([IMAGE, spaces.Dict({"b": spaces.Discrete(7)})]), "c": IMAGE}),
}


def same(ours: Any, theirs: Any) -> bool:
    pairs: list[bool] = []
    map_arrays(lambda a, b: pairs.append(a.dtype == b.dtype and np.array_equal(a, b)), ours, theirs)
    return all(pairs)


@pytest.mark.parametrize("name", SPACES)
def test_a_batch_comes_back_as_gymnasium_batches_it(name: str) -> None:
    space = SPACES[name]
    space.seed(0)
    items = [space.sample() for _ in range(6)]
    batch = concatenate(space, items, create_empty_array(space, 6))
    layout = layout_of(space)
    flat = layout.flatten(batch, (6,))
    assert flat.shape == (6, *layout.shape) and flat.dtype == layout.dtype
    back = layout.unflatten(flat)
    assert same(back, batch)
    assert back in batch_space(space, 6)


@pytest.mark.parametrize("name", SPACES)
def test_one_observation_is_a_row_of_the_batch(name: str) -> None:
    space = SPACES[name]
    space.seed(1)
    items = [space.sample() for _ in range(3)]
    layout = layout_of(space)
    batch = layout.flatten(concatenate(space, items, create_empty_array(space, 3)), (3,))
    for row, item in zip(batch, items, strict=True):
        assert np.array_equal(layout.flatten(item), row)
        assert layout.unflatten(row) in space


def test_parts_have_their_shapes_whatever_the_leading_axes() -> None:
    layout = layout_of(SPACES["nested"])
    flat = np.zeros((2, 3, *layout.shape), dtype=layout.dtype)
    found = {part.name: layout.part(part, flat).shape for part in layout.parts}
    assert found == {"a.0": (2, 3, 4, 5, 3), "a.1.b": (2, 3), "c": (2, 3, 4, 5, 3)}


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("dict of bytes", np.uint8),
        ("dict", np.float32),
        ("tuple", np.float64),
        ("image", np.uint8),
        ("box", np.float32),
    ],
)
def test_the_array_has_the_smallest_type_that_holds_all_parts(name: str, dtype: type) -> None:
    assert layout_of(SPACES[name]).dtype == dtype


def test_whole_numbers_that_a_float_would_round_are_refused() -> None:
    space = spaces.Dict({"id": spaces.Box(0, 2**60, (1,), dtype=np.int64), "x": spaces.Box(0.0, 1.0, (1,))})
    with pytest.raises(MetarlError, match=r"part 'id' .* bounds below 2\^32"):
        layout_of(space)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Text(5),
        spaces.Sequence(spaces.Discrete(2)),
        spaces.Graph(spaces.Discrete(2), None),
        spaces.OneOf([spaces.Discrete(2), spaces.Discrete(3)]),
    ],
    ids=lambda space: type(space).__name__,
)
def test_spaces_without_a_fixed_shape_are_refused_with_the_part_and_the_remedy(space: spaces.Space[Any]) -> None:
    with pytest.raises(MetarlError, match=r"family 'x' has space .*TransformObservation") as alone:
        layout_of(space, "x")
    with pytest.raises(MetarlError, match=r"part 'mission\.0' .*FilterObservation") as inside:
        layout_of(spaces.Dict({"mission": spaces.Tuple([space])}), "x")
    assert "\n" not in str(alone.value) + str(inside.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"way": 1}, "no part 'goal'"),
        ({"way": 1, "goal": np.zeros(3)}, r"part 'goal' .* shape \(3,\); it must be \(2,\)"),
        ({"way": 4, "goal": np.zeros(2)}, r"part 'way' .* not in Discrete\(4\)"),
        (np.zeros(3), "no part 'goal'"),
    ],
)
def test_an_observation_that_does_not_fit_its_space_is_refused(values: Any, message: str) -> None:
    space = spaces.Dict({"way": spaces.Discrete(4), "goal": spaces.Box(-1.0, 1.0, (2,))})
    with pytest.raises(MetarlError, match=message):
        layout_of(space).flatten(values)
