"""Parts of many images at once, each at another place and scale."""

from __future__ import annotations

import numpy as np


def resample(images: np.ndarray, regions: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a region of each image as an image of its own, float32 [n, *shape].

    `images` is [n, height, width], and `regions` [n, 4] are left, top, right and bottom in pixels; what lies outside of
    an image is black. A pixel is a mean by a triangle as wide as a pixel of the image or of the region, whichever is
    wider: linear interpolation where it is enlarged, smoothing where it is made smaller. Each image is computed by
    itself, with the same rounding in any batch.
    """
    height, width = images.shape[1:]
    vertical = _weights(regions[:, 1], regions[:, 3], height, shape[0])
    horizontal = _weights(regions[:, 0], regions[:, 2], width, shape[1])
    return vertical @ images.astype(np.float32) @ horizontal.transpose(0, 2, 1)


def _weights(start: np.ndarray, end: np.ndarray, inputs: int, outputs: int) -> np.ndarray:
    """Return what each input pixel counts in each output pixel along an axis, float32 [n, output, input]."""
    step = ((end - start) / outputs)[:, None, None]
    middles = start[:, None, None] + (np.arange(outputs)[:, None] + 0.5) * step
    reach = np.maximum(step, 1.0)
    away = np.abs(np.arange(inputs) + 0.5 - middles) / reach
    return (np.maximum(1.0 - away, 0.0) / reach).astype(np.float32)
