"""Translations of a related language, looked up in those of training."""

from __future__ import annotations

import random

import numpy as np
import pytest
from metarl.agents.references.nearest_language import NearestLanguageLearner
from metarl.envs.language.phrases import Phrases

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.load import load
from metarl.families.questions import require_questions
from metarl.trials.episodes import Episodes
from metarl.trials.registered import make_agent

chrf = pytest.importorskip("sacrebleu").metrics.CHRF()
CODES = [f"{letter}{other}" for letter in "bdfgk" for other in "ao"]
WORDS = [f"word {number}" for number in range(40)]


def translations(code: str) -> dict[str, str]:
    """Return a language: it shares roots with all, has vowels and an ending of its own, and lacks some words."""
    roots, own = random.Random(0), random.Random(code)
    table, ending = str.maketrans("aeiou", "".join(own.sample("aeiou", 5))), own.choice(["", "sh", "lo", "ik"])
    words = {
        word: "".join(roots.choice("kmnprst") + roots.choice("aeiou") for _ in range(3)).translate(table) + ending
        for word in WORDS
    }
    return {word: words[word] for word in WORDS if own.random() < 0.8}


LANGUAGES = {code: translations(code) for code in CODES}


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Phrases:
    folder = tmp_path_factory.mktemp("phrases")
    for code, pairs in LANGUAGES.items():
        lines = (f"{word}\t{translation}" for word, translation in pairs.items())
        (folder / f"{code}.tsv").write_text("\n".join(lines), encoding="utf-8")
    found = require_questions(load("phrases", folder=str(folder), shots=8, queries=4))
    assert isinstance(found, Phrases)
    return found


def split(family: Phrases, name: str) -> list[str]:
    """Return the codes of the languages of a split."""
    return [family.pairs.languages[place] for place in family.pairs.shared[name]]


def begin(family: Phrases) -> NearestLanguageLearner:
    learner = make_agent("nearest-language", family).begin(Streams.of(0, np.zeros((1, 1), dtype=np.int64)))
    assert isinstance(learner, NearestLanguageLearner)
    return learner


def show(learner: NearestLanguageLearner, family: Phrases, pairs: list[tuple[str, str]]) -> None:
    asked, right = (family.observe(side)[:, None, None] for side in zip(*pairs, strict=True))
    shape = asked.shape[:3]
    never = np.zeros(shape, dtype=bool)
    learner.adapt(
        Episodes(
            observations=asked,
            actions=right,
            rewards=np.zeros(shape),
            terminations=never,
            truncations=never,
            mask=np.ones(shape, dtype=bool),
            final_observations=asked[-1],
            successes=None,
            targets=right,
        )
    )


def ask(learner: NearestLanguageLearner, family: Phrases, words: list[str]) -> list[str]:
    answers = learner.answer(family.observe(words)[:, None, None], deterministic=True)
    return [family.tell_answer(answer[0, 0]) for answer in answers]


def likeness(answers: list[str], right: list[str]) -> float:
    return float(
        np.mean([chrf.sentence_score(*each).score for each in zip(answers, [[r] for r in right], strict=True)])
    )


def looked_up(family: Phrases, pairs: list[tuple[str, str]], word: str) -> str:
    """Return the answer by a plain loop over texts."""
    right = [translation for _, translation in pairs]
    best, score = word, likeness([shown for shown, _ in pairs], right)
    for code in split(family, "train"):
        known = LANGUAGES[code]
        own = likeness([known.get(shown, shown) for shown, _ in pairs], right)
        if word in known and own > score:
            best, score = known[word], own
    return best


@pytest.mark.parametrize("code", CODES)
def test_answers_are_those_of_a_loop_over_texts_also_when_pairs_come_in_two_rounds(code: str, family: Phrases) -> None:
    learner, pairs = begin(family), list(LANGUAGES[code].items())[:12]
    show(learner, family, pairs[:5])
    assert ask(learner, family, WORDS) == [looked_up(family, pairs[:5], word) for word in WORDS]
    show(learner, family, pairs[5:])
    found = ask(learner, family, WORDS)
    assert found == [looked_up(family, pairs, word) for word in WORDS]
    assert found != WORDS


def test_before_any_pair_it_copies(family: Phrases) -> None:
    assert ask(begin(family), family, WORDS) == WORDS


def test_languages_of_other_splits_are_never_looked_up(family: Phrases) -> None:
    held_out = [*split(family, "validation"), *split(family, "test")]
    assert held_out
    for code in held_out:
        learner = begin(family)
        show(learner, family, list(LANGUAGES[code].items()))
        known = {LANGUAGES[each].get(word) for each in split(family, "train") for word in WORDS}
        assert {*ask(learner, family, WORDS)} <= known | {*WORDS}
        assert learner.nearest[0, 0]
    trained = split(family, "train")[0]
    learner = begin(family)
    show(learner, family, list(LANGUAGES[trained].items())[:20])
    words = list(LANGUAGES[trained])
    assert ask(learner, family, words) == [LANGUAGES[trained][word] for word in words]


def test_a_family_that_hides_translations_is_refused(family: Phrases) -> None:
    with pytest.raises(MetarlError, match=r"nearest-language' learns from translations, .* set it to round"):
        make_agent("nearest-language", load("phrases", folder=family.folder, shots=8, queries=4, reveal="never"))
