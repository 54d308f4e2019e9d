"""Strategies for bad inputs: values, overrides, configs, family files, command lines, damaged files."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from metarl.base.settings import list_settings
from metarl.cli.main import build_parser
from metarl.runs.config import TrainConfig
from metarl.trials.registered import AGENTS
from tests.small_runs import config

CORPUS = Path(__file__).parent / "corpus"
"""Inputs that once broke something, a file each; the name says which command reads it."""

NASTY_TEXTS = (
    "",
    " ",
    "null",
    "None",
    "~",
    "true",
    "yes",
    "010",
    "0x1F",
    "1e-2",
    "1_000",
    "1e400",
    "-1e400",
    ".nan",
    ".inf",
    "-.inf",
    "nan",
    "1:30",
    "2001-01-01",
    "9" * 25,
    "-" + "9" * 25,
    "10" * 200,
    "[" * 2000,
    "{" * 200,
    "[1, [2, [3]]]",
    "{a: 1, a: 2}",
    "&a [*a]",
    "*a",
    "!!python/object:os.system x",
    "!!binary x",
    "\x00",
    "\x1b[31mred",
    "\u202eabc",
    "\ufeff1",
    "é",
    "日本",
    "$x^2$",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "```",
    "|",
    "../../etc/passwd",
    "/dev/null",
    "/dev/full",
    "%s%s%n",
    "{0.__class__}",
    "a" * 5000,
    "a.b.c",
    "=",
    "key=",
    "--",
    "-1",
    "0",
    "1",
    "2",
    "0.5",
    "1.0",
    "-0.0",
    "1e-320",
    "os:system",
    "os:path",
    "json:nothing",
    ":",
    "a:",
    ":b",
)
"""Texts with a history, here or elsewhere."""

NASTY_NUMBERS = (
    0,
    -1,
    1,
    2,
    3,
    2**31,
    2**63,
    2**64,
    10**25,
    -(10**25),
    0.0,
    -0.0,
    0.5,
    1e-300,
    1e300,
    float("inf"),
    float("nan"),
)

texts = st.sampled_from(NASTY_TEXTS) | st.text(max_size=12)
scalars = st.sampled_from(NASTY_NUMBERS) | texts | st.booleans() | st.none()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("name", "a", "0", "")), inner, max_size=3)
    ),
    max_leaves=4,
)


def keys() -> list[str]:
    """Return every dotted setting that there is, of runs and of a few agents."""
    found = [key for key, _ in list_settings(TrainConfig)]
    for name in ("maml-ppo", "rl2", "sb3-ppo", "gittins"):
        found += [f"agent.{key}" for key, _ in list_settings(AGENTS[name].Config)]
    # A name of a thing is a small choice; the counts of a run are where the surprises are.
    return sorted(
        {
            *found,
            "family.name",
            "family.horizon",
            "family.switch_at",
            "family.varies",
            "agent.name",
            "nothing",
            "agent.nothing",
            "a..b",
            ".",
        }
    )


def overrides() -> st.SearchStrategy[str]:
    """Return key=value words."""
    lasting = {"num_updates", "family.horizon"}  # a large value is valid, and long work
    key = st.sampled_from([key for key in keys() if key not in lasting])
    return st.builds("{}={}".format, key, texts | scalars.map(str)) | texts


def paths_in(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value in nested mappings and lists."""
    items = (
        document.items() if isinstance(document, Mapping) else enumerate(document) if isinstance(document, list) else ()
    )
    return [at, *(path for key, value in items for path in paths_in(value, (*at, key)))]


def changed(document: Any, path: Sequence[Any], change: Callable[[Any], Any]) -> Any:
    """Return a copy of a document with one value changed; a change to `...` removes it."""
    if not path:
        return change(document)
    document = copy.copy(document)
    inner = changed(document[path[0]], path[1:], change)
    if inner is ...:
        del document[path[0]]
    else:
        document[path[0]] = inner
    return document


@st.composite
def mutated(draw: st.DrawFn, document: Any) -> Any:
    """Return a document with one to three things wrong: a value replaced, removed, wrapped, or a key misspelt."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths_in(document)))
        kind = draw(st.sampled_from(("replace", "replace", "remove", "wrap", "misspell", "add")))
        value = draw(values)

        def change(old: Any, kind: str = kind, value: Any = value) -> Any:
            if kind == "remove":
                return ...
            if kind == "wrap":
                return [old]
            if kind in ("misspell", "add") and isinstance(old, dict) and old:
                first = next(iter(old))
                return {**{key: each for key, each in old.items() if kind == "add" or key != first}, f"{first}x": value}
            return value

        if path or kind == "replace":
            document = changed(document, path, change)
    return document


def as_yaml(document: Any) -> str:
    """Return a document as YAML, with what plain YAML cannot say as Python writes it."""
    try:
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    except yaml.YAMLError:
        return repr(document)


@st.composite
def corrupted(draw: st.DrawFn, text: str) -> str:
    """Return a text with a line doubled, removed, shifted, cut, or letters put in."""
    lines = text.splitlines(keepends=True) or [""]
    i = draw(st.integers(0, len(lines) - 1))
    kind = draw(st.sampled_from(("double", "remove", "indent", "cut", "insert")))
    if kind == "double":
        lines.insert(i, lines[i])
    elif kind == "remove":
        del lines[i]
    elif kind == "indent":
        lines[i] = draw(st.sampled_from((" ", "\t", "      "))) + lines[i]
    elif kind == "cut":
        lines[i:] = [lines[i][: draw(st.integers(0, len(lines[i])))]]
    else:
        at = draw(st.integers(0, len(lines[i])))
        lines[i] = lines[i][:at] + draw(texts) + lines[i][at:]
    return "".join(lines)


def config_texts() -> st.SearchStrategy[str]:
    """Return bad configs, as the text of a file."""
    good = [config(agent, num_updates=1, evaluation={"every": 1, "num_tasks": 2}) for agent in ("maml-ppo", "rl2")]
    document = st.sampled_from(good)
    return document.flatmap(mutated).map(as_yaml) | document.map(as_yaml).flatmap(corrupted)


@st.composite
def twice(draw: st.DrawFn) -> str:
    """Return a good config with a key twice, at any level, with the same or another value."""
    lines = as_yaml(config(num_updates=1)).splitlines(keepends=True)
    i = draw(st.sampled_from([i for i, line in enumerate(lines) if ": " in line and "- " not in line]))
    key = lines[i].partition(":")[0]
    lines.insert(i + 1, lines[i] if draw(st.booleans()) else f"{key}: {draw(st.sampled_from((1, 2)))}\n")
    return "".join(lines)


FAMILY_FILES: tuple[dict[str, Any], ...] = (
    {
        "env": "Pendulum-v1",
        "horizon": 5,
        "varies": {
            "g": {
                "train": {"uniform": [8, 12]},
                "extrapolation": {"uniform": [12, 14]},
                "unit": "m/s^2",
                "meaning": "gravity",
            }
        },
    },
    {
        "family": "hopper-dynamics",
        "horizon": 5,
        "varies": {"leg": {"train": {"uniform": [0.5, 2]}, "scale": "body_mass[torso]"}},
    },
    {"family": "navigation-2d", "horizon": 5, "switch_at": [3]},
)
"""Declarations of families that are right."""


def family_texts() -> st.SearchStrategy[str]:
    """Return bad family files."""
    document = st.sampled_from(FAMILY_FILES)
    return document.flatmap(mutated).map(as_yaml) | document.map(as_yaml).flatmap(corrupted)


def damaged_json(text: str) -> st.SearchStrategy[str]:
    """Return a JSON document with wrong entries, or cut and corrupted as text."""

    def dump(document: Any) -> str:
        return json.dumps(document, default=repr)

    return mutated(json.loads(text)).map(dump) | corrupted(text)


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """Return a file with flipped bits, cut off, doubled, with another start, or with a NaN written into it."""
    kind = draw(st.sampled_from(("flip", "flip", "cut", "append", "start", "nan", "empty")))
    at = draw(st.integers(0, len(data) - 1))
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
    if kind == "cut":
        return data[:at]
    if kind == "append":
        return data + draw(st.binary(min_size=1, max_size=16))
    if kind == "start":
        return (
            draw(st.sampled_from((b"\x80\x04", b"PK\x03\x04", b"\xff" * 8 + b"{", struct.pack("<Q", 2**62)))) + data[8:]
        )
    if kind == "nan":
        at = max(len(data) - 4 - 4 * (at % 16), 0)
        return data[:at] + struct.pack("<f", float("nan")) + data[at + 4 :]
    return b""


COMMANDS = (
    "train",
    "evaluate",
    "render",
    "report",
    "families",
    "agents",
    "check",
    "new-family",
    "new-agent",
    "bench",
    "demo",
)
"""Commands that are given bad words."""


def options() -> dict[str, list[tuple[str, bool]]]:
    """Return the options of each command, and whether they take a value."""
    subparsers = next(action for action in build_parser()._actions if isinstance(action.choices, dict))
    return {
        name: [(word, action.nargs != 0) for action in parser._actions for word in action.option_strings]
        for name, parser in dict(subparsers.choices or {}).items()
    }


@st.composite
def command_lines(draw: st.DrawFn, run: str, config_file: str) -> list[str]:
    """Return the words of a command with wrong options, values and names. They always hold a word that is wrong."""
    known = options()
    name = draw(st.sampled_from(sorted(known)))
    words = [name]
    if draw(st.booleans()):
        words += draw(st.sampled_from(([run], [config_file], ["navigation-2d"], ["rl2"], [run, run])))
    for _ in range(draw(st.integers(0, 3))):
        option, takes = draw(st.sampled_from(known[name]))
        words += [option, *([draw(texts)] if takes else [])]
    words.insert(draw(st.integers(1, len(words))), draw(texts | st.just("--nothing") | overrides()))
    # A word that no command takes, so that `bench` and `demo` do not set to work.
    return [*words, "--no-such-option"] if name in ("bench", "demo", "check") else words
