"""Turned classes: one that looks the same when it is turned is no new class."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest
from metarl.envs.images.glyphs import Pens, _place, _read_fonts
from metarl.envs.images.image_set import ImageSet
from metarl.envs.images.turns import different_turns, turns_of
from PIL import Image

FONT = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
TURNS = {
    "O+": (0,),  # the same after a quarter turn
    "HINSZ": (0, 1),  # the same after half a turn
    "AFGLPRV": (0, 1, 2, 3),
}


def images_of(letters: str, *, count: int, size: int = 28, paper: int = 0, seed: int = 0) -> ImageSet:
    """Return images of letters under random affine maps, on a paper of a grey of its own."""
    rng, pens = np.random.default_rng(seed), Pens(64)
    (font,) = _read_fonts([FONT])
    drawn = []
    for letter in letters:
        ink = pens.ink(letter, font)
        assert ink is not None
        drawn += [_place(ink, size, rng.uniform(-1, 1, 6)) for _ in range(count)]
    images = np.abs(np.stack(drawn).astype(int) - paper).astype(np.uint8)
    names = tuple(map(str, range(len(letters))))
    return ImageSet("test", images, np.full(len(letters), count), names, ("",) * len(letters), ("",) * len(letters))


@pytest.mark.parametrize("letters", TURNS)
@pytest.mark.parametrize(("count", "size", "paper"), [(20, 28, 0), (20, 28, 255), (20, 84, 200), (40, 28, 0)])
def test_turns_that_look_like_an_earlier_one_are_no_classes(letters: str, count: int, size: int, paper: int) -> None:
    found = different_turns(images_of(letters, count=count, size=size, paper=paper))
    assert dict(zip(letters, found, strict=True)) == dict.fromkeys(letters, TURNS[letters])


def test_a_class_of_one_image_is_compared_with_itself() -> None:
    image = np.zeros((1, 16, 16), dtype=np.uint8)
    image[0, 6:10, 2:14] = 200
    bar = ImageSet("test", image, np.array([1]), ("bar",), ("",), ("",))
    assert different_turns(bar) == ((0, 1),)


def test_blank_images_look_the_same_whichever_way_they_are_turned() -> None:
    blank = ImageSet("test", np.full((3, 16, 16), 9, dtype=np.uint8), np.array([3]), ("blank",), ("",), ("",))
    assert different_turns(blank) == ((0,),)


def test_pictures_that_fill_their_square_have_four_turns() -> None:
    size, rng = 32, np.random.default_rng(0)
    # Smooth noise, brighter towards the top: no ink on paper, as in photographs.
    noise = np.stack([np.asarray(Image.fromarray(_noise(rng)).resize((size, size))) for _ in range(20)])
    light = np.clip(noise * 0.5 + np.linspace(120, 0, size)[:, None], 0, 255).astype(np.uint8)
    photos = ImageSet("test", light, np.array([20]), ("photo",), ("",), ("",))
    assert different_turns(photos) == ((0, 1, 2, 3),)


def _noise(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (5, 5)).astype(np.uint8)


def test_all_turns_are_classes_where_the_protocol_has_them_and_none_by_default() -> None:
    rings = images_of("O", count=2)
    assert (turns_of(rings, "all"), turns_of(rings, "none")) == (((0, 1, 2, 3),), ((0,),))
