"""Regions of images at another scale."""

from __future__ import annotations

import numpy as np
import pytest
from metarl.envs.boxes.resample import resample


def by_hand(image: np.ndarray, region: tuple[float, ...], shape: tuple[int, int]) -> np.ndarray:
    left, top, right, bottom = region
    steps = (bottom - top) / shape[0], (right - left) / shape[1]
    found = np.zeros(shape)
    for row in range(shape[0]):
        for column in range(shape[1]):
            y, x = top + (row + 0.5) * steps[0], left + (column + 0.5) * steps[1]
            for i in range(image.shape[0]):
                for j in range(image.shape[1]):
                    down, across = (abs(c + 0.5 - m) / max(s, 1) for c, m, s in ((i, y, steps[0]), (j, x, steps[1])))
                    weight = max(0, 1 - down) / max(steps[0], 1) * max(0, 1 - across) / max(steps[1], 1)
                    found[row, column] += weight * image[i, j]
    return found


@pytest.mark.parametrize("region", [(0, 0, 6, 4), (1.5, 0.25, 4, 3), (-3, -2, 9, 7.5)])
def test_a_region_is_that_of_a_loop(region: tuple[float, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (1, 4, 6)).astype(np.uint8)
    np.testing.assert_allclose(
        resample(image, np.array([region]), (5, 3))[0], by_hand(image[0], region, (5, 3)), rtol=1e-4, atol=1e-3
    )


def test_the_whole_image_at_its_own_size_is_the_image() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 7)).astype(np.uint8)
    np.testing.assert_array_equal(resample(images, np.array([[0, 0, 7, 5]] * 2), (5, 7)), images)


def test_an_image_alone_is_the_same_bit_for_bit() -> None:
    rng = np.random.default_rng(0)
    images, low = rng.integers(0, 256, (9, 28, 28)).astype(np.uint8), rng.uniform(0, 10, (9, 2))
    regions = np.concatenate([low, low + rng.uniform(5, 18, (9, 2))], axis=1)
    batch = resample(images, regions, (20, 24))
    for place in range(9):
        alone = resample(images[place : place + 1], regions[place : place + 1], (20, 24))
        np.testing.assert_array_equal(alone[0], batch[place])
