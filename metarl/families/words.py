"""A family's parameters and their ranges in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .distributions import Choice, Circle, Dirichlet, Disc, Distribution, LogUniform, Normal, Uniform
from .family import TaskFamily

MOST_VALUES = 8
"""How many values are written out before only their number and their ends are."""


def finitely_many(family: TaskFamily) -> str:
    """Return what is to be said of a family whose tasks are finitely many, '' of others."""
    count = family.num_tasks
    return "" if count is None else f"; {count:,} tasks in all, so no task of validation or test is unseen"


def in_words(distribution: Distribution) -> str:
    """Return a distribution in plain words, such as 'uniform 0 to 3'; a kind not known here says itself what it is."""
    # By exact type: what a class derived from one of these draws is not known.
    words = _WORDS.get(type(distribution))
    if words is None:
        return str(distribution)
    elementwise = isinstance(distribution, (Uniform, LogUniform, Normal)) and distribution.shape
    return words(distribution) + (f", each of {_times(distribution.shape)}" if elementwise else "")


_WORDS: dict[type[Distribution], Callable[[Any], str]] = {
    Uniform: lambda d: f"uniform {d.low:.5g} to {d.high:.5g}",
    LogUniform: lambda d: f"log-uniform {d.low:.5g} to {d.high:.5g}",
    Normal: lambda d: f"normal, mean {d.mean:.5g}, standard deviation {d.std:.5g}",
    Choice: lambda d: f"one of {_values(d)}",
    Disc: lambda d: f"ring of radius {d.inner:.5g} to {d.radius:.5g}" if d.inner else f"disc of radius {d.radius:.5g}",
    Circle: lambda d: f"circle of radius {d.radius:.5g}{_arc(d)}",
    Dirichlet: lambda d: f"Dirichlet of concentration {d.concentration:.5g}, rows of {_times(d.shape)}",
}


def _times(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _values(choice: Choice) -> str:
    many = len(choice.values) > MOST_VALUES
    if choice.shape:
        return f"{len(choice.values)} points" if many else ", ".join(map(str, choice.values))
    numbers = np.array(choice.values)
    if many:
        return f"{len(numbers)} values, {numbers.min():.5g} to {numbers.max():.5g}"
    return ", ".join(f"{number:.5g}" for number in numbers)


def _arc(circle: Circle) -> str:
    if circle.high - circle.low >= 2 * math.pi:
        return ""
    return f", {math.degrees(circle.low):.4g} to {math.degrees(circle.high):.4g} degrees"
