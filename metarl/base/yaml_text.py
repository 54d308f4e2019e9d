"""The one reader of YAML, for configs, overrides and families, and the writer that it reads back.

Numbers follow YAML 1.2, because version 1.1 surprises: there `010` is eight, `1e-2` and `3e-4` are text, `yes` is true
and `12:30` is a number. `None` means null, as `null` and `~` do. A text is refused in one line where a key is given
twice, where a number is not finite, and where it is too long, too deep, or grows too large by its aliases.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from .errors import MetarlError

MOST_BYTES = 1_000_000
"""Size of the longest text that is read."""
MOST_LEVELS = 50
"""Levels of the deepest nesting."""
MOST_VALUES = 100_000
"""Values of the largest text. Each use of an alias counts again."""

_PREFIX = "tag:yaml.org,2002:"
_PATTERNS = {
    "null": (r"~|null|Null|NULL|None|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
"""Plain words that are no text, by type: the core schema of YAML 1.2 and Python's None. Then their first characters;
a NUL stands for the empty text."""

_UNREADABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that YAML excludes from a text."""


class YamlError(Exception):
    """What is wrong in a YAML text: the rule that it breaks and the remedy."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.problem = problem
        """The rule and the remedy, on one line."""
        self.line = line
        """Line of the text, from 1; None where no line is at fault."""


def read_yaml(path: str | Path, kind: str) -> Any:
    """Return the content of a YAML file, which is UTF-8 whatever the locale; `kind` names it: 'a YAML config'.

    Raises MetarlError for a file that cannot be read and for a text that `parse_yaml` refuses, with file and line.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise MetarlError(f"{path} does not exist; give the path of {kind}") from None
    except OSError as error:
        raise MetarlError(f"{path} cannot be read ({error.strerror}); give the path of {kind}") from None
    except ValueError:  # a NUL in the path
        raise MetarlError(f"{str(path)!r} is no path; give the path of {kind}") from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise MetarlError(
            f"{path}:{line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from None
    try:
        return parse_yaml(text)
    except YamlError as fault:
        line_text = "" if fault.line is None else f":{fault.line}"
        raise MetarlError(f"{path}{line_text}: {fault.problem}") from None


def parse_yaml(text: str) -> Any:
    """Return the value of a YAML text: dicts with words as keys, lists, text, numbers, booleans and None.

    Raises YamlError for a text that is no YAML, and for one that this module's rules refuse.
    """
    if len(text) > MOST_BYTES:
        raise YamlError(f"the text is longer than {MOST_BYTES:,} bytes; shorten it")
    if found := _UNREADABLE.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise YamlError(f"character {found.group()!r} is not allowed in YAML; remove it", line)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _syntax_fault(error) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # such as a \U escape beyond Unicode
        raise YamlError(f"not valid YAML: {' '.join(str(error).split())[:200]}; mend it") from None
    finally:
        loader.dispose()
    return None if node is None else _Builder().value(node)


def dump_yaml(data: Mapping[str, Any]) -> str:
    """Return a mapping as YAML that `parse_yaml` reads back as the same, its keys in the order given."""
    return yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml comes without types
    """Makes nodes of a text, up to the bounds on levels and values."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 -- where yaml looks for them

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._levels = self._values = 0

    def compose_node(self, parent: Node, index: Any) -> Node:
        line = self.peek_event().start_mark.line + 1
        self._values += 1
        if self._values > MOST_VALUES:
            raise _too_many(line)
        if self._levels >= MOST_LEVELS:
            raise _too_deep(line)
        self._levels += 1
        node = super().compose_node(parent, index)
        self._levels -= 1
        return node


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Quotes every text that YAML 1.1 or this module's reader would take for something else."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_str(self, data: str) -> Node:
        # PyYAML writes these line breaks unescaped in single quotes, where a reader folds them into spaces.
        style = '"' if any(line_break in data for line_break in "\x85\u2028\u2029") else None
        return self.represent_scalar(f"{_PREFIX}str", data, style)


_Dumper.add_representer(str, _Dumper.represent_str)


for _name, (_pattern, _first) in _PATTERNS.items():
    _first_characters = ["" if first == "\0" else first for first in _first]
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{_PREFIX}{_name}", re.compile(f"^(?:{_pattern})$"), _first_characters)


class _Builder:
    """Makes values of nodes. An alias stands for its node, so the bounds are counted again while it is followed."""

    def __init__(self) -> None:
        self._values = 0
        self._open: list[Node] = []

    def value(self, node: Node) -> Any:
        if isinstance(node, ScalarNode):
            self._count(node)
            return _scalar(node)
        with self._inside(node):
            if node.tag != f"{_PREFIX}{'map' if isinstance(node, MappingNode) else 'seq'}":
                raise _unknown_tag(node)
            if isinstance(node, MappingNode):
                return {key: self.value(value) for key, value in self._pairs(node).items()}
            return [self.value(each) for each in node.value]

    def _pairs(self, node: MappingNode) -> dict[str, Node]:
        """Return the nodes of a mapping's values by key. Its own keys replace those that `<<` merges in."""
        own: dict[str, Node] = {}
        merged: dict[str, Node] = {}
        seen: set[tuple[str, bool]] = set()
        for key_node, value in node.value:
            key = _key(key_node)
            merges = key == "<<" and key_node.style is None  # in quotes it is a word
            if (key, merges) in seen:
                raise YamlError(f"key {key!r} is given twice; keep one", _line(key_node))
            seen.add((key, merges))
            if merges:
                merged = self._merge(value)
            else:
                own[key] = value
        return {**merged, **own}

    def _merge(self, node: Node) -> dict[str, Node]:
        """Return the pairs that `<<` brings in from a mapping, or from a list of them: the first has precedence."""
        merged: dict[str, Node] = {}
        for source in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(source, MappingNode):
                raise YamlError("<< merges mappings only; give it an alias of one, such as *base", _line(node))
            with self._inside(source):
                merged = {**self._pairs(source), **merged}
        return merged

    @contextlib.contextmanager
    def _inside(self, node: Node) -> Iterator[None]:
        """Enter a list or a mapping, within the bounds."""
        self._count(node)
        if any(node is each for each in self._open):
            raise YamlError("an alias stands inside the value that it names; write the value out", _line(node))
        if len(self._open) >= MOST_LEVELS:
            raise _too_deep(_line(node))
        self._open.append(node)
        yield
        self._open.pop()

    def _count(self, node: Node) -> None:
        self._values += 1
        if self._values > MOST_VALUES:
            raise _too_many(_line(node))


def _key(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        raise YamlError("a key is a list or a mapping; keys are words", _line(node))
    key = _scalar(node)
    if not isinstance(key, str):
        shown = node.value[:40] or "null"
        raise YamlError(f"key {shown} is no word; keys are words, such as inner_lr, or in quotes", _line(node))
    return key


def _scalar(node: ScalarNode) -> Any:
    kind, text, line = node.tag.removeprefix(_PREFIX), node.value, _line(node)
    if kind == "str":
        return _require_unicode(text, line)
    if kind not in _PATTERNS:
        raise _unknown_tag(node)
    if re.fullmatch(_PATTERNS[kind][0], text) is None and not (kind == "float" and _is_int(text)):
        raise YamlError(f"{text[:40]!r} is no {kind}; leave out the tag, or mend the value", line)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    return _number(text, kind, line)


def _number(text: str, kind: str, line: int) -> int | float:
    shown = text if len(text) <= 30 else f"{text[:27]}..."
    if kind == "int":
        # Every digit of a longer text is read in quadratic time, and Python refuses more than 4,300.
        number = int(text, 0 if text[:2] in ("0o", "0x") else 10) if len(text) <= 40 else 2**64
        if abs(number) >= 2**64:
            raise YamlError(f"{shown} has more than 64 bits; give a smaller number", line)
        return number
    value = math.nan if text[-1:] in "fFnN" else float(text)
    if not math.isfinite(value):
        raise YamlError(f"{shown} is not finite; give a finite number", line)
    return value


def _is_int(text: str) -> bool:
    return re.fullmatch(r"[-+]?[0-9]+", text) is not None


def _require_unicode(text: str, line: int) -> str:
    for character in text:
        if character == "\0" or "\ud800" <= character <= "\udfff":
            raise YamlError(f"the text holds {character!r}, which is no character; remove its escape", line)
    return text


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1


def _too_many(line: int) -> YamlError:
    return YamlError(f"more than {MOST_VALUES:,} values, aliases followed; write fewer", line)


def _too_deep(line: int) -> YamlError:
    return YamlError(f"nested deeper than {MOST_LEVELS} levels; write it flatter", line)


def _unknown_tag(node: Node) -> YamlError:
    tag = node.tag.replace(_PREFIX, "!!")
    return YamlError(f"tag {tag[:40]!r} is unknown; leave it out, or quote text that begins with !", _line(node))


_REMEDIES = {
    "got '['": "inside brackets or braces quote text that holds brackets: ['body_mass[*]'], or write one value a line",
    "alphabetic or numeric": "quote text that begins with * or &: ['*']",
    "undefined alias": "quote text that begins with *",
    "mapping values are not allowed": "write one `key: value` a line, and quote text that holds a colon",
    "expected ':'": "write one `key: value` a line, and a space after the colon",
    r"'\t'": "indent with spaces",
    "cannot start any token": "quote text that begins with it",
    "second occurrence": "give each anchor a name of its own",
    "document": "keep one document, without ---",
    "<stream end>": "close every bracket, brace and quote",
    "end of stream": "close every bracket, brace and quote",
}
"""Remedy by a part of PyYAML's message."""


def _syntax_fault(error: yaml.MarkedYAMLError) -> YamlError:
    mark = error.problem_mark or error.context_mark
    told = " ".join(str(error.problem or "invalid").split())[:200]
    whole = f"{error.context or ''} {told}"
    remedy = next((remedy for part, remedy in _REMEDIES.items() if part in whole), "mend this line")
    return YamlError(f"not valid YAML: {told}; {remedy}", None if mark is None else mark.line + 1)
