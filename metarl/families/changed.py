"""Which settings of a family may change under an agent that was trained on it."""

from __future__ import annotations

from ..base.errors import MetarlError
from ..base.terminal import one_line
from .family import TaskFamily

SPLITS = ("train", "validation", "test")
"""Splits whose values a family may keep apart."""


def require_playable(trained: TaskFamily, other: TaskFamily) -> None:
    """Raise MetarlError unless an agent that was trained on a family can play the same family with other settings.

    Spaces of observations, actions and right answers must be equal, and so must the step or round in which answers are
    revealed. No episode may be longer. A parameter whose tests have values of their own, such as users, must keep the
    values of every split: other settings could make tests of what the agent was trained on.
    """
    for kind, ours, theirs in (
        ("observation space", trained.observation_space, other.observation_space),
        ("action space", trained.action_space, other.action_space),
        ("space of right answers", trained.target_space, other.target_space),
        ("reveal", trained.reveal, other.reveal),
    ):
        if ours != theirs:
            raise MetarlError(
                f"the {kind} is {one_line(str(theirs))}, and the agent was trained with {one_line(str(ours))}; leave "
                "the setting out, or train an agent with it"
            )
    if other.horizon > trained.horizon:
        raise MetarlError(
            f"an episode has {other.horizon} steps, and the agent was trained with {trained.horizon}; take as many or "
            "fewer, or train an agent with more"
        )
    for name, parameter in trained.parameters.items():
        apart = parameter.validation is not None or parameter.test is not None
        another = other.parameters.get(name)
        if apart and (another is None or any(parameter.of(split) != another.of(split) for split in SPLITS)):
            raise MetarlError(
                f"{name} has other values in training and tests than where the agent was trained, so it may have been "
                "trained on a test; leave the setting out, or train an agent with it"
            )
