"""Letters of fonts: the same bits from the same fonts, one class for what looks alike, and no symbols."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from metarl.envs.images import glyphs
from metarl.envs.images.glyphs import draw_glyphs
from metarl.envs.images.image_set import ImageSet

from metarl.base.errors import MetarlError

FONTS = Path(matplotlib.get_data_path(), "fonts", "ttf")
SANS = [str(FONTS / f"DejaVuSans{style}.ttf") for style in ("", "-Bold", "-Oblique", "-BoldOblique")]


@pytest.fixture(scope="module", autouse=True)
def fewer() -> Iterator[None]:
    """Scripts of few letters, to be quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(glyphs, "MOST_LETTERS", 60)
        yield


@pytest.fixture(scope="module")
def letters(fewer: None) -> ImageSet:
    return draw_glyphs(SANS, 14, affine=True, enough=1)


def test_the_order_of_files_changes_no_bit(letters: ImageSet) -> None:
    again = draw_glyphs(SANS[::-1], 14, affine=True, enough=1)
    assert again.classes == letters.classes
    np.testing.assert_array_equal(again.images, letters.images)


def test_every_letter_has_twenty_different_drawings_on_black(letters: ImageSet) -> None:
    assert set(letters.counts) == {glyphs.DRAWINGS}
    assert len(np.unique(letters.images.reshape(len(letters.images), -1), axis=0)) == len(letters.images)
    assert letters.images.reshape(len(letters.images), -1).max(axis=1).min() > 100
    assert np.median(letters.images) == 0


def test_letters_of_several_scripts_and_cases_that_look_alike_are_one_class(letters: ImageSet) -> None:
    names = {name.partition("/")[2] for name in letters.classes}
    assert len(set(letters.groups)) >= 8
    for alike in (
        ("latin capital letter o", "latin small letter o", "greek capital letter omicron", "cyrillic small letter o"),
        ("latin capital letter s", "latin small letter s", "cyrillic small letter dze"),
        ("latin capital letter a", "greek capital letter alpha", "cyrillic capital letter a"),
    ):
        assert sum(name in names for name in alike) <= 1, alike
    for different in ("latin capital letter f", "latin small letter g", "greek small letter chi", "hebrew letter alef"):
        assert different in names


def test_letters_of_other_sizes_are_alike_and_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(glyphs, "FEWEST_LETTERS", 1)
    pens = glyphs.Pens(64)
    fonts = tuple(glyphs._read_fonts(SANS))
    for alike in ("\u0428\u0448", "Cc", "Vv", "K\u043a", "\u0414\u0434"):
        assert len(glyphs.different_letters([glyphs.Letter(c, "some", fonts) for c in alike], pens)) == 1, alike
    assert len(glyphs.different_letters([glyphs.Letter(c, "some", fonts) for c in "ABCEFGLOPQRT"], pens)) == 12


def test_fonts_that_draw_symbols_in_place_of_letters_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [*SANS, str(FONTS / "cmr10.ttf"), str(FONTS / "cmsy10.ttf"), str(FONTS / "cmex10.ttf")]
    assert {font.name for font in glyphs._read_fonts(paths)}.isdisjoint({"cmsy10 Regular", "LastResort"})
    monkeypatch.setattr(glyphs, "_NO_LETTERS", re.compile("no such font"))
    fonts = list(glyphs._read_fonts(paths))
    assert len(fonts) == 7
    holders = {letter: [font for font in fonts if letter in font.letters] for letter in "abcdefghijklmnopqrstuvwxyz"}
    assert glyphs._strange_fonts(holders, glyphs.Pens(64)) == {"cmsy10 Regular", "cmex10 Regular"}


def test_a_file_that_is_no_font_is_left_out(tmp_path: Path, letters: ImageSet) -> None:
    broken = tmp_path / "broken.ttf"
    broken.write_bytes(b"no font")
    assert len(list(glyphs._read_fonts([str(broken), *SANS]))) == len(SANS)


def test_without_maps_a_letter_has_one_drawing_for_each_font() -> None:
    plain = draw_glyphs(SANS, 14, affine=False, enough=1)
    assert set(plain.counts) == {len(SANS)}
    with pytest.raises(MetarlError, match="few letters in 16 fonts; install fonts, lower shots and queries"):
        draw_glyphs(SANS, 14, affine=False, enough=16)


def test_a_letter_in_many_fonts_is_drawn_in_a_few_of_as_many_families_as_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fonts = list(glyphs._read_fonts(SANS))
    many = [font._replace(name=f"{font.name} {n}", family=f"family {n}") for n in range(30) for font in fonts]
    monkeypatch.setattr(glyphs, "_read_fonts", lambda paths: many)
    monkeypatch.setattr(glyphs, "MOST_LETTERS", 2)
    for letter in glyphs.read_letters([], 4, glyphs.Pens(64)):
        assert len(letter.fonts) == glyphs.MOST_FONTS
        assert len({font.family for font in letter.fonts}) == 30
