"""One reader for all YAML: numbers of YAML 1.2, UTF-8, and one line for whatever it refuses."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from metarl.base.errors import MetarlError
from metarl.base.yaml_text import YamlError, dump_yaml, parse_yaml, read_yaml

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64) + 1, 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.sampled_from(["None", "1e-2", "010", "0x1", "yes", "~", "", ".5", "12:30", "2020-01-01", "<<", "=", "null"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{after}: &{after} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_is_written_is_read_back_with_values_and_types(data: dict[str, Any]) -> None:
    assert repr(parse_yaml(dump_yaml(data))) == repr(data)


def test_text_is_written_so_that_readers_of_version_1_1_take_it_for_text_too() -> None:
    data = {"a": "yes", "b": "010", "c": "12:30", "d": "2020-01-01", "e": "=", "f": "1_000"}
    assert yaml.safe_load(dump_yaml(data)) == data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("-007", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e-2", 0.01),
        ("3e-4", 3e-4),
        ("-1.5E+3", -1500.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1_000", "1_000"),
        ("12:30:00", "12:30:00"),
        ("2020-01-01", "2020-01-01"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("TRUE", True),
        ("None", None),
        ("NULL", None),
        ("Null", None),
        ("~", None),
        ("", None),
        ("'None'", "None"),
        ("!!str 10", "10"),
        ("!!float 3", 3.0),
        ("{yes: 1, on: 2}", {"yes": 1, "on": 2}),
        ("{base: &b {x: 1, y: 2}, z: {<<: *b, y: 3}}", {"base": {"x": 1, "y": 2}, "z": {"x": 1, "y": 3}}),
        ("{<<: [{a: 1}, {a: 2, b: 3}]}", {"a": 1, "b": 3}),
        ("{'<<': 1}", {"<<": 1}),
    ],
)
def test_plain_words_are_read_by_version_1_2(text: str, value: Any) -> None:
    assert repr(parse_yaml(text)) == repr(value)


@pytest.mark.parametrize(
    ("text", "problem", "line"),
    [
        ("a: 1\nb: {c: 1, c: 2}", "key 'c' is given twice; keep one", 2),
        ("{<<: {a: 1}, <<: {b: 1}}", "key '<<' is given twice; keep one", 1),
        ("\n1: 2", "key 1 is no word; keys are words, such as inner_lr, or in quotes", 2),
        ("{null: 2}", "key null is no word", 1),
        ("? [a]\n: 1\n", "a key is a list or a mapping; keys are words", 1),
        ("a: 1e400", "1e400 is not finite; give a finite number", 1),
        ("a: .inf", ".inf is not finite", 1),
        ("a: -.Inf", "-.Inf is not finite", 1),
        ("a: .nan", ".nan is not finite", 1),
        (f"a: 1{'0' * 400}", "100000000000000000000000000... has more than 64 bits; give a smaller number", 1),
        (f"a: {2**64}", "18446744073709551616 has more than 64 bits", 1),
        ("[" * 100_000, "nested deeper than 50 levels; write it flatter", 1),
        ("- " * 20_000, "nested deeper than 50 levels", 1),
        ("a: &a [*a]", "an alias stands inside the value that it names; write the value out", 1),
        ("a: &a {<<: *a}", "an alias stands inside the value that it names", 1),
        (BOMB, "more than 100,000 values, aliases followed; write fewer", 1),
        (MERGE_BOMB, "more than 100,000 values, aliases followed; write fewer", 1),
        ("[" + "0," * 100_001, "more than 100,000 values", 1),
        ("a: 1\nb: \x00", r"character '\x00' is not allowed in YAML; remove it", 2),
        ("a: \udcff", r"character '\udcff' is not allowed in YAML; remove it", 1),
        ('a: "\\0"', r"the text holds '\x00', which is no character; remove its escape", 1),
        ('a: "\\ud800"', r"the text holds '\ud800', which is no character; remove its escape", 1),
        ("a: !!python/object/apply:os.mkdir [x]", "tag '!!python/object/apply:os.mkdir' is unknown; leave it out", 1),
        ("a: !!timestamp 2020-01-01", "tag '!!timestamp' is unknown", 1),
        ("a: !!int x", "'x' is no int; leave out the tag, or mend the value", 1),
        ("<<: 1", "<< merges mappings only; give it an alias of one, such as *base", 1),
        ("a: 1\n---\nb: 2", "not valid YAML: but found another document; keep one document, without ---", 2),
        ("a: 1\n\tb: 2", "not valid YAML: found character '\\t' that cannot start any token; indent with spaces", 2),
        ("a: b: c", "not valid YAML: mapping values are not allowed here; write one `key: value` a line", 1),
        ("a: [1,", "not valid YAML: expected the node content, but found '<stream end>'; close every bracket", 1),
    ],
)
def test_whatever_is_refused_gets_rule_remedy_and_line_in_little_time(text: str, problem: str, line: int) -> None:
    began = time.process_time()
    with pytest.raises(YamlError) as caught:
        parse_yaml(text)
    assert time.process_time() - began < 20
    assert caught.value.problem.startswith(problem)
    assert caught.value.line == line
    assert "\n" not in caught.value.problem and len(caught.value.problem) < 300


def test_text_beyond_a_megabyte_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: " + b"x" * 1_000_000)
    with pytest.raises(MetarlError, match="the text is longer than 1,000,000 bytes; shorten it"):
        read_yaml(path, "a YAML config")


@given(st.text())
def test_any_text_at_all_is_a_value_or_a_fault(text: str) -> None:
    try:
        parse_yaml(text)
    except YamlError as fault:
        assert len(fault.problem.splitlines()) == 1


def test_path_with_a_nul_is_refused() -> None:
    with pytest.raises(MetarlError, match=r"'a\\x00b' is no path; give the path of a YAML config"):
        read_yaml("a\0b", "a YAML config")


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_file_is_utf_8_whatever_the_locale_with_or_without_a_byte_order_mark(start: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(start + "meaning: Höhe in m\n".encode())
    code = "import sys; from metarl.base.yaml_text import read_yaml; print(ascii(read_yaml(sys.argv[1], 'a file')))"
    for locale in ("C", "C.UTF-8"):  # POSIX is C by another name
        settings = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        told = subprocess.run(
            [sys.executable, "-c", code, str(path)], env=settings, capture_output=True, text=True, check=True
        )
        assert told.stdout.strip() == r"{'meaning': 'H\xf6he in m'}"


def test_no_other_module_reads_yaml() -> None:
    package = Path(__file__).parents[2] / "metarl"
    readers = [path.name for path in package.rglob("*.py") if "import yaml" in path.read_text(encoding="utf-8")]
    assert readers == ["yaml_text.py"]
