"""A short causal convolution of each unit, which ties a step to the few before it."""

from __future__ import annotations

import torch
from torch import Tensor


def convolve(x: Tensor, taps: Tensor, recent: Tensor, resets: Tensor | None) -> Tensor:
    """Return x [time, trial, size] convolved in time with `taps` [width, size], the tap of the present step first.

    `recent` [width - 1, trial, size] are the steps before. Steps before a reset, bool [time, trial], count as zero.
    """
    time, before = len(x), len(taps) - 1
    padded = torch.cat([recent, x])
    mixed, seen = x * taps[0], None
    for lag in range(1, len(taps)):
        earlier = padded[before - lag : before - lag + time]
        if resets is not None:
            # Not where a trial began in between: at the step now, or at one of those after the earlier one.
            since = torch.cat([resets.new_zeros(lag - 1, resets.shape[1]), resets])[:time]
            seen = ~since if seen is None else seen & ~since
            earlier = earlier * seen[..., None]
        mixed = torch.addcmul(mixed, earlier, taps[lag])
    return mixed


def last_steps(x: Tensor, recent: Tensor, resets: Tensor | None) -> Tensor:
    """Return the steps before the next one, as many as `recent` has, from x or `recent`; zero before a reset.

    It is a copy: torch's FSDP warns of views that a layer returns.
    """
    count, time = len(recent), len(x)
    last = torch.cat([recent[min(time, count) :], x[max(0, time - count) :]])
    if resets is not None and count:
        begun = torch.cat([resets.new_zeros(count, resets.shape[1]), resets])[len(x) :]
        # Resets after each of them: those from it on, less its own.
        after = begun.flip(0).cumsum(0).flip(0) - begun.long()
        last = last * (after == 0)[..., None]
    return last
