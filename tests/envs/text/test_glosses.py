"""Glosses of WordNet, read from a dictionary of a few nouns."""

from __future__ import annotations

from pathlib import Path

import pytest
from metarl.envs.text.glosses import find_nouns, noun_glosses

from metarl.base.errors import MetarlError
from metarl.families.load import load

NOUNS = """\
  1 This software and database is being provided to you, the LICENSEE, by Princeton University
00000010 03 n 01 animal 0 002 ~ 00000020 n 0000 ~ 00000030 n 0000 | a living being
00000020 05 n 02 dog 0 hound 0 002 @ 00000010 n 0000 #m 00000040 n 0000 | it barks; "the dog | barked"
00000030 05 n 01 cat 0 002 @ 00000010 n 0000 @ 00000050 n 0000 | it purrs; or sleeps
00000050 05 n 01 pet 0 000 | kept at home
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WNSEARCHDIR", str(tmp_path))
    return tmp_path


def test_the_kind_of_a_noun_labels_its_gloss_without_examples(folder: Path) -> None:
    (folder / "data.noun").write_text(NOUNS)
    assert noun_glosses(find_nouns()) == {
        "animal.00000010": ["it barks", "it purrs; or sleeps"],
        "pet.00000050": ["it purrs; or sleeps"],
    }


def test_kinds_with_glosses_enough_are_classes(folder: Path) -> None:
    kinds = [f"{kind:08} 03 n 01 kind{kind} 0 000 | kind {kind}" for kind in range(20)]
    nouns = [
        f"{100 * (kind + 1) + i:08} 03 n 01 noun 0 001 @ {kind:08} n 0000 | noun {i} of kind {kind}"
        for kind in range(20)
        for i in range(19 if kind == 7 else 20)
    ]
    (folder / "data.noun").write_text("\n".join([*kinds, *nouns]))
    family = load("text-classes", texts="glosses", ways=3)
    assert "kind7.00000007" not in family.text_set.classes and len(family.text_set.classes) == 19  # type: ignore[attr-defined]


def test_a_missing_and_a_broken_dictionary_are_refused_in_one_line(folder: Path) -> None:
    with pytest.raises(
        MetarlError, match=r"glosses' needs WordNet's data.noun, which is not in WNSEARCHDIR.*; install"
    ):
        load("text-classes", texts="glosses")
    (folder / "data.noun").write_text("no noun\n")
    with pytest.raises(MetarlError, match=r"data.noun is no file of WordNet's nouns \(ValueError\); install it again"):
        load("text-classes", texts="glosses")
