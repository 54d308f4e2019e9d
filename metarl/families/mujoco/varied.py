"""MuJoCo families with more fields of their model as task parameters: the option `varies`."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...base.errors import MetarlError, first_line
from ..option import OptionFamily
from ..task import Parameter, Values
from ..variation import Variation, draw_extremes, parse_variations
from .changes import apply
from .family import MujocoFamily
from .limbs import limb_factors
from .targets import shape_of_target

if TYPE_CHECKING:
    from ..batch import Batch


def require_applicable(model: Any, declared: Mapping[str, Variation]) -> None:
    """Raise MetarlError where a declared parameter cannot change a MuJoCo model.

    Reasons are an unknown target, a wrong shape, and an impossible value, such as a mass below zero. This tries both
    ends of each range, where they are finite, and a few draws.
    """
    import mujoco

    from .models import edit_copy

    for name, variation in declared.items():
        changes = {name: variation.changes}
        try:
            for change in variation.changes:
                shape_of_target(model, change.target)
            for value in _extremes(variation.parameter):
                edit_copy(model, functools.partial(apply, changes=changes, task={name: value}))
                limb_factors(model, changes, {name: value})
        except MetarlError as error:
            raise MetarlError(f"varies.{name}: {error}") from None
        except mujoco.FatalError as error:
            raise MetarlError(
                f"varies.{name}: MuJoCo refuses a model ({first_line(error)}); draw from another range"
            ) from None


def _extremes(parameter: Parameter) -> Iterator[np.ndarray]:
    """Yield the extremes of each range."""
    for distribution in filter(None, (parameter.train, parameter.extrapolation)):
        yield from draw_extremes(distribution)


@dataclass(frozen=True)
class VariedFamily(OptionFamily):
    """A MuJoCo family with further task parameters, which change fields of its model."""

    base: MujocoFamily
    """The family without the option."""
    varies: Mapping[str, Any]
    """The declared parameters, in the form that `parse_variations` takes."""

    def __post_init__(self) -> None:
        taken = [name for name in self.declared if name in self.base.parameters]
        if taken:
            raise MetarlError(
                f"varies.{taken[0]} is already a parameter of family {self.base.name!r}; take another name"
            )
        for name, variation in self.declared.items():
            if not variation.changes:
                raise MetarlError(
                    f"varies.{name} acts on nothing; add a target with set, scale or add, as in scale: body_mass[*]"
                )
        require_applicable(self.base.model, self.declared)
        super().__post_init__()

    @functools.cached_property
    def declared(self) -> Mapping[str, Variation]:
        """The declared parameters, by name."""
        return parse_variations(self.varies)

    @property
    def settings(self) -> dict[str, Any]:
        """The base's settings and `varies`."""
        return {**self.base.settings, "varies": dict(self.varies)}

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The base's parameters and the declared ones."""
        return {**self.base.parameters, **{name: variation.parameter for name, variation in self.declared.items()}}

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the base's batch with the changed models."""
        more = {name: variation.changes for name, variation in self.declared.items()}
        return self.base.varied_batch(values, more, threads=threads, render_mode=render_mode)
