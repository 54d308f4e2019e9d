"""The cells of a table: what each says, with no markup. A renderer formats them by their type."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..base.text import interval_text, number_text, with_noun

MAX_LENGTH = 40
"""Characters that a cell has at most."""
_LARGE = 1e7
"""Numbers from here on are written with an exponent, so that a value and its interval fit into a cell."""


@dataclass(frozen=True)
class Text:
    """Words."""

    text: str
    """The words, at most 40 characters; nothing in them is markup."""
    emphasis: bool = False
    """Whether the reader must not overlook them."""


@dataclass(frozen=True)
class Name:
    """The name of an agent or a problem."""

    text: str
    """The name, at most 40 characters."""
    whole: str
    """The same with every setting, however long."""


@dataclass(frozen=True)
class Number:
    """A number, with its interval where the statistic has one."""

    value: float
    """The number; one that is not finite is printed as such."""
    decimals: int
    """Decimals of the number and of the ends of its interval."""
    interval: tuple[float, float] | None = None
    """Ends of the 95 % interval, NaN where there is one task only; None for a statistic without interval."""
    unit: str = ""
    """What stands directly behind the number, such as '%'."""
    signed: bool = False
    """Whether a plus stands before a positive number."""
    note: str = ""
    """What stands behind it in parentheses."""

    @property
    def has_interval(self) -> bool:
        """Whether an interval is printed: not behind a number that is not finite."""
        return self.interval is not None and math.isfinite(self.value)


@dataclass(frozen=True)
class Numbers:
    """Several numbers of one kind, such as one for each round."""

    values: tuple[float, ...]
    """The numbers, at least one."""
    decimals: int
    """Decimals of each."""


@dataclass(frozen=True)
class Seeds:
    """Seeds of training runs."""

    seeds: tuple[int, ...] = ()
    """The seeds as far as they are known, in the order given."""
    count: int = 0
    """How many there are where they are not known."""


@dataclass(frozen=True)
class Missing:
    """No value, because the column means nothing in this row."""


Cell = Text | Name | Number | Numbers | Seeds | Missing

MISSING = Missing()
NEVER = Text("never")


def plain(cell: Cell) -> str:
    """Return a cell as plain text, at most 40 characters unless its words are longer."""
    match cell:
        case Text(text) | Name(text):
            return text
        case Number():
            return _number(cell)
        case Numbers():
            return " / ".join(all_digits(cell))
        case Seeds(seeds, count):
            listed = ", ".join(map(str, seeds))
            return listed if listed and len(listed) <= MAX_LENGTH else with_noun(len(seeds) or count, "seed")
        case Missing():
            return "-"


def digits(value: float, decimals: int) -> str:
    """Return the digits of a number, with an exponent from ten million on; 'not finite' for one that is not."""
    return f"{value:.2e}" if math.isfinite(value) and abs(value) >= _LARGE else number_text(value, decimals)


def signed_digits(cell: Number) -> str:
    """Return the digits of a number without its unit, with a plus where the cell asks for one."""
    return f"{'+' if cell.signed and cell.value > 0 else ''}{digits(cell.value, cell.decimals)}"


def all_digits(cell: Numbers) -> list[str]:
    """Return the digits of each number; of the first and the last around '...' where all are too long for a cell."""
    numbers = [digits(value, cell.decimals) for value in cell.values]
    return numbers if len(" / ".join(numbers)) <= MAX_LENGTH else [numbers[0], "...", numbers[-1]]


def interval_digits(cell: Number, form: Callable[[str], str] = str) -> str:
    """Return the ends of an interval in brackets, each through `form`; 'none' where there is one task only."""
    return interval_text(cell.interval or (math.nan, math.nan), lambda end: form(digits(end, cell.decimals)))


def _number(cell: Number) -> str:
    parts = [f"{signed_digits(cell)}{cell.unit}"]
    parts += [interval_digits(cell)] if cell.has_interval else []
    parts += [f"({cell.note})"] if cell.note else []
    return " ".join(parts)
