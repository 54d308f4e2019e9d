"""Texts of one's own: what is read, and errors of one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from metarl.envs.text import text_set
from metarl.envs.text.files import read_texts
from metarl.envs.text.text_set import TextSet, decode_text

from metarl.base.errors import MetarlError
from metarl.families.load import load


def read(folder: Path, content: str | bytes, name: str = "texts.csv", length: int = 20) -> TextSet:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_texts(path, length)


def texts(found: TextSet) -> dict[str, list[str]]:
    """Return the texts of each class."""
    return {
        name: [decode_text(row) for row in found.tokens[first : first + count]]
        for name, first, count in zip(found.classes, found.firsts, found.counts, strict=True)
    }


def test_csv_with_quotes_byte_order_mark_and_other_columns_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, '\ufefflabel,n,text\nb,1,"one, two"\na,2,Çad\n\nb,3,"say ""hi"""\n')
    assert texts(found) == {"a": ["Çad"], "b": ["one, two", 'say "hi"']}
    assert found.given == ("", "")


def test_json_lines_are_read_as_csv_is(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"text": " Çad\u2028 ", "label": "a", "split": "train"},
        {"text": "x", "label": "b", "split": "test", "more": [1]},
    ]
    found = read(tmp_path, "\n".join(map(json.dumps, rows)) + "\n\n", "texts.jsonl")
    assert texts(found) == {"a": ["Çad"], "b": ["x"]}
    assert found.given == ("train", "test")


def test_texts_of_a_class_that_are_alike_as_far_as_they_are_shown_count_once(tmp_path: Path) -> None:
    found = read(tmp_path, "text,label\nabcd,a\nabce,a\nabcd,a\nxéé,a\nabcd,b\n", length=3)
    assert texts(found) == {"a": ["abc", "xé"], "b": ["abc"]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("text,label\nÇad,a\n".encode("cp1252"), "file 'texts.csv' is not UTF-8 at byte 11; save it as UTF-8"),
        ("text,lable\nx,a\n", "file 'texts.csv' has no column 'label' in line 1, but lable, text; add it"),
        ("", "file 'texts.csv' has no column 'text' in line 1, but none; add it"),
        ("text,label\nx,a\ny,z,a\n", "file 'texts.csv' has 3 cells in line 3 and 2 columns; put a text with commas"),
        ('text,label\n"x,a\n', "file 'texts.csv' is no CSV in line 2 (unexpected end of data); write it again"),
        ("text,label\nx,a\n ,a\n", "file 'texts.csv' has no text in line 3; give one, or leave the line out"),
        ("text,label\nx,\n", "file 'texts.csv' has no label in line 2; give one, or leave the line out"),
        ("text,label\nx,a\ny,a\n", "file 'texts.csv' has 1 label; give texts of several"),
        ("text,label\n", "file 'texts.csv' has 0 labels; give texts of several"),
        (
            "text,label,split\nx,a,train\ny,a,test\n",
            "label 'a' of file 'texts.csv' is in split 'train' and, in line 3, in 'test'; keep it in one",
        ),
        (
            "text,label,split\nx,a,dev\n",
            "file 'texts.csv' has split 'dev' in line 2; it must be train, validation, test",
        ),
        (
            "text,label,split\nx,a,\ny,b,test\n",
            "label 'a' of file 'texts.csv' has no split, and others have; give every",
        ),
    ],
)
def test_a_csv_file_that_holds_no_classes_is_refused_in_one_line(
    tmp_path: Path, content: str | bytes, words: str
) -> None:
    with pytest.raises(MetarlError) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(words) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"text": "x", "label": "a"}\n[1]\n', "file 'texts.jsonl' has no JSON object in line 2; write one with text"),
        ('{"text": "x"\n', "file 'texts.jsonl' has no JSON object in line 1; write one with text and label"),
        ('{"text": "x", "label": 0}\n', "file 'texts.jsonl' has label 0 in line 1; it must be a text, in quotes"),
        (
            '{"text": "x", "class": "a"}\n',
            "file 'texts.jsonl' has no column 'label' in line 1, but class, text; add it",
        ),
        ('{"text": null, "label": "a"}\n', "file 'texts.jsonl' has no text in line 1; give one, or leave the line out"),
    ],
)
def test_json_lines_that_hold_no_classes_are_refused_in_one_line(tmp_path: Path, content: str, words: str) -> None:
    with pytest.raises(MetarlError) as caught:
        read(tmp_path, content, "texts.jsonl")
    assert str(caught.value).startswith(words) and "\n" not in str(caught.value)


def test_texts_that_would_fill_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_set, "MOST_BYTES", 100)
    assert len(read(tmp_path, "text,label\nx,a\ny,b\n", length=50).tokens) == 2
    with pytest.raises(MetarlError, match=r"file 'texts.csv' has .* GB in texts of length 51; at most .* lower length"):
        read(tmp_path, "text,label\nx,a\ny,b\n", length=51)


def test_paths_of_no_texts_are_refused_in_one_line(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "texts.txt", r"texts.txt'; it must end in .csv or .jsonl"),
        (tmp_path / "texts.csv", r"texts.csv' is not there; give the path of a CSV or JSON-lines file"),
    ):
        with pytest.raises(MetarlError, match=words):
            load("text-classes", file=str(path))
    large = tmp_path / "large.csv"
    with large.open("wb") as file:
        file.truncate(60 * 2**20)
    with pytest.raises(MetarlError, match=r"large.csv' has 60 MB; a run holds a copy of at most 50 MB, so leave"):
        load("text-classes", file=str(large))
