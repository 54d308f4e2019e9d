"""What the command line says of a family: its page, its parameters as a table, and distributions in plain words."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from .declared import is_file
from .distributions import Choice, Circle, Dirichlet, Disc, Distribution, LogUniform, Normal, Uniform
from .task import TaskFamily, load, missing_requirement

OPTIONS = {
    "switch_at": "steps of a trial after which the task changes, such as [300]",
    "varies": "fields of the MuJoCo model that differ from task to task; see the README",
}
"""What `load` takes beside a family's own settings."""
MOST_VALUES = 8
"""How many values are written out before only their number and their ends are."""


def listing(rows: Iterable[Sequence[str]]) -> str:
    """Return rows of cells as lines whose columns line up."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"  {line}".rstrip() for line in lines)


def family_page(name: str, preset: str | None = None) -> str:
    """Return everything there is to know of a family in one of its presets (default: the first), or of a YAML file's.

    Raises MetarlError for an unknown family or preset.
    """
    family = load(name, preset)
    cls = family.origin
    shown = preset or (None if is_file(name) else next(iter(cls.presets), None))
    presets = [(name, _settings(settings) or "the defaults") for name, settings in cls.presets.items()]
    which = f" ({shown!r} is shown; the first is the default)" if presets and shown else ""
    same = f", with the dynamics of {cls.gymnasium_id}" if cls.gymnasium_id else ""
    parts = [
        f"{name}: {inspect.getdoc(cls)}",
        f"from: {cls.source or 'not said'}\ngymnasium: metarl/{cls.__name__}-v0{same}",
        f"presets{which}:\n{listing(presets) or '  none'}",
        _inside(family, missing_requirement(cls)),
        f"settings:\n{listing((name, str(value)) for name, value in family.settings.items())}",
        f"options of any family:\n{listing(OPTIONS.items())}",
    ]
    return "\n\n".join(parts)


def _inside(family: TaskFamily, missing: str) -> str:
    """Return splits, spaces and tasks; of the spaces what is `missing` before they can be known, if anything."""
    both = (
        f"observation: {space_in_words(family.observation_space)}\naction: {space_in_words(family.action_space)}"
        if not missing
        else f"spaces: {missing}, to see them"
    )
    return (
        f"splits: {', '.join(family.splits)}{finitely_many(family)}\n"
        f"horizon: {family.horizon:,} steps\n{both}\n\n"
        f"task parameters:\n{listing(_parameters(family))}"
    )


def finitely_many(family: TaskFamily) -> str:
    """Return what is to be said of a family whose tasks are finitely many, '' of others."""
    count = family.num_tasks
    return "" if count is None else f"; {count:,} tasks in all, so no task of validation or test is unseen"


def _parameters(family: TaskFamily) -> Iterable[Sequence[str]]:
    yield "name", "unit", "meaning", "train", "extrapolation"
    for name, p in family.parameters.items():
        outside = "none" if p.extrapolation is None else in_words(p.extrapolation)
        yield name, p.unit or "-", p.meaning or "-", in_words(p.train), outside


def _settings(settings: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


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


def space_in_words(space: spaces.Space[Any]) -> str:
    """Return a space in plain words, such as '6 numbers, -1 to 1 (float32)'."""
    if isinstance(space, spaces.Discrete):
        return f"one of {space.n} (discrete, {space.start} to {space.start + space.n - 1})"
    if not isinstance(space, spaces.Box):
        return str(space)
    size = _times(space.shape) or "1"
    return f"{size} {'number' if size == '1' else 'numbers'}, {_bounds(space)} ({space.dtype})"


def _bounds(space: spaces.Box) -> str:
    low, high = space.low, space.high
    if not (np.isfinite(low).any() or np.isfinite(high).any()):
        return "unbounded"
    text = f"{low.min():.5g} to {high.max():.5g}"
    return text if np.ptp(low) == 0 and np.ptp(high) == 0 else f"{text} at most, each with its own bounds"
