"""Languages as tasks: which pairs are shown and asked, which languages splits have, and how answers are scored."""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from metarl.envs.language.installed import read_messages
from metarl.envs.language.pair_set import Rule, make_pair_set, related
from metarl.envs.language.phrases import Phrases
from metarl.envs.language.sequences import draw_others
from metarl.envs.language.vocabularies import Bytes, Characters, make_vocabulary

import metarl
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.load import load
from metarl.families.question_batch import Asked
from metarl.families.questions import require_questions
from metarl.families.task import Tasks

sacrebleu = pytest.importorskip("sacrebleu")
CODES = ("de", "fi", "fr", "hu", "it", "ja", "pl", "pt", "pt_BR", "ru", "sr", "sr_Latn", "sv")
"""Codes of the languages of `folder`."""


def word(code: str, number: int) -> str:
    """Return a word of a made-up language, with letters that are not ASCII."""
    return f"{code.replace('_', '')}é{number * 7919 % 997}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("phrases")
    for code in CODES:
        lines = (f"word {number}\t{word(code, number)}" for number in range(40))
        (path / f"{code}.tsv").write_text("\n".join(lines), encoding="utf-8")
    return path


def make(**settings: object) -> Phrases:
    family = require_questions(load("phrases", **{"shots": 10, "queries": 6, **settings}))
    assert isinstance(family, Phrases)
    return family


def ask(family: Phrases, tasks: Tasks, rounds: int = 3) -> list[Asked]:
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


def pairs(family: Phrases, asked: Asked, world: int) -> list[tuple[str, str]]:
    questions = zip(asked.observations[:, world], asked.targets[:, world], strict=True)
    return [(family.tell(source), family.tell_answer(target)) for source, target in questions]


@pytest.mark.parametrize("vocabulary", ["bytes", "characters", "subwords"])
@pytest.mark.parametrize("direction", ["from-english", "to-english"])
def test_pairs_are_those_of_the_language_and_queries_are_never_in_the_support(
    vocabulary: str, direction: str, folder: Path
) -> None:
    if vocabulary == "subwords":
        pytest.importorskip("sentencepiece")
    family = make(folder=str(folder), vocabulary=vocabulary, direction=direction, vocabulary_size=350)
    for split in ("train", "test"):
        tasks = family.sample(split, 3, seed=0)
        rounds = ask(family, tasks)
        for world, place in enumerate(tasks.values["language"].astype(int)):
            known = {(f"word {n}", word(family.pairs.languages[place], n)) for n in range(40)}
            if direction == "to-english":
                known = {(other, one) for one, other in known}
            support, *queries = [pairs(family, asked, world) for asked in rounds]
            assert len({*support}) == len(support) == 10
            for asked in queries:
                assert len({*asked}) == len(asked) == 6
                assert not {*support} & {*asked}
                if split == "train" or vocabulary != "characters":  # letters of test languages may be unknown
                    assert {*support, *asked} <= known


def test_a_source_that_comes_again_counts_once_so_that_no_query_is_in_the_support() -> None:
    twice = {
        code: [("one", f"{code} 1"), ("one", f"{code} again"), ("two", f"{code} 2")] for code in ("de", "fr", "it")
    }
    found = make_pair_set("texts", twice, Rule("from-english", 16, "bytes", 0))
    assert found.counts.tolist() == [2, 2, 2]
    back = {code: [("one", f"{code} 1"), ("uno", f"{code} 1")] for code in ("de", "fr", "it")}
    assert make_pair_set("texts", back, Rule("to-english", 16, "bytes", 0)).counts.tolist() == [1, 1, 1]


def test_queries_from_the_support_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "metarl.envs.language.phrases.draw_others", lambda counts, taken, size, streams: taken[:, :size]
    )
    with pytest.raises(AssertionError):
        test_pairs_are_those_of_the_language_and_queries_are_never_in_the_support("bytes", "from-english", folder)


def test_numbers_that_are_left_are_drawn_alike() -> None:
    counts, taken = np.full(9000, 6), np.tile([4, 1], (9000, 1))
    drawn = draw_others(counts, taken, 3, Streams.of(0, np.arange(9000)))
    assert not np.isin(drawn, [1, 4]).any()
    assert (np.diff(np.sort(drawn, axis=1), axis=1) > 0).all()
    for place in range(3):
        np.testing.assert_allclose(np.bincount(drawn[:, place], minlength=6)[[0, 2, 3, 5]] / 9000, 0.25, atol=0.02)


def test_splits_share_no_language_and_locales_of_one_language_stay_together(folder: Path) -> None:
    family = make(folder=str(folder))
    shared, names = family.pairs.shared, family.pairs.languages
    assert sorted(place for places in shared.values() for place in places) == list(range(len(CODES)))
    assert [len({names[place].split("_")[0] for place in places}) for places in shared.values()] == [9, 1, 1]
    for one, other in (("pt", "pt_BR"), ("sr", "sr_Latn")):
        assert [names.index(one) in places for places in shared.values()] == [
            names.index(other) in places for places in shared.values()
        ]


def test_a_test_language_in_training_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = make(folder=str(folder))
    shared = family.pairs.shared
    leaky = {**shared, "train": (*shared["train"], *shared["test"])}
    monkeypatch.setitem(family.pairs.__dict__, "shared", leaky)
    assert any(
        "'train' and 'test' share values of parameter 'language'" in each for each in metarl.check_family(family)
    )


def test_languages_that_share_half_of_their_translations_are_related() -> None:
    bokmaal = [("house", "hus"), ("I", "jeg"), ("not", "ikke"), ("radio", "radio"), ("taxi", "taxi")]
    nynorsk = [("house", "hus"), ("I", "eg"), ("not", "ikke"), ("radio", "radio")]
    italian = [("house", "casa"), ("I", "io"), ("not", "non"), ("radio", "radio"), ("taxi", "taxi")]
    found = related({"it": italian, "nb": bokmaal, "nn": nynorsk, "zh_Hans": [], "zh_Hant": []})
    assert found == ("it", "nb", "nb", "zh_Hans", "zh_Hans")


def test_vocabularies_learn_from_training_languages_alone(folder: Path) -> None:
    family = make(folder=str(folder), vocabulary="characters")
    training = {family.pairs.languages[place] for place in family.pairs.shared["train"]}
    letters = {*"word ", *"".join(word(code, number) for code in training for number in range(40)), *"0123456789"}
    assert isinstance(family.pairs.vocabulary, Characters)
    assert {*family.pairs.vocabulary.table} == letters


def test_vocabularies_give_texts_back() -> None:
    texts = ["grünes Haus", "Дом %(name)s", "日本"]
    for kind in ("bytes", "characters"):
        found = make_vocabulary(kind, texts, 100)  # type: ignore[arg-type]
        coded = found.encode(texts)
        assert [found.decode(tokens) for tokens in coded] == texts
        assert all(0 < token < found.size for tokens in coded for token in tokens)
    few = make_vocabulary("characters", ["aab"], 3)
    assert few.encode(["ab"]) == [[2, 1]] and few.decode([2, 1]) == "a\N{REPLACEMENT CHARACTER}"
    assert Bytes().decode([0xC3]) == "\N{REPLACEMENT CHARACTER}"


def test_subwords_write_characters_that_training_lacks_by_their_bytes() -> None:
    pytest.importorskip("sentencepiece")
    texts = [f"green house {number}" for number in range(200)]
    found = make_vocabulary("subwords", texts, 290)
    assert found.size == 290
    coded = found.encode(["green house 日本"])
    assert found.decode(coded[0]) == "green house 日本"
    assert all(0 < token < 290 for token in coded[0])
    assert len(found.encode(["green house"])[0]) < 11
    with pytest.raises(MetarlError, match="vocabulary_size is 9,000, and SentencePiece cannot learn it"):
        make_vocabulary("subwords", texts, 9000)


def test_scores_equal_sacrebleus_and_end_at_the_first_zero(folder: Path) -> None:
    family = make(folder=str(folder))
    tokens = np.zeros((4, 1, 1, 32), dtype=np.int16)
    texts = [("grünes Haus", "grünes Haus"), ("grünes Maus", "grünes Haus"), ("", "Haus"), ("Haus x", "Haus")]
    targets = tokens.copy()
    for row, (answer, right) in enumerate(texts):
        tokens[row, 0, 0, : len(answer.encode())] = list(answer.encode())
        targets[row, 0, 0, : len(right.encode())] = list(right.encode())
    tokens[3, 0, 0, 4] = 0  # "Haus", an end, and more
    metric, bleu = sacrebleu.metrics.CHRF(), sacrebleu.metrics.BLEU()
    expected = [1.0, metric.sentence_score("grünes Maus", ["grünes Haus"]).score / 100, 0.0, 1.0]
    np.testing.assert_allclose(family.score(tokens, targets)[:, 0, 0], expected, rtol=1e-12)
    mask = np.ones((4, 1, 1), dtype=bool)
    played = SimpleNamespace(actions=tokens, targets=targets, mask=mask)
    found = family.measure_round({}, 1, played)  # type: ignore[arg-type]
    answers, right = ["grünes Haus", "grünes Maus", "", "Haus"], [pair[1] for pair in texts]
    assert found["corpus chrF"].tolist() == [metric.corpus_score(answers, [right]).score]
    assert found["BLEU"].tolist() == [bleu.corpus_score(answers, [right]).score]
    assert found["exact match"].tolist() == [0.5]


def test_a_task_alone_asks_what_it_asks_in_a_batch(folder: Path) -> None:
    family = make(folder=str(folder))
    tasks = family.sample("train", 4, seed=0)
    for together, alone in zip(ask(family, tasks), ask(family, tasks[2:3]), strict=True):
        np.testing.assert_array_equal(together.observations[:, 2:3], alone.observations)
        np.testing.assert_array_equal(together.targets[:, 2:3], alone.targets)


def test_names_are_in_many_languages_none_of_which_repeats_another() -> None:
    family = make(shots=50, queries=20)
    pairs = family.pairs
    assert len(pairs.languages) > 110 and pairs.counts.min() >= 70 and pairs.counts.sum() > 80_000
    for alike, kept in (({"nb", "nn", "no"}, 1), ({"sw", "luo", "vun"}, 1), ({"dsb", "hsb"}, 1), ({"en", "ru"}, 0)):
        assert len(alike & {*pairs.languages}) == kept
    assert "sw" in pairs.languages
    assert pickle.loads(pickle.dumps(family)) == family


def test_messages_of_django_are_read_once_each_without_english() -> None:
    django = pytest.importorskip("django")
    root = Path(django.__file__).parent
    files = [
        root / f"{app}/locale/{code}/LC_MESSAGES/django.mo"
        for app in ("contrib/admin", "contrib/sites")
        for code in ("de", "en", "pt_BR")
    ]
    found = read_messages(files)
    assert found.keys() == {"de", "pt_BR"}
    assert ("Delete selected %(verbose_name_plural)s", "Ausgewählte %(verbose_name_plural)s löschen") in found["de"]
    assert ("sites", "Websites") in found["de"] and len({*found["de"]}) == len(found["de"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"shots": 35},
            "language 'de' of folder .* has 40 pairs of at most 32 tokens, and shots . queries is 41; raise",
        ),
        ({"length": 4}, "language 'de' of folder .* has 0 pairs of at most 4 tokens"),
        ({"digest": "x"}, "digest is 'x', and the phrases of folder .* have"),
        ({"vocabulary": "subwords", "vocabulary_size": 8}, "vocabulary_size is 8, and SentencePiece cannot learn it"),
    ],
)
def test_settings_that_the_phrases_cannot_serve_are_refused(
    settings: dict[str, object], words: str, folder: Path
) -> None:
    if "subwords" in settings.values():
        pytest.importorskip("sentencepiece")
    with pytest.raises(MetarlError, match=words) as refused:
        make(folder=str(folder), **settings)
    assert "\n" not in str(refused.value)


def test_a_folder_without_a_language_for_each_split_is_refused(tmp_path: Path) -> None:
    for code in ("pt", "pt_BR", "de"):
        (tmp_path / f"{code}.tsv").write_text("a\tb\n")
    with pytest.raises(
        MetarlError, match=r"has 1 unrelated language, and each of three splits needs one; add languages"
    ):
        make(folder=str(tmp_path))


def test_a_language_that_is_not_there_is_refused(folder: Path) -> None:
    family = make(folder=str(folder))
    with pytest.raises(MetarlError, match=r"language 13 is no task; it must be a whole number from 0 to 12"):
        family.make_vec(family.tasks([{"language": 13}]))


def test_a_missing_package_is_told_with_its_install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "sentencepiece", None)
    with pytest.raises(MetarlError, match=r"vocabulary 'subwords' needs package 'sentencepiece'.*pip install sentence"):
        make(folder=str(folder), vocabulary="subwords", vocabulary_size=300)


def test_changed_phrases_are_read_again(tmp_path: Path) -> None:
    for code in ("de", "fr", "it"):
        (tmp_path / f"{code}.tsv").write_text("".join(f"w{n}\t{code}{n}\n" for n in range(20)))
    first = make(folder=str(tmp_path), shots=5, queries=5)
    (tmp_path / "de.tsv").write_text("".join(f"w{n}\tde {n}\n" for n in range(21)))
    assert make(folder=str(tmp_path), shots=5, queries=5).digest != first.digest
    with pytest.raises(MetarlError, match="restore those of before"):
        make(**first.settings)


@pytest.mark.parametrize("vocabulary", ["bytes", "characters"])
def test_texts_of_ones_own_are_the_tokens_that_the_same_texts_have_in_questions(folder: Path, vocabulary: str) -> None:
    family = make(folder=str(folder), vocabulary=vocabulary)
    asked = ask(family, family.sample("test", 1, seed=0), rounds=1)[0]
    for tokens in (asked.observations[:, 0], asked.targets[:, 0]):
        texts = [family.tell_answer(row) for row in tokens]
        observed = family.observe(texts)
        assert observed.dtype == family.observation_space.dtype
        np.testing.assert_array_equal(observed, tokens)
    decomposed = family.observe(["de\N{LATIN SMALL LETTER E}\N{COMBINING ACUTE ACCENT}7"])
    np.testing.assert_array_equal(decomposed, family.observe(["de\N{LATIN SMALL LETTER E WITH ACUTE}7"]))
    for text, count in (("", 0), ("x" * 33, 33)):
        with pytest.raises(MetarlError, match=rf"has {count} tokens; it must have from 1 to 32"):
            family.observe([text])
