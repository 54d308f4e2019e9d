"""N-way K-shot tasks of texts: what is shown, what is asked, and which label is right."""

from __future__ import annotations

import contextlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from metarl.envs.text.names import is_latin, language_names
from metarl.envs.text.text_classes import TextClasses
from metarl.envs.text.text_set import decode_text, encode_text

from metarl.base.errors import MetarlError
from metarl.families.load import load
from metarl.families.model_files import keep_models
from metarl.families.question_batch import Asked
from metarl.families.questions import require_questions
from metarl.families.task import Tasks
from metarl.pictures.gallery import tasks_figure
from metarl.runs.config import load_config, resolve


def ask(family: TextClasses, tasks: Tasks, rounds: int = 2) -> list[Asked]:
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


def make(**settings: object) -> TextClasses:
    family = require_questions(load("text-classes", **settings))
    assert isinstance(family, TextClasses)
    return family


def texts_of(family: TextClasses, place: int) -> set[bytes]:
    """Return the texts of a class."""
    first = int(family.text_set.firsts[place])
    return {row.tobytes() for row in family.text_set.tokens[first : first + int(family.text_set.counts[place])]}


@pytest.mark.parametrize("preset", TextClasses.presets)
def test_texts_are_those_of_the_class_whose_place_is_the_label_and_none_is_shown_twice(preset: str) -> None:
    family = make(preset=preset)
    tasks = family.sample("test", 2, seed=0)
    for world, classes in enumerate(tasks.values["classes"].astype(int)):
        seen: list[set[tuple[int, bytes]]] = []
        for asked in ask(family, tasks, 3):
            pairs = [
                (int(label), row.astype(np.uint8).tobytes())
                for label, row in zip(asked.targets[:, world], asked.observations[:, world], strict=True)
            ]
            assert all(text in texts_of(family, classes[label]) for label, text in pairs)
            assert len(set(pairs)) == len(pairs)
            seen.append(set(pairs))
        assert [len(pairs) for pairs in seen] == [5 * each for each in (family.shots, family.queries, family.queries)]
        assert not seen[0] & (seen[1] | seen[2])


def test_a_task_alone_asks_what_it_asks_in_a_batch() -> None:
    family = make()
    tasks = family.sample("train", 8, seed=0)
    for together, alone in zip(ask(family, tasks), ask(family, tasks[5:6]), strict=True):
        np.testing.assert_array_equal(together.observations[:, 5:6], alone.observations)
        np.testing.assert_array_equal(together.targets[:, 5:6], alone.targets)


def test_splits_share_no_class_and_hold_all_of_them() -> None:
    family = make()
    places = [
        place for split in ("train", "validation", "test") for place in family.parameters["classes"].of(split).values
    ]  # type: ignore[attr-defined]
    assert sorted(places) == list(range(len(family.text_set.classes)))
    assert (family.text_set.counts >= 30).all()
    assert family.is_unseen("test")


def test_names_are_latin_and_those_of_english_are_its_own() -> None:
    names = language_names()
    assert "Frankreich" in names["de"] and "Frankrike" in names["sv"] and "ru" not in names
    assert "France" in names["en"] and not set(names["en"]) & set(names["fr"])
    assert all(is_latin(name) for name in names["tr"])
    assert [is_latin(word) for word in ("Çad", "Ελλάδα", "1-2", "Aбв")] == [True, False, False, False]


def test_a_text_is_cut_between_characters_and_comes_back_from_its_tokens() -> None:
    assert (
        encode_text("aé", 2) == b"a" and encode_text("a\0é", 4) == "a é".encode() and encode_text("\ud800", 4) == b"?"
    )
    tokens = np.zeros(6, dtype=np.int16)
    tokens[:4] = list("Çad".encode())
    assert decode_text(tokens) == "Çad"


def write_texts(folder: Path) -> Path:
    path = folder / "mine.csv"
    rows = [f"word {place} of {label},{label}" for label in "abcdefghijklmno" for place in range(20)]
    path.write_text("\n".join(["text,label", *rows]))
    return path


def test_a_run_holds_its_own_copy_of_a_file_that_a_config_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METARL_CACHE", str(tmp_path / "cache"))
    path = write_texts(tmp_path)
    config = tmp_path / "config.yaml"
    config.write_text("family: {name: text-classes, file: mine.csv, ways: 3}\nagent: random\n")
    resolved = resolve(load_config(config))
    assert resolved["family"]["file"].startswith("models/")
    keep_models(tmp_path / "run", resolved["family"])
    assert (tmp_path / "run" / resolved["family"]["file"]).read_bytes() == path.read_bytes()
    before = ask(make(file=str(path), ways=3), make(file=str(path), ways=3).sample("test", 1, seed=0))
    path.unlink()
    family = make(file=resolved["family"]["file"], ways=3)
    for ours, theirs in zip(ask(family, family.sample("test", 1, seed=0)), before, strict=True):
        np.testing.assert_array_equal(ours.observations, theirs.observations)


def test_a_yaml_family_finds_its_file_beside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METARL_CACHE", str(tmp_path / "cache"))
    write_texts(tmp_path)
    (tmp_path / "words.yaml").write_text("family: text-classes\nfile: mine.csv\nways: 3\n")
    found = require_questions(load(tmp_path / "words.yaml"))
    assert isinstance(found, TextClasses) and len(found.text_set.classes) == 15


def test_a_family_that_goes_to_another_process_takes_its_settings_alone() -> None:
    family = make()
    sent = pickle.dumps(family)
    assert len(sent) < 1000 and pickle.loads(sent) == family


def test_settings_that_the_texts_cannot_serve_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=r"ways is 40, and split '\w+' of the names of babel has \d+ classes; lower"):
        make(ways=40)
    with pytest.raises(MetarlError, match=r"has \d+ texts, and shots \+ queries is 101; add texts, or lower"):
        make(queries=100)
    with pytest.raises(MetarlError, match=r"digest is '0', and the texts of the names of babel have '\w+'; install"):
        make(digest="0")
    with pytest.raises(MetarlError, match=r"mine.csv' is not there; give the path"):
        make(file=str(tmp_path / "mine.csv"))


def test_pictures_show_the_texts_of_a_task_behind_their_labels() -> None:
    family = make()
    figure = tasks_figure(family, 1)
    written = [text.get_text() for axes in figure.axes for text in axes.texts]
    support = ask(family, family.sample("train", 1, seed=0), 1)[0]
    label, tokens = int(support.targets[0, 0]), support.observations[0, 0]
    assert f"{label}  {decode_text(tokens)}" in written


@pytest.mark.parametrize("classes", [[0, 1, 2, 3, 9999], [0, 1, 2, 3, 3], [0, 1, 2, 3, 0.5], [-1, 0, 1, 2, 3]])
def test_a_task_of_classes_that_are_not_there_is_refused(classes: list[float]) -> None:
    family = make()
    with pytest.raises(MetarlError, match=r"are no task; they must be different whole numbers from 0 to \d+"):
        family.make_vec(family.tasks({"classes": classes}))


def test_observed_texts_are_the_tokens_that_the_same_texts_have_in_questions() -> None:
    family = make()
    asked = ask(family, family.sample("test", 1, seed=0), rounds=1)[0].observations[:, 0]
    texts = [family.tell(row) for row in asked]
    np.testing.assert_array_equal(family.observe(texts), asked)
    assert family.observe(["x" * 999]).shape == (1, *family.observation_space.shape)
    with pytest.raises(MetarlError, match=r"text 2 of 2 is empty; leave it out"):
        family.observe(["a", ""])
