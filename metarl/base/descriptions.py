"""What the docstrings under settings say. They are read from the source when somebody asks, not at every import."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import textwrap
from collections.abc import Iterator, Mapping

from pydantic import BaseModel


def description_of(cls: type[BaseModel], name: str) -> str:
    """Return the docstring under a setting of `cls` or of the class that it has it from, on one line.

    A description in the setting's `Field` comes first. '' where there is neither, and where the source is not at hand,
    as for a class that was typed into an interpreter.
    """
    if given := cls.model_fields[name].description:
        return " ".join(given.split())
    found = (_docstrings(each).get(name) for each in cls.__mro__ if issubclass(each, BaseModel))
    return next((" ".join(text.split()) for text in found if text is not None), "")


@functools.cache
def _docstrings(cls: type[BaseModel]) -> Mapping[str, str]:
    """Return the docstrings under the settings that the source of `cls` itself declares, by the setting's name."""
    if "__annotations__" not in cls.__dict__:
        return {}
    try:
        (declared,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError, ValueError):  # no source, or none of its own
        return {}
    return dict(_pairs(declared.body)) if isinstance(declared, ast.ClassDef) and declared.name == cls.__name__ else {}


def _pairs(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Yield the name of each annotated assignment that a string stands under, and the string."""
    for setting, below in itertools.pairwise(body):
        match setting, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, inspect.cleandoc(text)
