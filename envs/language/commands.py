"""Commands of a language with their meanings, as tables of tokens in which tasks replace the primitive words."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from metarl.base.streams import Streams

from .grammar import ACTIONS, WORDS, Command, scan_commands
from .meanings import NUM_USED
from .sequences import pack

PSEUDO_WORDS, COLOURS = ("dax", "lug", "wif", "zup"), ("RED", "YELLOW", "GREEN", "BLUE")
MOST_WORDS = 6
"""Most pseudo-words of a command."""


@dataclass(frozen=True, eq=False)
class Commands:
    """Every command of a language, the four primitive words alone first, with the meanings of the identity."""

    tokens: tuple[str, ...]
    """Word or action of each token; '' for 0, which is none."""
    sources: np.ndarray
    """Words of each command. int64 [command, longest]"""
    targets: np.ndarray
    """Its actions. int64 [command, longest]"""
    word_tokens: np.ndarray
    """Token of each primitive word, also of those that no command here has. int64 [4 + others]"""
    action_tokens: np.ndarray
    """Token of each primitive action. int64 [4 + others]"""

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """Actions of each command, int64 [command]."""
        return (self.targets != 0).sum(axis=1)

    @functools.cached_property
    def by_length(self) -> np.ndarray:
        """Commands in ascending order of their actions, int64 [command]."""
        return np.argsort(self.lengths, kind="stable")

    def told(self, rows: np.ndarray, meanings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the words and actions of commands `rows` [world, question] in the words of tasks, [..., longest].

        `meanings` [world, word] is the action of each primitive word, and -1 for words that the task does not use.
        """
        worlds = np.arange(len(rows))[:, None, None]
        used = np.argsort(meanings < 0, axis=1, kind="stable")[:, :NUM_USED]
        meant = np.take_along_axis(meanings, used, axis=1).astype(np.int64)
        maps = np.tile(np.arange(len(self.tokens)), (len(rows), 1))
        maps[:, self.word_tokens[:NUM_USED]] = self.word_tokens[used]
        maps[:, self.action_tokens[:NUM_USED]] = self.action_tokens[meant]
        return maps[worlds, self.sources[rows]], maps[worlds, self.targets[rows]]


@functools.lru_cache(maxsize=8)
def scan_table(num_others: int) -> Commands:
    """Return SCAN's commands. `num_others` more primitive words and actions have tokens: 1, 2, ... and I_1, I_2, ..."""
    numbers = [str(number + 1) for number in range(num_others)]
    return _table(
        scan_commands(), (*WORDS, *numbers), (*ACTIONS, *(f"I_{number}" for number in numbers)), len(WORDS), num_others
    )


@functools.lru_cache(maxsize=1)
def pseudo_table() -> Commands:
    """Return the sequences of one to six of four pseudo-words, each of which means a colour."""
    means = dict(zip(PSEUDO_WORDS, COLOURS, strict=True))
    found = [
        Command(words, tuple(means[word] for word in words))
        for length in range(1, MOST_WORDS + 1)
        for words in itertools.product(PSEUDO_WORDS, repeat=length)
    ]
    return _table(found, PSEUDO_WORDS, COLOURS, NUM_USED, 0)


def _table(
    commands: Sequence[Command], words: tuple[str, ...], actions: tuple[str, ...], own_words: int, num_others: int
) -> Commands:
    """Return a table; the primitives are the first four of words and actions, and the last `num_others` of each."""
    tokens = ("", *words, *actions)
    numbers = {token: number for number, token in enumerate(tokens)}
    first_action, own_actions = 1 + len(words), len(actions) - num_others
    return Commands(
        tokens,
        pack([command.words for command in commands], numbers),
        pack([command.actions for command in commands], numbers),
        np.array([1 + at for at in _primitives(own_words, num_others)]),
        np.array([first_action + at for at in _primitives(own_actions, num_others)]),
    )


def _primitives(own: int, num_others: int) -> list[int]:
    return [*range(NUM_USED), *range(own, own + num_others)]


def draw_sequences(sources: np.ndarray, size: int, streams: Streams) -> np.ndarray:
    """Return different commands of two words or more in random order, int64 [world, size].

    Each is drawn as a length with equal chances and then words with equal chances; one that is there already is drawn
    again, as the paper's code does. That is a race of exponential clocks, each as fast as its command is likely.
    """
    lengths = (sources != 0).sum(axis=1)
    composed = np.flatnonzero(lengths > 1)
    num_alike = np.bincount(lengths)[lengths[composed]]
    arrivals = -np.log1p(-streams.uniform((len(composed),))) * num_alike
    first = np.sort(np.argpartition(arrivals, size - 1, axis=1)[:, :size], axis=1)
    order = np.argsort(streams.uniform((size,)), axis=1)
    return composed[np.take_along_axis(first, order, axis=1)]
