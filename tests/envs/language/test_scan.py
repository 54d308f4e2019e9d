"""SCAN under permuted meanings: which commands are shown and asked, and what tasks and splits share."""

from __future__ import annotations

import contextlib
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
from metarl.envs.language.meanings import Borrowed, are_meanings, share_permutations
from metarl.envs.language.scan import Scan

import metarl
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.load import load
from metarl.families.question_batch import Asked
from metarl.families.questions import require_questions
from metarl.families.task import Tasks

Pair = tuple[str, str]


def make(**settings: object) -> Scan:
    family = require_questions(load("scan", **settings))
    assert isinstance(family, Scan)
    return family


def ask(family: Scan, tasks: Tasks, rounds: int = 3) -> list[Asked]:
    """Return the questions of the first rounds."""
    asked = []
    with contextlib.closing(family.make_vec(tasks)) as envs:
        for number in range(rounds):
            envs.restart(seed=None if number else 0)
            found = envs.asked()
            assert found is not None
            asked.append(found)
            envs.answer(np.zeros_like(found.targets), found)
    return asked


def pairs(family: Scan, asked: Asked, world: int) -> list[Pair]:
    """Return the questions of a world with their right answers, in words."""
    questions = zip(asked.observations[:, world], asked.targets[:, world], strict=True)
    return [(family.tell(source), family.tell_answer(target)) for source, target in questions]


def test_meanings_of_primitives_are_those_of_the_task() -> None:
    family = make()
    tasks = family.tasks([{"meanings": list(order)} for order in itertools.permutations(range(4))])
    rounds = ask(family, tasks)
    for world, order in enumerate(itertools.permutations(range(4))):
        names = ["WALK", "LOOK", "RUN", "JUMP"]
        means = {
            word: f"I_{names[meaning]}" for word, meaning in zip(("walk", "look", "run", "jump"), order, strict=True)
        }
        assert dict(pairs(family, rounds[0], world)) == means
        for command, actions in pairs(family, rounds[1], world):
            told = {action for action in actions.split() if "TURN" not in action}
            assert told == {means[word] for word in command.split() if word in means}


@pytest.mark.parametrize("preset", Scan.presets)
@pytest.mark.parametrize("split", ["train", "test"])
def test_no_query_is_in_the_support_and_none_is_asked_twice_in_a_round(preset: str, split: str) -> None:
    family = make(preset=preset)
    rounds = ask(family, family.sample(split, 4, seed=0))
    for world in range(4):
        support, *queries = [pairs(family, asked, world) for asked in rounds]
        assert len({*support}) == len(support) == family.shots
        for asked in queries:
            assert len({*asked}) == len(asked) == family.queries
            assert not {command for command, _ in support} & {command for command, _ in asked}


def test_mutual_exclusivity_shows_three_pairs_and_asks_for_the_fourth_too() -> None:
    family = make(preset="mutual-exclusivity")
    rounds, left_out = ask(family, family.sample("train", 30, seed=0), 2), set()
    for world in range(30):
        shown = dict(pairs(family, rounds[0], world))
        assert len(shown) == len({*shown.values()}) == 3
        (missing,) = {"dax", "lug", "wif", "zup"} - shown.keys()
        (colour,) = {"RED", "YELLOW", "GREEN", "BLUE"} - {*shown.values()}
        left_out.add(missing)
        asked = pairs(family, rounds[1], world)
        assert any(missing in command.split() for command, _ in asked)
        for command, actions in asked:
            assert 2 <= len(command.split()) <= 6
            assert actions.split() == [(shown | {missing: colour})[word] for word in command.split()]
    assert len(left_out) == 4


@pytest.mark.parametrize(("split", "shown", "asked"), [("train", 11, (12, 22)), ("test", 22, (24, 48))])
def test_tests_of_length_ask_for_longer_sequences_than_training_has(
    split: str, shown: int, asked: tuple[int, int]
) -> None:
    family = make(preset="length")
    rounds = ask(family, family.sample(split, 6, seed=0))
    support, queries = ((found.targets != 0).sum(axis=-1) for found in (rounds[0], rounds[1]))
    assert support.max() == shown
    assert queries.min() >= asked[0] and queries.max() <= asked[1]
    assert validation_lengths(family) == (11, 22)


def validation_lengths(family: Scan) -> tuple[int, int]:
    rounds = ask(family, family.sample("validation", 6, seed=0))
    longest = [int((found.targets != 0).sum(axis=-1).max()) for found in rounds[:2]]
    return longest[0], longest[1]


def test_the_test_of_scan_is_its_own_meanings_and_no_split_shares_a_permutation() -> None:
    for num_test in (1, 3):
        shared = share_permutations(num_test)
        assert list(map(len, shared)) == [21 - num_test, 3, num_test]
        assert len({*itertools.chain(*shared)}) == 24
    assert share_permutations(1)[2] == ((0.0, 1.0, 2.0, 3.0),)
    for preset in Scan.presets:
        family = make(preset=preset)
        seen = [{*map(tuple, family.sample(split, 64, seed=0).values["meanings"])} for split in family.splits]
        assert not seen[0] & seen[1] and not seen[0] & seen[2] and not seen[1] & seen[2]


def test_a_permutation_of_the_test_in_training_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = share_permutations(1)
    leaky = ((*shared[0], *shared[2]), *shared[1:])
    monkeypatch.setattr("metarl.envs.language.scan.share_permutations", lambda num_test: leaky)
    findings = metarl.check_family(make())
    assert any("'train' and 'test' share values of parameter 'meanings'" in finding for finding in findings)


def test_borrowed_meanings_are_never_scans_own_alone() -> None:
    drawn = Borrowed(1).sample(Streams.of(0, np.arange(5000)))
    assert Borrowed(1).contains(drawn).all()
    plain = (drawn[:, 4] < 0) & (drawn < 4).all(axis=1)
    assert not plain.any()
    assert len(np.unique(drawn, axis=0)) == Borrowed(1).num_values == 5 * 120 - 24
    assert not Borrowed(1).contains(np.array([[1.0, 0.0, 2.0, 3.0, -1.0]])).any()
    words = (drawn >= 0).mean(axis=0)
    np.testing.assert_allclose(words, 0.8, atol=0.02)


def test_words_that_a_task_borrows_are_asked_with_its_actions() -> None:
    family = make(preset="length", others=2)
    tasks = family.tasks([{"meanings": [-1, 4, 0, -1, 5, 1], "longest": 22}])
    asked = pairs(family, ask(family, tasks)[0], 0)
    means = {"look": "I_1", "run": "I_WALK", "1": "I_2", "2": "I_LOOK"}
    assert {word for command, _ in asked for word in command.split()} & {"walk", "jump"} == set()
    for command, actions in asked:
        told = {action for action in actions.split() if "TURN" not in action}
        assert told == {means[word] for word in command.split() if word in means}


def test_a_task_alone_asks_what_it_asks_in_a_batch() -> None:
    for preset in Scan.presets:
        family = make(preset=preset)
        tasks = family.sample("train", 4, seed=0)
        for together, alone in zip(ask(family, tasks), ask(family, tasks[2:3]), strict=True):
            np.testing.assert_array_equal(together.observations[:, 2:3], alone.observations)
            np.testing.assert_array_equal(together.targets[:, 2:3], alone.targets)


def test_a_sequence_is_right_as_a_whole_and_outcomes_tell_tokens_and_jump() -> None:
    family = make()
    tasks = family.sample("test", 2, seed=0)
    asked = ask(family, tasks, 2)[1]
    targets = asked.targets[:, :, None]
    answers = targets.copy()
    answers[:, 1, 0, 0] = 1  # the first action of every answer in the second task is a word
    rewards = family.score(answers, targets)
    np.testing.assert_array_equal(rewards[..., 0], np.tile([1.0, 0.0], (20, 1)))
    observations, mask = asked.observations[:, :, None], asked.mask[:, :, None]
    played = SimpleNamespace(
        observations=observations, actions=answers, rewards=rewards, mask=mask, targets=targets, final_observations=None
    )
    found = family.measure_round(tasks.values, 1, played)
    shares = 1 - 1 / (asked.targets[:, 1] != 0).sum(axis=-1)
    np.testing.assert_allclose(found["tokens"], [1.0, shares.mean()])
    np.testing.assert_array_equal(found["with jump"], [1.0, 0.0])
    played.observations = np.ones_like(observations)
    assert np.isnan(family.measure_round(tasks.values, 1, played)["with jump"]).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"shots": 5}, "shots is 5, and there are 4 primitive words; lower shots"),
        ({"others": 2}, "others is 2, and protocol 'add-jump' has none; set protocol: length"),
        ({"queries": 20_907}, "queries is 20,907, and there are 20,906 such commands; lower queries"),
        ({"preset": "length", "queries": 5000}, "queries is 5,000, and there are 3,920 such commands"),
        ({"protocol": "around-right"}, "protocol"),
    ],
)
def test_settings_without_commands_are_refused_in_one_line(settings: dict[str, object], words: str) -> None:
    with pytest.raises(MetarlError, match=words) as refused:
        make(**settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("meanings", [[0, 1, 2, 2], [0, 1, 2, 4], [0, 1, 2, -1], [0.5, 1, 2, 3]])
def test_meanings_that_are_no_permutation_are_refused(meanings: list[float]) -> None:
    family = make()
    assert not are_meanings(np.array([meanings], dtype=np.float64)).any()
    with pytest.raises(MetarlError, match="are no task; give four words different numbers from 0 to 3"):
        family.make_vec(family.tasks([{"meanings": meanings}]))


def test_a_longest_command_that_is_none_of_the_protocol_is_refused() -> None:
    family = make(preset="length", others=0)
    with pytest.raises(MetarlError, match="longest is 30; it must be 22 or 48"):
        family.make_vec(family.tasks([{"meanings": [0, 1, 2, 3], "longest": 30}]))
