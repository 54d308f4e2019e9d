"""Families around environments that others wrote: they take over the environment's spaces."""

from __future__ import annotations

import functools
from abc import abstractmethod
from typing import Any, ClassVar

from gymnasium import spaces

from ..base.errors import MetarlError
from .family import TaskFamily
from .layout import layout_of
from .spaces import ActionSpace, require_actions


class WrappedFamily(TaskFamily):
    """A family with the spaces of the environment that it wraps."""

    wrapper_module: ClassVar[str]
    """Gymnasium's module of wrappers for such environments; errors about spaces refer to it."""
    change_signature: ClassVar[str]
    """The method that gives a running environment another task, as `name(arguments)`; errors refer to it."""

    @abstractmethod
    def env_spaces(self) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
        """Return the observation and action space of one world."""

    @functools.cached_property
    def _spaces(self) -> tuple[spaces.Space[Any], Any]:
        observation, action = self.env_spaces()
        layout_of(observation, self.name, self.wrapper_module)
        require_actions(self.name, action, self.wrapper_module)
        return observation, action

    @property
    def observation_space(self) -> spaces.Space[Any]:
        """The environment's. Raises MetarlError for one that a family cannot have."""
        return self._spaces[0]

    @property
    def action_space(self) -> ActionSpace:
        """The environment's. Raises MetarlError for one that a family cannot have."""
        action: ActionSpace = self._spaces[1]
        return action

    def refuse_change(self) -> MetarlError:
        """Return the error of a family without a method that changes the task of a running environment."""
        return MetarlError(
            f"family {self.name!r} cannot change the task of a running environment; write its method "
            f"`{self.change_signature}`, or load it without switch_at"
        )
