"""Plain words for the distributions and tasks of a family, for pages and captions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .distributions import Choice, Circle, Dirichlet, Disc, Distribution, LogUniform, Normal, Uniform
from .family import TaskFamily
from .in_turn import InTurn

MOST_VALUES = 8
"""Most values of a choice that are listed one by one."""


def warn_of_few_tasks(family: TaskFamily) -> str:
    """Return a clause which says that no task is unseen, '' for a family whose test tasks are."""
    count = family.num_tasks
    return (
        ""
        if count is None or family.is_unseen("test")
        else f"; {count:,} tasks in all, so no task of validation or test is unseen"
    )


def in_words(distribution: Distribution) -> str:
    """Return a distribution in plain words, such as 'uniform 0 to 3'. An unknown class is its `str`."""
    # By exact type: a derived class may draw something else.
    words = _WORDS.get(type(distribution))
    if words is None:
        return str(distribution)
    elementwise = isinstance(distribution, (Uniform, LogUniform, Normal)) and distribution.shape
    return words(distribution) + (f", each of {in_times(distribution.shape)}" if elementwise else "")


def in_times(shape: Iterable[int]) -> str:
    """Return a shape such as '10 x 5'."""
    return " x ".join(map(str, shape))


_WORDS: dict[type[Distribution], Callable[[Any], str]] = {
    Uniform: lambda d: f"uniform {d.low:.5g} to {d.high:.5g}",
    LogUniform: lambda d: f"log-uniform {d.low:.5g} to {d.high:.5g}",
    Normal: lambda d: f"normal, mean {d.mean:.5g}, standard deviation {d.std:.5g}",
    Choice: lambda d: f"one of {_list_values(d)}",
    InTurn: lambda d: f"each in turn of {_list_values(d)}",
    Disc: lambda d: f"ring of radius {d.inner:.5g} to {d.radius:.5g}" if d.inner else f"disc of radius {d.radius:.5g}",
    Circle: lambda d: f"circle of radius {d.radius:.5g}{_arc(d)}",
    Dirichlet: lambda d: f"Dirichlet of concentration {d.concentration:.5g}, rows of {in_times(d.shape)}",
}


def _list_values(choice: Choice) -> str:
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
