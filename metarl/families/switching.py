"""Families whose task changes during a trial: the option `switch_at` of any family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..base.errors import MetarlError
from .option import OptionFamily
from .outcomes import Played
from .questions import asks_questions
from .task import Parameter, Values

if TYPE_CHECKING:
    from ..base.streams import Streams
    from .batch import Batch, Step


@dataclass(frozen=True)
class SwitchingFamily(OptionFamily):
    """A family whose worlds switch to another task after some steps of the trial, unannounced.

    Each world counts its own steps over all episodes of the trial. A switch leaves positions and velocities as they
    are. A task has every parameter once for the start and once more for each switch, such as `goal@300` from step 300
    on, all drawn independently. This measures continual adaptation: a joint fails, or the goal moves.
    """

    switch_at: tuple[int, ...]
    """Steps of the trial before each switch, ascending. Raises MetarlError unless they ascend from 1 or more."""

    def __post_init__(self) -> None:
        steps = self.switch_at
        if not steps or list(steps) != sorted(set(steps)) or steps[0] < 1:
            raise MetarlError(
                f"switch_at is {list(steps)}; give ascending whole numbers of steps, the first at least 1"
            )
        if asks_questions(self.base):
            raise MetarlError(
                f"family {self.base.name!r} draws the questions of a round when it begins, so its task cannot change "
                "after some steps; leave switch_at out"
            )
        self.base.require_changeable()
        super().__post_init__()

    @property
    def settings(self) -> dict[str, Any]:
        """The base's settings and `switch_at`."""
        return {**self.base.settings, "switch_at": list(self.switch_at)}

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The base's parameters, once for the start and once for each switch."""
        base = self.base.parameters
        again = {_name_at(name, step): parameter for step in self.switch_at for name, parameter in base.items()}
        return {**base, **again}

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the base's batch with switches."""
        names = list(self.base.parameters)
        phases = [{name: values[name] for name in names}]
        phases += [{name: values[_name_at(name, step)] for name in names} for step in self.switch_at]
        inner = self.base.batch(phases[0], threads=threads, render_mode=render_mode)
        return _SwitchingBatch(inner, phases, self.switch_at)

    def measure_round(self, values: Values, number: int, played: Played) -> Mapping[str, np.ndarray]:
        """Return the base's outcomes of a round, by the values in force: of each step where they change within it.

        The steps of earlier rounds are counted as if no episode of theirs had ended before the horizon.
        """
        elapsed = number * self.horizon + np.arange(len(played.mask))
        if not np.isin(self.switch_at, elapsed[1:]).any():
            return self.base.measure_round(
                self.values_at(values, np.full(played.mask.shape[1], elapsed[0])), number, played
            )
        each = {name: value[None] for name, value in values.items()}
        elapsed = np.broadcast_to(elapsed[:, None], played.mask.shape[:2])
        return self.base.measure_round(self.values_at(each, elapsed), number, played)

    def values_at(self, values: Values, elapsed: np.ndarray) -> dict[str, np.ndarray]:
        """Return the base's values in force after `elapsed` steps of the trial, int64 [...].

        Each of `values` is the task's, [..., *shape], and broadcasts against `elapsed`.
        """
        phase = np.searchsorted(self.switch_at, elapsed, side="right")
        now = {}
        for name in self.base.parameters:
            chosen = np.broadcast_to(values[name], (*phase.shape, *values[name].shape[phase.ndim :])).copy()
            for number, step in enumerate(self.switch_at, 1):
                np.copyto(chosen, values[_name_at(name, step)], where=_like(phase == number, chosen))
            now[name] = chosen
        return now


def _like(where: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Return `where` with further axes of one, as many as `array` has."""
    return where.reshape(*where.shape, *(1,) * (array.ndim - where.ndim))


def _name_at(name: str, step: int) -> str:
    """Return the name of a parameter from a step of the trial on."""
    return f"{name}@{step}"


class _SwitchingBatch:
    """A batch whose worlds go from one phase's values to the next."""

    def __init__(self, inner: Batch, phases: Sequence[Values], switch_at: Sequence[int]) -> None:
        self.inner, self.phases, self.switch_at = inner, phases, switch_at
        num_worlds = len(next(iter(phases[0].values())))
        self.elapsed = np.zeros(num_worlds, dtype=np.int64)
        self.phase = np.zeros(num_worlds, dtype=np.int64)

    @property
    def render_fps(self) -> int:
        return self.inner.render_fps

    def begin(self, where: np.ndarray) -> None:
        self.inner.begin(where)
        self.elapsed[where] = 0
        self._enter(np.where(where, 0, self.phase))

    def _enter(self, phase: np.ndarray) -> None:
        """Give each world the values of its new phase, where its phase changes."""
        moved = phase != self.phase
        for number in np.unique(phase[moved]):
            self.inner.change(moved & (phase == number), self.phases[number])
        self.phase = phase

    def _switch(self, where: np.ndarray) -> None:
        """Switch the marked worlds that are due. Others wait, and keep all that their observations are made of."""
        due = np.searchsorted(self.switch_at, self.elapsed, side="right")
        self._enter(np.where(where, due, self.phase))

    def reset(self, where: np.ndarray, streams: Streams) -> np.ndarray:
        self._switch(where)
        return self.inner.reset(where, streams)

    def step(self, actions: np.ndarray, where: np.ndarray, streams: Streams) -> Step:
        self._switch(where)
        self.elapsed += where
        return self.inner.step(actions, where, streams)

    def change(self, where: np.ndarray, values: Values) -> None:
        raise MetarlError("a switching family cannot switch inside another one; list all steps in one switch_at")

    def render(self, world: int) -> np.ndarray | None:
        return self.inner.render(world)

    def close(self) -> None:
        self.inner.close()
