"""The `start_from` section of a training's config: which run the agent starts from, and what it takes of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ..base.settings import Count, Settings

Part = Annotated[str, Field(min_length=1)]
"""The name of a tensor of an agent's state, or its beginning up to a dot: `memory`, `layers.0`."""


class StartConfig(Settings):
    """The run whose best checkpoint an agent starts from.

    `start_from: RUN` is short for `start_from: {run: RUN}`.
    """

    run: Annotated[str, Field(min_length=1)]
    """Its folder. '{seed}' in it becomes this run's seed."""
    take: Literal["all", "fitting"] = "all"
    """`all` goes on with the whole agent, its optimiser's state too, and refuses a run of other networks. `fitting`
    takes every tensor that has the name and shape of one here, of another family, other spaces or another memory; the
    rest and the optimiser begin anew."""
    leave: tuple[Part, ...] = ()
    """Parts that `fitting` leaves new all the same, such as [policy, value]: names of tensors, or their beginnings up
    to a dot."""
    freeze: tuple[Part, ...] = ()
    """Parts that were taken and that training does not change, such as [memory]."""
    frozen_updates: Count | None = None
    """Updates after which they are trained too. None never does."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.leave and self.take == "all":
            raise ValueError("leave names parts that stay new, but take is 'all'; take: fitting")
        if self.frozen_updates is not None and not self.freeze:
            raise ValueError("frozen_updates is set, but nothing is frozen; give freeze, such as [memory]")
        return self

    def frozen_at(self, update: int) -> tuple[str, ...]:
        """Return the parts that are frozen in an update, counted from 0."""
        return self.freeze if self.frozen_updates is None or update < self.frozen_updates else ()


def begins_with(name: str, part: str) -> bool:
    """Return whether a tensor's name is `part`, or goes on behind it with a dot."""
    return f"{name}.".startswith(f"{part}.")


def started(value: Any) -> Any:
    """Return what `start_from` says as a mapping: `start_from: RUN`."""
    return {"run": value} if isinstance(value, str) else value
