"""The words around the tables of a page: title, notes, and runs that are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .commands import portable
from .groups import Group
from .runs import LeftOut
from .tables import NOTHING, Asked


@dataclass(frozen=True)
class About:
    """Title, notes and options of a page, in every format."""

    again: str
    """The command that writes the page."""
    title: str | None = None
    """Title; None for one that names the families."""
    notes: Sequence[str] = ()
    """Paragraphs under the title."""
    asked: Asked = NOTHING
    """Tables that only some pages have."""
    left_out: Sequence[LeftOut] = ()
    """Runs and evaluations that the page leaves out."""

    def title_of(self, groups: Sequence[Group]) -> str:
        """Return the title, by default 'Results on' and the families."""
        families = dict.fromkeys(evaluation.title for group in groups for evaluation in group.evaluations)
        return self.title or f"Results on {' and '.join(families)}"

    def left_out_lines(self) -> list[str]:
        """Return a line with the reason for each run or evaluation that the page leaves out, with relative paths."""
        return [
            f"Left out: {' '.join(each.why.replace(str(each.path), portable(str(each.path))).split())}."
            for each in self.left_out
        ]
