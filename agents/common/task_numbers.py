"""The parameters of tasks as numbers for a network's input."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from metarl.families.family import TaskFamily
from metarl.families.task import Tasks

_NUM_SAMPLED = 1000
"""Training tasks that define the scale."""


class TaskNumbers:
    """The parameters of a family's tasks, each in units of its spread over training tasks.

    Parameters that are the same in every training task are left out. Mean and deviation are those of the first tasks of
    the train split's seed 0, so they follow from the family alone.
    """

    def __init__(self, family: TaskFamily) -> None:
        self.family = family

    @cached_property
    def _sampled(self) -> np.ndarray:
        """Parameters of training tasks, [task, number]."""
        return _numbers(self.family.sample("train", _NUM_SAMPLED, seed=0))

    @cached_property
    def varying(self) -> np.ndarray:
        """Whether each of a task's numbers differs between training tasks. bool [number]"""
        return np.ptp(self._sampled, axis=0) > 0

    def __len__(self) -> int:
        """Return how many numbers stand for a task."""
        return int(self.varying.sum())

    def scaled(self, tasks: Tasks) -> np.ndarray:
        """Return each task's numbers: zero mean and unit deviation over training tasks. float64 [task, number]"""
        sampled = self._sampled[:, self.varying]
        return (_numbers(tasks)[:, self.varying] - sampled.mean(axis=0)) / sampled.std(axis=0)


def _numbers(tasks: Tasks) -> np.ndarray:
    """Return the parameters of each task in one row, [task, number]."""
    return np.concatenate([value.reshape(len(tasks), -1) for value in tasks.values.values()], axis=1)
