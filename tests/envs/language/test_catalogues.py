"""Catalogues and tables of one's own: what is read, and what is refused with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from metarl.envs.language.catalogues import read_catalogue
from metarl.envs.language.folders import read_folder, read_table

from metarl.base.errors import MetarlError

HEADER = """msgid ""
msgstr ""
"Content-Type: text/plain; charset={charset}\\n"
"Language: {language}\\n"
"{plural}\\n"
"""
RUSSIAN = "Plural-Forms: nplurals=3; plural=(n%10==1 && n%100!=11 ? 0 : n%10>=2 && n%10<=4 && n%100/10!=1 ? 1 : 2);"


def catalogue(
    entries: str, language: str = "ru", plural: str = RUSSIAN, charset: str = "UTF-8", encoding: str = "utf-8"
) -> bytes:
    header = HEADER.format(charset=charset, language=language, plural=plural.replace("\n", ""))
    return f"{header}\n{entries}".encode(encoding)


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


MESSAGES = """
msgid "House"
msgstr "Дом"

#, fuzzy
msgid "Mouse"
msgstr "Дом"

msgid "Empty"
msgstr ""

msgid ""
"Two  words\\n"
"in lines"
msgstr "Два слова в строках"

msgid "Hello %(name)s"
msgstr "Привет"

msgid "Bye {name}, %d"
msgstr "Пока, %d {name}"

msgid "%d day"
msgid_plural "%d days"
msgstr[0] "%d день"
msgstr[1] "%d дня"
msgstr[2] "%d дней"

#~ msgid "Old"
#~ msgstr "Старый"
"""


def test_fuzzy_empty_and_obsolete_entries_and_other_placeholders_are_left_out(tmp_path: Path) -> None:
    assert read_catalogue(write(tmp_path / "ru.po", catalogue(MESSAGES)), "ru") == [
        ("House", "Дом"),
        ("Two words in lines", "Два слова в строках"),
        ("Bye {name}, %d", "Пока, %d {name}"),
        ("%d day", "%d день"),
        ("%d days", "%d дней"),
    ]


def test_a_catalogue_is_read_in_the_encoding_of_its_header(tmp_path: Path) -> None:
    content = catalogue('msgid "House"\nmsgstr "Дом"\n', charset="KOI8-R", encoding="koi8-r")
    assert read_catalogue(write(tmp_path / "ru.po", content), "ru") == [("House", "Дом")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            catalogue(MESSAGES, plural="X: y"),
            r"'.*ru.po' has plural forms in line 29, and no rule for them; add Plural-Forms",
        ),
        (
            catalogue(MESSAGES, plural="Plural-Forms: nplurals=2; plural=n+;"),
            r"has Plural-Forms 'nplurals=2; plural=n\+;', which is no rule; mend its header",
        ),
        (catalogue(MESSAGES, language="de"), r"ru.po' is of language 'ru' by its name, and .* says Language: de"),
        (b'msgid "House"\nmsgstr "Dom"\n', "ru.po' has no header in its first entry; give it one with Content-Type"),
        (catalogue(MESSAGES, charset="ASCII"), "ru.po' is not ASCII in line 9; save it so, or mend its header"),
        (catalogue(MESSAGES, charset="UTF-9"), "ru.po' has the unknown charset 'UTF-9' in its header"),
        (catalogue('msgid "House"\nmsgstr Дом\n'), "ru.po' is no catalogue of gettext in line 8; check it with msgfmt"),
    ],
)
def test_a_bad_catalogue_is_told_in_one_line(content: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=words) as refused:
        read_catalogue(write(tmp_path / "ru.po", content), "ru")
    assert "\n" not in str(refused.value)


def test_a_table_has_an_english_text_and_its_translation_in_each_line(tmp_path: Path) -> None:
    path = write(tmp_path / "de.tsv", "\ufeffhouse\tHaus\r\n\r\n green  house \tgrünes Haus\n".encode())
    assert read_table(path) == [("house", "Haus"), ("green house", "grünes Haus")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\tb\na\n", "de.tsv' has 1 columns in line 2; it must have 2"),
        (b"a\tb\tc\n", "de.tsv' has 3 columns in line 1"),
        (b"a\tb\n\n \tb\n", "de.tsv' lacks the English text in line 3"),
        (b"a\t\n", "de.tsv' lacks the translation in line 1"),
        ("a\tb\nü\tö\n".encode("latin-1"), "de.tsv' is not UTF-8 in line 2; save it as UTF-8"),
    ],
)
def test_a_bad_table_is_told_with_its_line(content: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=words):
        read_table(write(tmp_path / "de.tsv", content))


def test_a_folder_has_a_language_in_each_file_or_folder(tmp_path: Path) -> None:
    entry = 'msgid "{}"\nmsgstr "{}"\n'
    write(tmp_path / "de.tsv", b"one\teins\n")
    write(tmp_path / "ru.po", catalogue(entry.format("one", "один")))
    write(tmp_path / "en.po", catalogue(entry.format("one", ""), "en"))
    write(tmp_path / "README.md", b"no phrases")
    for name, pair in (("a", ("one", "um")), ("b", ("two", "dois"))):
        write(tmp_path / f"pt-BR/LC_MESSAGES/{name}.po", catalogue(entry.format(*pair), "pt_BR"))
    assert read_folder(tmp_path) == {
        "de": [("one", "eins")],
        "pt_BR": [("one", "um"), ("two", "dois")],
        "ru": [("one", "один")],
    }


@pytest.mark.parametrize("second", ["pt_BR.po", "pt_BR.tsv", "pt_BR/LC_MESSAGES/django.po"])
def test_two_files_of_one_language_are_refused(second: str, tmp_path: Path) -> None:
    write(tmp_path / "pt-BR.po", catalogue("", "pt"))
    write(tmp_path / second, catalogue("", "pt"))
    with pytest.raises(MetarlError, match=r"has 'pt-BR.po' and 'pt_BR.*' for language 'pt_BR'; keep one"):
        read_folder(tmp_path)


def test_a_folder_without_phrases_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(MetarlError, match=r"has no phrases; put a file xx\.po or xx\.tsv"):
            read_folder(folder)
