"""Related training languages, by a loop over texts; what a task may not see; and a network that reads several parts."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.sequences.config import DecodingSettings, EncoderDecoderSettings
from metarl.agents.sequences.layers import hide
from metarl.agents.sequences.network import PARTS, EncoderDecoder
from metarl.agents.sequences.related import BUCKETS, Related
from torch.nn import functional as F

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.checks.questions import Respell
from metarl.trials.registered import make_agent
from tests.agents.sequences.languages import CODES, LANGUAGES, WORDS, Phrases, make_phrases, shown, split
from tests.agents.sequences.small import SMALL, drawn

pytest.importorskip("sacrebleu")


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Phrases:
    return make_phrases(tmp_path_factory.mktemp("phrases"))


def neighbours(text: str) -> Counter[int]:
    return Counter((a * 263 + b) % BUCKETS for a, b in pairwise([0, *text.encode(), 0]))


def likeness(answers: list[str], right: list[str]) -> float:
    found = []
    for one, other in zip(answers, right, strict=True):
        a, b = neighbours(one), neighbours(other)
        found.append(2 * (a & b).total() / (a.total() + b.total()))
    return round(sum(found) / len(found), 9)


def related_codes(family: Phrases, pairs: list[tuple[str, str]]) -> list[str]:
    """Return the codes of related languages, by a loop over texts. No two of these languages are relatives."""
    words, right = [word for word, _ in pairs], [translation for _, translation in pairs]
    found = {}
    for code in split(family, "train"):
        own = likeness([LANGUAGES[code].get(word, word) for word in words], right)
        itself = all(LANGUAGES[code].get(word) == translation for word, translation in pairs)
        if own > likeness(words, right) and not itself:
            found[code] = own
    return sorted(found, key=lambda code: -found[code])


def order(family: Phrases, pairs: list[tuple[str, str]]) -> list[str]:
    asked, right = (family.observe(side) for side in zip(*pairs, strict=True))
    return [split(family, "train")[number] for number in Related("x", family, 2).order(asked, right)]


@pytest.mark.parametrize("code", CODES)
def test_the_order_of_languages_is_that_of_a_loop_over_texts(code: str, family: Phrases) -> None:
    pairs = list(LANGUAGES[code].items())[:12]
    found = order(family, pairs)
    assert found == related_codes(family, pairs)
    assert len(found) > 2


def test_a_phrase_is_followed_by_what_the_nearest_languages_that_have_it_say(family: Phrases) -> None:
    pairs = list(LANGUAGES[split(family, "test")[0]].items())[:12]
    codes = related_codes(family, pairs)
    asked = family.observe(WORDS)[:, None, None]
    wide = Related("x", family, 2).widen(asked, [shown(family, pairs[:5]), shown(family, pairs[5:])])
    for word, row in zip(WORDS, wide[:, 0, 0], strict=True):
        told = [LANGUAGES[code][word] for code in codes if word in LANGUAGES[code]][:2]
        parts = [family.tell(part) for part in row.reshape(3, -1)]
        assert parts == [word, *told, *[""] * (2 - len(told))]


def test_before_any_pair_a_phrase_stands_alone(family: Phrases) -> None:
    asked = family.observe(WORDS)[:, None, None]
    wide = Related("x", family, 2).widen(asked, [])
    np.testing.assert_array_equal(wide[..., : family.length], asked)
    assert not wide[..., family.length :].any()


def test_a_training_language_is_never_told_its_own_translations_nor_those_of_its_relatives(tmp_path: Any) -> None:
    # Words of `twin` are those of `own` but for a third of them.
    codes = split(make_phrases(tmp_path / "first"), "train")
    own, twin = codes[0], f"{codes[0]}_XX"
    changed = {word: text if number % 3 else text[::-1] for number, (word, text) in enumerate(LANGUAGES[own].items())}
    family = make_phrases(tmp_path / "both", {**LANGUAGES, twin: changed})
    assert {own, twin} <= {*split(family, "train")}
    for code, words in ((own, LANGUAGES[own]), (twin, changed)):
        found = order(family, list(words.items())[:12])
        assert found
        assert not {own, twin} & {*found}, code


def test_targets_of_the_round_that_is_asked_change_nothing_of_what_is_read(family: Phrases) -> None:
    agent = make_agent("maml", family, {"network": {"name": "encoder-decoder", **SMALL, "related": 2}})
    support, asked = (shown(family, list(LANGUAGES[CODES[1]].items())[part]) for part in (slice(8), slice(8, 12)))
    read = agent.reader.read_all([support, asked])  # type: ignore[attr-defined]
    other = shown(family, [(word, "wrong") for word, _ in list(LANGUAGES[CODES[1]].items())[8:12]])
    again = agent.reader.read_all([support, other])  # type: ignore[attr-defined]
    assert torch.equal(read[1].observations, again[1].observations)
    assert not torch.equal(read[1].targets, again[1].targets)


def multi_source(family: Phrases, **settings: Any) -> EncoderDecoder:
    return EncoderDecoder(EncoderDecoderSettings(**{**SMALL, **settings}), DecodingSettings(), "agent 'x'", family)


def test_parts_are_encoded_alone_and_read_and_copied_from_together(family: Phrases) -> None:
    settings = {"copies": True, "embeddings": "tied"}
    network, single = multi_source(family, **settings, related=2), multi_source(family, **settings)
    parameters = drawn(network)
    pairs = list(LANGUAGES[split(family, "test")[0]].items())[:12]
    wide = Related("x", family, 2).widen(family.observe(WORDS)[:, None, None], [shown(family, pairs)])[:, 0, 0]
    numbers = torch.as_tensor(wide, dtype=torch.float64)
    tokens = numbers.long().unflatten(-1, (3, -1))
    x, seen = [], []
    for part in range(3):
        vectors, there = single.embedding.encode(parameters, single.embedding.source, tokens[:, part])
        encoded = single.source(parameters, vectors, hide(there)[..., None, None, :])
        x.append(encoded + parameters[PARTS][part])
        seen.append(there)
    behind = torch.cat([F.pad(tokens[:, part], (0, 1)) for part in range(3)], dim=-1)
    copied = torch.cat([each & (tokens[:, part, :1] > 0) for part, each in enumerate(seen)], dim=-1)
    memory = network.decoder.remember(parameters, (torch.cat(x, dim=-2), torch.cat(seen, dim=-1)), (behind, copied))
    targets = torch.as_tensor(family.observe(WORDS).astype(np.int64))
    expected = network.decoder.taught(parameters, memory, targets)
    found = network.decoder.taught(parameters, network.remember(parameters, numbers), targets)
    torch.testing.assert_close(found, expected)
    changed = numbers.clone()
    changed[:, family.length :] = 0
    without = network.decoder.taught(parameters, network.remember(parameters, changed), targets)
    assert not torch.allclose(found, without)


def test_places_that_no_question_needs_change_nothing(family: Phrases) -> None:
    network = multi_source(family, copies=True, related=1)
    parameters = drawn(network)
    numbers = torch.zeros(2, 2 * family.length, dtype=torch.float64)
    numbers[:, :3], numbers[0, family.length : family.length + 5] = 65.0, 66.0
    short = network._trim(numbers)
    assert short.shape == (2, 10)
    targets = torch.full((2, 3), 65)
    torch.testing.assert_close(
        *(network.decoder.taught(parameters, network.remember(parameters, each), targets) for each in (numbers, short))
    )


@pytest.mark.parametrize("name", ["maml", "fine-tuned", "from-scratch"])
def test_a_learner_reads_what_an_update_reads(name: str, family: Phrases, monkeypatch: pytest.MonkeyPatch) -> None:
    agent: Any = make_agent(name, family, {"network": {"name": "encoder-decoder", **SMALL, "related": 2}})
    words = list(LANGUAGES[split(family, "test")[0]].items())
    support, asked = shown(family, words[:8]), shown(family, words[8:12])
    updated = [data.observations for data in agent.reader.read_all([support, asked])]
    read, observe = [], agent.reader.observe

    def observing(*arguments: Any) -> Any:
        read.append(observe(*arguments))
        return read[-1]

    monkeypatch.setattr(agent.reader, "observe", observing)
    learner = agent.begin(Streams.of(0, np.zeros((1, 1), dtype=np.int64)))
    before = learner.answer(asked.observations, deterministic=True)
    learner.adapt(support)
    after = learner.answer(asked.observations, deterministic=True)
    assert before.shape == after.shape == asked.observations.shape
    alone, *adapted = (numbers for numbers, _ in read)
    assert not alone[..., family.length :].any()
    assert all(torch.equal(found, expected) for found, expected in zip(adapted, updated, strict=True))


def test_a_family_without_languages_is_refused() -> None:
    with pytest.raises(
        MetarlError,
        match='looks phrases up in training languages, and family "the checks\' family of sequences" has none',
    ):
        EncoderDecoder(EncoderDecoderSettings(**SMALL, related=1), DecodingSettings(), "agent 'x'", Respell())
