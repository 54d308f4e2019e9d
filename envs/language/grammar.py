"""The grammar of SCAN: every command with the actions that it asks for.

From Lake and Baroni, Generalization without Systematicity, ICML 2018, figures 6 and 7 of its supplement.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

PRIMITIVES = ("walk", "look", "run", "jump")
"""Words whose meanings tasks permute."""
WORDS = (*PRIMITIVES, "turn", "left", "right", "opposite", "around", "twice", "thrice", "and", "after")
ACTIONS = ("I_WALK", "I_LOOK", "I_RUN", "I_JUMP", "I_TURN_LEFT", "I_TURN_RIGHT")
"""Actions of the primitives, in their order, then turns."""
TURNS = {"left": "I_TURN_LEFT", "right": "I_TURN_RIGHT"}


class Command(NamedTuple):
    """A command and what it asks for."""

    words: tuple[str, ...]
    """Words of the command."""
    actions: tuple[str, ...]
    """Actions in the order in which they are taken."""


@functools.cache
def scan_commands() -> tuple[Command, ...]:
    """Return all 20,910 commands: single ones, then those joined by `and`, then those joined by `after`."""
    single = tuple(_repeated())
    joined = list(itertools.product(single, single))
    return (
        *single,
        *(Command((*a.words, "and", *b.words), a.actions + b.actions) for a, b in joined),
        *(Command((*a.words, "after", *b.words), b.actions + a.actions) for a, b in joined),
    )


def _repeated() -> Iterator[Command]:
    """Yield verb phrases once, twice and three times; the four primitives come first."""
    for times, ending in ((1, ()), (2, ("twice",)), (3, ("thrice",))):
        for words, actions in _directed():
            yield Command(words + ending, actions * times)


def _directed() -> Iterator[Command]:
    """Yield primitives alone, then primitives and `turn` in each direction and manner."""
    verbs = [Command((word,), (action,)) for word, action in zip(PRIMITIVES, ACTIONS, strict=False)]
    yield from verbs
    for verb in (*verbs, Command(("turn",), ())):
        for direction, turn in TURNS.items():
            yield Command((*verb.words, direction), (turn, *verb.actions))
            yield Command((*verb.words, "opposite", direction), (turn, turn, *verb.actions))
            yield Command((*verb.words, "around", direction), (turn, *verb.actions) * 4)
