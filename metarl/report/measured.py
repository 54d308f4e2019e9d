"""What the groups of a page are measured by, in words: the return, or the measure that a family has in its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .groups import Group


class Measured(NamedTuple):
    """The words for the measure of groups; of several measures each, with 'or' between them."""

    name: str
    """Its name, such as 'return' or 'accuracy'."""
    label: str
    """The name with its unit, for headings, such as 'accuracy (%)'."""
    definition: str
    """What it is: the beginning of a sentence, and the title of an axis."""
    per_step: bool
    """Whether a round of all groups is measured by a mean over its steps, which no sum over rounds adds up."""

    @property
    def title(self) -> str:
        """The label with a capital letter."""
        return f"{self.label[:1].upper()}{self.label[1:]}"


def measured(groups: Sequence[Group]) -> Measured:
    """Return the words for what groups are measured by."""
    measures = list(dict.fromkeys(group.measure for group in groups))
    first, *others = (measure.definition for measure in measures)
    return Measured(
        " or ".join(dict.fromkeys(measure.name for measure in measures)),
        " or ".join(dict.fromkeys(measure.label for measure in measures)),
        " or ".join([first, *(f"{other[:1].lower()}{other[1:]}" for other in others)]),
        all(measure.per_step for measure in measures),
    )
