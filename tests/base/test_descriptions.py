"""The words under settings are found in the source, whoever declares the setting."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field, create_model

from metarl.base.descriptions import description_of
from metarl.base.settings import Settings


class Plain(Settings):
    """Three settings."""

    size: int = 3
    """How large it is,
    in metres."""
    named: Annotated[int, Field(description="Said in its Field.")] = 1
    """Not asked for."""
    silent: int = 2


class Changed(Plain):
    """The same with another default, and one more."""

    size: int = 4
    more: int = 5
    """More of it."""


@pytest.mark.parametrize(
    ("cls", "name", "told"),
    [
        (Plain, "size", "How large it is, in metres."),
        (Plain, "named", "Said in its Field."),
        (Plain, "silent", ""),
        (Changed, "size", "How large it is, in metres."),
        (Changed, "more", "More of it."),
        (create_model("Made", __base__=Plain, size=(int, 9)), "size", "How large it is, in metres."),
    ],
)
def test_a_setting_says_what_stands_under_it(cls: type[Settings], name: str, told: str) -> None:
    assert description_of(cls, name) == told


def test_a_class_inside_a_function_says_what_stands_under_its_settings() -> None:
    class Inner(Settings):
        depth: int = 1
        """How deep."""

    assert description_of(Inner, "depth") == "How deep."


def test_a_class_without_source_says_nothing() -> None:
    space: dict[str, type[Settings]] = {"Settings": Settings}
    exec("class Typed(Settings):\n    size: int = 3\n    '''Lost.'''\n", space)
    assert description_of(space["Typed"], "size") == ""
