"""Errors of the batched environment that are also of the kinds that Gymnasium's users expect."""

from __future__ import annotations

import gymnasium.error

from ..base.errors import MetarlError


class ArgumentTypeError(MetarlError, TypeError):
    """An argument that is unknown or has a wrong type."""


class ArgumentValueError(MetarlError, ValueError):
    """An argument with a value that is not allowed."""


class InvalidActionError(MetarlError, gymnasium.error.InvalidAction):
    """An action that is not in the action space."""


class ResetNeededError(MetarlError, gymnasium.error.ResetNeeded):
    """A step of a world whose episode has ended, or that was never reset."""
