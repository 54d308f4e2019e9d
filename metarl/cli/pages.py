"""The page of a family for the terminal: presets, spaces, task parameters and settings."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from ..base.code import is_reference
from ..base.terminal import one_line
from ..families.declaration import is_yaml, read_family
from ..families.family import TaskFamily, describe, missing_requirement
from ..families.load import OPTIONS, load
from ..families.mujoco.family import MujocoFamily
from ..families.spaces import Tokens
from ..families.words import in_times, in_words, warn_of_few_tasks
from ..trials.agent import Oracle


def listing(rows: Iterable[Sequence[str]]) -> str:
    """Return rows of cells as lines with aligned columns."""
    rows = [tuple(map(one_line, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(f"  {line}".rstrip() for line in lines)


def grouped_listing(classes: Mapping[str, type], describe: Callable[[str], str]) -> str:
    """Return named classes with their descriptions, a group for each folder that they stand in.

    A folder's title is the first line of its docstring. Oracles are a group of their own, and the last.
    """
    groups: dict[tuple[bool, str], list[str]] = {}
    for name, cls in classes.items():
        groups.setdefault((issubclass(cls, Oracle), cls.__module__.rpartition(".")[0] or cls.__module__), []).append(
            name
        )
    merged: dict[str, list[str]] = {}
    for (oracle, package), names in sorted(groups.items()):
        merged.setdefault("Oracles, which are shown the task" if oracle else _title(package), []).extend(names)
    order = [name for names in merged.values() for name in sorted(names)]
    lines = (
        dict(zip(order, listing((name, describe(name)) for name in order).split("\n"), strict=True)) if order else {}
    )
    return "\n\n".join("\n".join([title, *(lines[name] for name in sorted(merged[title]))]) for title in merged)


def _title(package: str) -> str:
    """Return the first line of a package's docstring; of a package without one, its name."""
    doc = inspect.getdoc(sys.modules[package]) if package in sys.modules else None
    return one_line(doc.split("\n", 1)[0].rstrip(".") if doc else package)


def family_page(name: str, preset: str | None = None) -> str:
    """Return the page of a family, or of a YAML file, in one of its presets (default: the first).

    Raises MetarlError for an unknown family or preset.
    """
    family = load(name, preset)
    if is_yaml(name):
        return _file_page(name, family, preset)
    cls = family.origin
    shown = preset or next(iter(cls.presets), None)
    presets = [(name, _settings(settings) or "the defaults") for name, settings in cls.presets.items()]
    which = f" ({shown!r} is shown; the first is the default)" if presets and shown else ""
    same = f", with the dynamics of {cls.gymnasium_id}" if cls.gymnasium_id else ""
    # A class that is not registered has no id at Gymnasium.
    registered = [] if is_reference(cls.name) else [f"gymnasium: metarl/{cls.__name__}-v0{same}"]
    parts = [
        f"{name}: {inspect.getdoc(cls)}",
        *(["\n".join(origin)] if (origin := [*([f"from: {cls.source}"] if cls.source else []), *registered]) else []),
        f"presets{which}:\n{listing(presets) or '  none'}",
        _inside(family, missing_requirement(family)),
        f"settings:\n{listing((name, str(value)) for name, value in family.settings.items())}",
        f"options:\n{listing(_options(cls).items())}",
    ]
    return "\n\n".join(parts)


def _file_page(path: str, family: TaskFamily, preset: str | None) -> str:
    """Return the page of a family that a YAML file declares: what the file says, and what else it may say."""
    said, cls = read_family(path), family.origin
    base = ("env", said["env"]) if "env" in said else ("family", f"{said['name']}: {describe(cls)}")
    rows = [("name", said["title"]), base, *([] if preset is None else [("preset", preset)])]
    for key, value in said.items():
        if key == "varies":
            rows += [(f"varies {name}", _acts_on(name, row)) for name, row in value.items()]
        elif key not in ("name", "title", "env"):
            rows.append((key, _in_yaml(value)))
    rest = [(name, _in_yaml(value)) for name, value in family.settings.items() if name not in (*said, "title")]
    options = {name: told for name, told in _options(cls).items() if name not in (*said, "title")}
    parts = [
        f"{path}: family {said['title']!r}, as the file says\n{listing(rows)}",
        _inside(family, missing_requirement(family)),
        *([f"settings that the file leaves as they are:\n{listing(rest)}"] if rest else []),
        f"options:\n{listing(options.items())}",
    ]
    return "\n\n".join(parts)


def _acts_on(name: str, row: Mapping[str, Any]) -> str:
    """Return what a parameter of `varies` changes; its ranges stand in the table of task parameters."""
    told = ("train", "extrapolation", "unit", "meaning")
    changes = [f"{key}: {_in_yaml(value)}" for key, value in row.items() if key not in told]
    return ", ".join(changes) or f"argument: {name}"


def _in_yaml(value: Any) -> str:
    """Return a value as a YAML file has it on one line."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_in_yaml(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_in_yaml, value))}]"
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _options(cls: type[TaskFamily]) -> dict[str, str]:
    """Return the options that a class of families takes, with their meanings."""
    return {name: told for name, told in OPTIONS.items() if name != "varies" or issubclass(cls, MujocoFamily)}


def _inside(family: TaskFamily, missing: str) -> str:
    """Return splits, spaces and task parameters; without the package that is `missing`, no spaces."""
    both = (
        f"observation: {space_in_words(family.observation_space)}\naction: {space_in_words(family.action_space)}"
        if not missing
        else f"spaces: {missing}, to see them"
    )
    return (
        f"splits: {', '.join(family.splits)}{warn_of_few_tasks(family)}\n"
        f"horizon: {family.horizon:,} steps\n{both}\n\n"
        f"task parameters:\n{listing(_parameters(family))}"
    )


def _parameters(family: TaskFamily) -> Iterable[Sequence[str]]:
    yield "name", "unit", "meaning", "train", "extrapolation"
    for name, p in family.parameters.items():
        outside = "none" if p.extrapolation is None else in_words(p.extrapolation)
        yield name, p.unit or "-", p.meaning or "-", in_words(p.train), outside


def _settings(settings: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def space_in_words(space: spaces.Space[Any]) -> str:
    """Return a space in plain words, such as '6 numbers, -1 to 1 (float32)'."""
    match space:
        case spaces.Discrete():
            return f"one of {space.n} (discrete, {space.start} to {space.start + space.n - 1})"
        case Tokens():
            return f"a sequence of up to {len(space.nvec):,} tokens, each of {space.nvec[0]:,}"
        case spaces.MultiDiscrete():
            counts = ", ".join(map(str, space.nvec.reshape(-1)[:8])) + (", ..." if space.nvec.size > 8 else "")
            return f"{space.nvec.size} choices, of {counts}"
        case spaces.MultiBinary():
            return f"{in_times(space.shape) or '1'} switches, on or off"
        case spaces.Dict():
            return "; ".join(f"{name}: {space_in_words(inner)}" for name, inner in space.spaces.items())
        case spaces.Tuple():
            return "; ".join(f"{i}: {space_in_words(inner)}" for i, inner in enumerate(space.spaces))
    if not isinstance(space, spaces.Box):
        return str(space)
    size = in_times(space.shape) or "1"
    return f"{size} {'number' if size == '1' else 'numbers'}, {_bounds(space)} ({space.dtype})"


def _bounds(space: spaces.Box) -> str:
    low, high = space.low, space.high
    if not (np.isfinite(low).any() or np.isfinite(high).any()):
        return "unbounded"
    text = f"{low.min():.5g} to {high.max():.5g}"
    return text if np.ptp(low) == 0 and np.ptp(high) == 0 else f"{text} at most, each with its own bounds"
