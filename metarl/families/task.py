"""Tasks: the parameters of a family, and batches of their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, overload

import numpy as np
from pydantic import Field

from .distributions import Distribution

SPLITS = ("train", "validation", "test", "extrapolation")
"""The four splits. `validation` and `test` are unseen draws from the training distribution; `extrapolation` draws from
outside its range."""

Values = Mapping[str, np.ndarray]
"""Parameter values of a batch of tasks or worlds, by name: float64 [n, *shape of the parameter]."""

Reveal = Literal["step", "round", "never"]
"""When a learner is shown the targets of its steps. Whatever it is, the update of a training sees them all."""


class Measure(NamedTuple):
    """What an episode is measured by."""

    name: str = "return"
    """Its name on axes and in tables."""
    per_step: bool = False
    """Whether it is the mean reward of the episode's steps, so that rounds of different lengths compare, and not their
    sum."""
    percent: bool = False
    """Whether it is a share, which tables and figures tell in percent."""

    @property
    def label(self) -> str:
        """The name with its unit, for headings and axes."""
        return f"{self.name} (%)" if self.percent else self.name

    @property
    def definition(self) -> str:
        """What it is, with its unit: the beginning of a sentence."""
        if not self.per_step:
            return f"Undiscounted {self.label} of an episode"
        return f"{self.label[:1].upper()}{self.label[1:]} of a round, mean over its steps"

    def tell(self, values: np.ndarray) -> np.ndarray:
        """Return measured values in the unit in which they are told: percent of shares."""
        return 100.0 * values if self.percent else values


Horizon = Annotated[int, Field(ge=1, le=10**7, strict=True)]
"""Steps after which an episode is cut off."""


Count = Annotated[int, Field(ge=1, le=10**5, strict=True)]
"""A number of examples, classes and the like."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a family's tasks: its distributions, unit and meaning."""

    train: Distribution
    """Distribution of the train split, and of validation and test where they have none of their own."""
    extrapolation: Distribution | None = None
    """Distribution of the extrapolation split, outside the range of `train`; None where no value lies outside."""
    unit: str = ""
    """Unit of the values; '' where they have none."""
    meaning: str = ""
    """Meaning of the parameter in a few words."""
    validation: Distribution | None = None
    """Distribution of the validation split, of values that training never has; None for that of `train`."""
    test: Distribution | None = None
    """Distribution of the test split, of values that neither training nor validation has; None for that of `train`."""

    def of(self, split: str) -> Distribution:
        """Return the distribution of a split."""
        own: Distribution | None = getattr(self, split)
        return self.train if own is None else own


@dataclass(frozen=True)
class Tasks:
    """A batch of tasks of one family."""

    values: Values
    """Parameter values by name, float64 [task, *shape]."""
    index: np.ndarray
    """Place of each task in its split's list, which determines its random numbers. int64 [task]"""

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self.index)

    @overload
    def __getitem__(self, item: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, item: slice | np.ndarray | Sequence[int]) -> Tasks: ...
    def __getitem__(self, item: int | slice | np.ndarray | Sequence[int]) -> dict[str, Any] | Tasks:
        """Return one task as a dict of numbers and lists, or a smaller batch whose tasks keep their random numbers."""
        if isinstance(item, (int, np.integer)):
            return {name: value[item].tolist() for name, value in self.values.items()}
        return Tasks({name: value[item] for name, value in self.values.items()}, self.index[item])

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Iterate over the tasks as dicts of numbers and lists."""
        return (self[i] for i in range(len(self)))
