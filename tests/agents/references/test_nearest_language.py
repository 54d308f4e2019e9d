"""Translations of a related language, looked up in those of training."""

from __future__ import annotations

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.load import load
from metarl.trials.agent import AnsweringLearner
from metarl.trials.registered import make_agent
from tests.agents.sequences.languages import LANGUAGES, WORDS, Phrases, make_phrases, shown, split

pytest.importorskip("sacrebleu")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Phrases:
    return make_phrases(tmp_path_factory.mktemp("phrases"))


def begin(family: Phrases) -> AnsweringLearner:
    learner = make_agent("nearest-language", family).begin(Streams.of(0, np.zeros((1, 1), dtype=np.int64)))
    assert isinstance(learner, AnsweringLearner)
    return learner


def ask(learner: AnsweringLearner, family: Phrases, words: list[str]) -> list[str]:
    answers = learner.answer(family.observe(words)[:, None, None], deterministic=True)
    return [family.tell_answer(answer[0, 0]) for answer in answers]


def test_before_any_pair_it_copies(family: Phrases) -> None:
    assert ask(begin(family), family, WORDS) == WORDS


def test_answers_are_those_of_the_first_related_language_that_has_the_word(family: Phrases) -> None:
    learner = begin(family)
    pairs = list(LANGUAGES[split(family, "test")[0]].items())[:12]
    learner.adapt(shown(family, pairs[:5]))
    learner.adapt(shown(family, pairs[5:]))
    asked, right = (family.observe(side) for side in zip(*pairs, strict=True))
    order = learner.related.order(asked, right)  # type: ignore[attr-defined]
    codes = [split(family, "train")[number] for number in order]
    assert codes
    expected = [next((LANGUAGES[code][word] for code in codes if word in LANGUAGES[code]), word) for word in WORDS]
    found = ask(learner, family, WORDS)
    assert found == expected
    assert found != WORDS


def test_languages_of_other_splits_are_never_looked_up(family: Phrases) -> None:
    held_out = [*split(family, "validation"), *split(family, "test")]
    assert held_out
    known = {LANGUAGES[each].get(word) for each in split(family, "train") for word in WORDS}
    for code in held_out:
        learner = begin(family)
        learner.adapt(shown(family, list(LANGUAGES[code].items())))
        found = {*ask(learner, family, WORDS)}
        assert found <= known | {*WORDS}
        assert found & known


def test_a_family_that_hides_translations_is_refused(family: Phrases) -> None:
    with pytest.raises(MetarlError, match=r"nearest-language' learns from translations, .* set it to round"):
        make_agent("nearest-language", load("phrases", folder=family.folder, shots=8, queries=4, reveal="never"))
