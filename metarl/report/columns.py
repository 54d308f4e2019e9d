"""The columns of a table, and the columns that several tables share."""

from __future__ import annotations

import enum
from dataclasses import dataclass

INTERVAL = "with its 95 % interval"
POOLED = f"interquartile mean (IQM) over seeds and tasks, {INTERVAL}"
"""How most numbers of a page are pooled."""
MEAN = f"mean over seeds and tasks, {INTERVAL}"


class Kind(enum.Enum):
    """What the cells of a column are, which decides how they are aligned."""

    NAME = enum.auto()
    """Names of rows, to the left."""
    VALUE = enum.auto()
    """Numbers and short words, to the right."""


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    heading: str
    """Heading in plain text, at most 40 characters."""
    meaning: str
    """What its cells say, in a sentence or two; docs/evaluation.md has the definitions."""
    unit: str = ""
    """Unit of its numbers, such as 'M'; '' where the cells have their own or none."""
    kind: Kind = Kind.VALUE

    @property
    def label(self) -> str:
        """The heading with the unit in parentheses."""
        return f"{self.heading} ({self.unit})" if self.unit else self.heading


PROBLEM = Column("problem", "Task family, with the settings that differ between problems of the page.", kind=Kind.NAME)
AGENT = Column("agent", "Agent, with the settings that differ between rows of the same agent.", kind=Kind.NAME)
MINUTES = Column("minutes", "Wall-clock minutes of rollouts and updates, without evaluations; mean over seeds.")
TRIAL_STEPS = Column(
    "env steps of a trial", "Environment steps that a learner spends in one task over all rounds; mean over tasks."
)
