"""SCAN's grammar against its published counts and examples, and meanings against a parser written independently."""

from __future__ import annotations

from collections import Counter

import numpy as np
from metarl.envs.language.commands import pseudo_table, scan_table
from metarl.envs.language.grammar import ACTIONS, WORDS, scan_commands

MEANINGS = {" ".join(command.words): " ".join(command.actions) for command in scan_commands()}


def interpret(words: list[str]) -> list[str]:
    """Return the actions of a command, read from its outermost word inwards."""
    for joint in ("and", "after"):
        if joint in words:
            at = words.index(joint)
            first, second = interpret(words[:at]), interpret(words[at + 1 :])
            return first + second if joint == "and" else second + first
    if words[-1] in ("twice", "thrice"):
        return interpret(words[:-1]) * {"twice": 2, "thrice": 3}[words[-1]]
    if len(words) == 1:
        return [f"I_{words[0].upper()}"]
    turn = [f"I_TURN_{words[-1].upper()}"]
    verb = [] if words[0] == "turn" else interpret(words[:1])
    if "around" in words:
        return (turn + verb) * 4
    return turn * (2 if "opposite" in words else 1) + verb


def test_there_are_as_many_commands_as_published() -> None:
    assert len(scan_commands()) == len(MEANINGS) == 20_910
    with_jump = [command for command in MEANINGS if "jump" in command.split()]
    assert len(with_jump) == 7_706 + 1  # the published test, and jump alone
    lengths = [len(actions.split()) for actions in MEANINGS.values()]
    assert sum(length <= 22 for length in lengths) == 16_990
    assert sum(length >= 24 for length in lengths) == 3_920
    assert max(lengths) == 48 and max(len(command.split()) for command in MEANINGS) == 9


def test_published_examples_mean_what_the_paper_says() -> None:
    left, right, jump = "I_TURN_LEFT", "I_TURN_RIGHT", "I_JUMP"
    assert MEANINGS["jump"] == jump
    assert MEANINGS["jump left"] == f"{left} {jump}"
    assert MEANINGS["jump around right"] == " ".join([right, jump] * 4)
    assert MEANINGS["turn left twice"] == f"{left} {left}"
    assert MEANINGS["jump thrice"] == " ".join([jump] * 3)
    assert MEANINGS["jump opposite left and walk thrice"] == f"{left} {left} {jump} I_WALK I_WALK I_WALK"
    around = " ".join([left, "I_LOOK"] * 4)
    assert (
        MEANINGS["jump opposite left after walk around left"]
        == f"{around.replace('LOOK', 'WALK')} {left} {left} {jump}"
    )


def test_every_command_means_what_a_parser_reads() -> None:
    for command, actions in MEANINGS.items():
        assert interpret(command.split()) == actions.split(), command


def test_tables_hold_every_command_in_tokens() -> None:
    table = scan_table(0)
    assert table.tokens == ("", *WORDS, *ACTIONS)
    for row, command in enumerate(scan_commands()):
        for tokens, words in ((table.sources[row], command.words), (table.targets[row], command.actions)):
            assert [table.tokens[token] for token in tokens[: len(words)]] == list(words)
            assert not tokens[len(words) :].any()


def test_pseudo_words_stand_in_every_sequence_of_up_to_six() -> None:
    table = pseudo_table()
    lengths = Counter((table.sources != 0).sum(axis=1).tolist())
    assert lengths == {length: 4**length for length in range(1, 7)}
    assert len(np.unique(table.sources, axis=0)) == len(table.sources)
    np.testing.assert_array_equal(table.targets, np.where(table.sources, table.sources + 4, 0))
