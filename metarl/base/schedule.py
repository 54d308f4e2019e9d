"""Settings that change over training."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from .settings import Count, Settings


class Schedule(Settings):
    """A value that goes linearly from `start` to `end` over a number of updates, and stays there."""

    start: Annotated[float, Field(ge=0)]
    """Value at the first update."""
    end: Annotated[float, Field(ge=0)] | None = None
    """Value after `updates` updates; None for one that does not change."""
    updates: Count | None = None
    """Updates from `start` to `end`."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.end is None) != (self.updates is None):
            raise ValueError("end and updates go together; give both, or neither")
        return self

    def __str__(self) -> str:
        return f"{self.start:g}" if self.end is None else f"{self.start:g} to {self.end:g} in {self.updates} updates"

    def at(self, update: int) -> float:
        """Return the value for an update, counted from 0."""
        if self.end is None or self.updates is None:
            return self.start
        return self.start + (self.end - self.start) * min(1.0, update / self.updates)


def _constant(value: Any) -> Any:
    # A boolean is left for pydantic to refuse: as a number it would be a slip.
    return value if isinstance(value, dict | Schedule) else {"start": value}


def _above_zero(schedule: Schedule) -> Schedule:
    if not schedule.start > 0:
        raise ValueError("it must start above 0")
    return schedule


def _at_most_one(schedule: Schedule) -> Schedule:
    for key, value in (("start", schedule.start), ("end", schedule.end)):
        if value is not None and value > 1:
            raise ValueError(f"its {key} is {value:g}; it must be at most 1")
    return schedule


Scheduled = Annotated[Schedule, BeforeValidator(_constant)]
"""A setting that may change: a number, or a mapping with `start`, `end` and `updates`."""
ScheduledRate = Annotated[Schedule, BeforeValidator(_constant), AfterValidator(_above_zero)]
"""The same, above zero at first."""
ScheduledFraction = Annotated[Schedule, BeforeValidator(_constant), AfterValidator(_at_most_one)]
"""The same, from 0 to 1."""
