"""Flat dicts of tensors, the part of a checkpoint that is the agent's."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.trials.agent import NUM_UPDATES

from .adam import MOMENTS, Adam, begin

AnyAdam = Adam | torch.optim.Adam
"""The second is that of stable-baselines3's policies."""

StateDict = dict[str, Tensor]
"""Everything that training changes, by name."""

MOST_COUNTED = 2**53
"""Largest count that a state may hold: every whole number up to it is a float64."""


def optimizer_state(optimizer: AnyAdam, parameters: Mapping[str, Tensor]) -> StateDict:
    """Return Adam's moments and step counts by parameter; zeros before its first step, so that names never change."""
    state: StateDict = {}
    for name, parameter in parameters.items():
        slots = optimizer.state.get(parameter) or begin(parameter)
        # torch's own class, which stable-baselines3 has, counts steps in the default dtype of the process.
        slots = {**slots, "step": slots["step"].to(torch.float32)}
        state |= {f"optimizer.{name}.{slot}": slots[slot].detach().clone() for slot in (*MOMENTS, "step")}
    return state


def load_optimizer(optimizer: AnyAdam, parameters: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Restore what `optimizer_state` gave."""
    for name, parameter in parameters.items():
        slots = {slot: state[f"optimizer.{name}.{slot}"].clone() for slot in (*MOMENTS, "step")}
        optimizer.state[parameter] = {
            slot: value if slot == "step" else value.to(parameter) for slot, value in slots.items()
        }


def load_tensors(targets: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Copy `state` into the tensors of `targets`, in place."""
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(state[name])


def training_state(tensors: Mapping[str, Tensor], optimizer: AnyAdam, parameters: Mapping[str, Tensor]) -> StateDict:
    """Return copies of `tensors`, and the optimiser's state of `parameters`."""
    return {
        **{name: value.detach().clone() for name, value in tensors.items()},
        **optimizer_state(optimizer, parameters),
    }


def load_training_state(
    tensors: Mapping[str, Tensor],
    optimizer: AnyAdam,
    parameters: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
) -> None:
    """Restore what `training_state` gave, in place."""
    load_tensors(tensors, state)
    load_optimizer(optimizer, parameters, state)


def require_fitting(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    """Raise MetarlError unless `state` can take the place of `expected`.

    It has the same names and shapes, every number is finite, counts are whole and not negative, and neither are sums of
    squares.
    """
    missing, unknown = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    if missing or unknown:
        first = f"{missing[0]!r} is missing" if missing else f"{unknown[0]!r} is unknown"
        raise MetarlError(f"the saved agent does not fit: {first}; was it trained with another agent or config?")
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            raise MetarlError(
                f"the saved agent does not fit: {name!r} has shape {tuple(state[name].shape)}, here it is "
                f"{tuple(tensor.shape)}; was it trained on another family or preset?"
            )
        if fault := _fault(name.rpartition(".")[2], state[name]):
            raise MetarlError(f"the saved agent is damaged: {name!r} {fault}; take another checkpoint")


_COUNTS = frozenset({"step", "count", NUM_UPDATES})
_SQUARES = frozenset({"exp_avg_sq", "squares", "square"})


def _fault(kind: str, tensor: Tensor) -> str:
    """Return what is wrong with a tensor whose name ends in `kind`, '' if nothing is."""
    if not tensor.isfinite().all():
        return "holds a number that is not finite"
    if kind in _COUNTS and not (0 <= float(tensor) <= MOST_COUNTED and float(tensor).is_integer()):
        return f"is {float(tensor):g}; it must be a whole number from 0 to {MOST_COUNTED:g}"
    if kind in _SQUARES and (tensor < 0).any():
        return "holds a negative mean or sum of squares"
    return ""


@contextlib.contextmanager
def restore_on_error(copy: Callable[[], StateDict], restore: Callable[[StateDict], object]) -> Iterator[None]:
    """Restore the state if an error or a signal is raised inside: an update that fails changes nothing."""
    before = copy()
    try:
        yield
    except BaseException:
        restore(before)
        raise
