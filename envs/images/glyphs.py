"""Letters of many scripts, drawn in many fonts: classes of images without a download."""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from metarl.base.errors import MetarlError
from metarl.base.meter import Report, counted, ignore
from metarl.base.streams import Streams

from .image_set import ImageSet

if TYPE_CHECKING:
    from PIL import Image, ImageFont

VERSION = 1
"""Version of the drawings: another one, and they are drawn anew."""
DRAWINGS = 20
"""Drawings of each letter, as many as Omniglot has."""
ENOUGH_FONTS = 4
"""Fonts that must have a letter."""
MOST_LETTERS = 150
"""Most letters of a script, those that most fonts have: a font of Chinese has tens of thousands."""
MOST_FONTS = 40
"""Most fonts in which a letter is drawn, of as many families as there are."""
FEWEST_LETTERS = 12
"""Letters that a script must have to be a group."""
ALIKE = 0.955
"""Cosine between two shapes from which on they are one class."""
COMPARED = 3
"""Fonts of a letter that are compared with those of others."""
SHAPE = 24
"""Side of the square in which shapes are compared, in pixels."""
BLUR = 1.2
"""Blur of the compared shapes, in their pixels: strokes that lie a little apart are alike."""
STRANGE = 0.6
"""Median cosine between a font's shapes and those of other fonts, below which it draws symbols in place of letters."""

_EM = 64
"""Size of a letter in pixels before it is scaled."""
_NO_LETTERS = re.compile(
    r"symbol|dingbat|emoji|wingding|webding|last ?resort|cmsy|cmex|icon|awesome|music|barcode", re.IGNORECASE
)
_NO_BASE = re.compile(
    r" WITH |LIGATURE|DIGRAPH|MODIFIER|FINAL|SMALL CAPITAL|FULLWIDTH|HALFWIDTH|MATHEMATICAL|TURNED|REVERSED|SIDEWAYS"
)
"""Names of letters that are another letter in another position or with a mark."""


Fonts = Literal["system", "matplotlib"]
"""Whose fonts draw letters: those of matplotlib and of the system, or of matplotlib alone."""


class Font(NamedTuple):
    """A font's file, its name, and the letters that it has."""

    name: str
    family: str
    path: str
    letters: frozenset[str]


class Letter(NamedTuple):
    """A letter and the fonts that have it, those of different families first."""

    character: str
    script: str
    fonts: tuple[Font, ...]


def font_files(fonts: Fonts) -> tuple[list[str], str]:
    """Return the files of matplotlib's own fonts and, of `system`, of those that it finds there; their fingerprint."""
    import matplotlib
    from matplotlib import font_manager

    own = sorted(map(str, Path(matplotlib.get_data_path(), "fonts", "ttf").glob("*.ttf")))
    others = font_manager.findSystemFonts() if fonts == "system" else []
    paths = [*own, *sorted({*map(str, others)} - {*own})]
    digest = hashlib.blake2b(matplotlib.__version__.encode())
    for path in paths:
        found = Path(path).stat()
        digest.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\0".encode(errors="surrogateescape"))
    return paths, digest.hexdigest()


def draw_glyphs(paths: Sequence[str], size: int, *, affine: bool, enough: int, report: Report = ignore) -> ImageSet:
    """Return the letters that are in at least `enough` fonts, as white ink on black.

    With `affine`, a letter has `DRAWINGS` drawings, each under a map of its own; without, one for each font. Letters
    that look alike, of one script or of two, are one class. Raises MetarlError where the fonts have no three scripts.
    """
    pens = Pens(max(_EM, 2 * size))
    letters = different_letters(read_letters(paths, max(enough, ENOUGH_FONTS), pens), pens)
    drawn = [list(_draw(letter, size, pens, affine)) for letter in counted(letters, report, len(letters))]
    if len({letter.script for letter in letters}) < 3:
        raise MetarlError(
            f"the fonts on this machine have few letters in {enough} fonts; install fonts, lower shots and queries, or "
            "give a folder of images"
        )
    return ImageSet(
        "the glyphs of fonts",
        np.stack([image for images in drawn for image in images]),
        np.array([len(images) for images in drawn]),
        tuple(f"{letter.script}/{unicodedata.name(letter.character).lower()}" for letter in letters),
        tuple(letter.script for letter in letters),
        ("",) * len(letters),
    )


class Pens:
    """Fonts at the size in which letters are drawn before they are mapped."""

    def __init__(self, em: int) -> None:
        self.em = em
        self._pens: dict[str, ImageFont.FreeTypeFont | None] = {}

    def of(self, font: Font) -> ImageFont.FreeTypeFont | None:
        """Return a font that is ready to draw, None for a file that cannot be drawn."""
        from PIL import ImageFont

        if font.path not in self._pens:
            try:
                pen = ImageFont.truetype(font.path, self.em, layout_engine=ImageFont.Layout.BASIC)
            except OSError:  # a kind of font that FreeType does not draw at any size
                pen = None
            self._pens[font.path] = pen
        return self._pens[font.path]

    def ink(self, character: str, font: Font) -> Image.Image | None:
        """Return a letter without its margins, white on black; None where the font draws nothing, or only a dot."""
        from PIL import Image, ImageDraw

        pen = self.of(font)
        if pen is None:
            return None
        canvas = Image.new("L", (3 * self.em, 3 * self.em))
        ImageDraw.Draw(canvas).text((1.5 * self.em, 1.5 * self.em), character, fill=255, font=pen, anchor="mm")
        box = canvas.getbbox()
        return None if box is None or max(box[2] - box[0], box[3] - box[1]) < self.em / 3 else canvas.crop(box)


def read_letters(paths: Iterable[str], enough: int, pens: Pens) -> list[Letter]:
    """Return the letters that enough fonts have, by script and code, at most `MOST_LETTERS` of each script.

    Each has its first `MOST_FONTS` fonts.
    """
    holders: dict[str, list[Font]] = defaultdict(list)
    for font in sorted(_read_fonts(paths), key=lambda font: (-len(font.letters), font.name)):
        for character in font.letters:
            holders[character].append(font)
    scripts: dict[str, list[Letter]] = defaultdict(list)
    strange = _strange_fonts(holders, pens)
    for character in sorted(holders):
        fonts = [font for font in holders[character] if font.name not in strange]
        if len(fonts) >= enough:
            script = unicodedata.name(character).split()[0].lower()
            scripts[script].append(Letter(character, script, _mix_families(fonts)))
    most_held = {s: sorted(each, key=lambda letter: -len(letter.fonts))[:MOST_LETTERS] for s, each in scripts.items()}
    return [
        letter._replace(fonts=letter.fonts[:MOST_FONTS])
        for script in sorted(most_held)
        for letter in sorted(most_held[script])
    ]


def _read_fonts(paths: Iterable[str]) -> Iterator[Font]:
    """Yield the fonts, each name once. Files that are no whole fonts are left out, as matplotlib leaves them out."""
    from matplotlib.ft2font import FT2Font

    seen = set()
    for path in paths:
        try:
            file = FT2Font(path)
            name, family, codes = f"{file.family_name} {file.style_name}", file.family_name, file.get_charmap()
        except (OSError, RuntimeError, ValueError, UnicodeDecodeError):
            continue
        if name not in seen and not _NO_LETTERS.search(f"{name} {Path(path).name}"):
            seen.add(name)
            yield Font(name, family, path, frozenset(filter(_is_base_letter, map(chr, codes))))


def _is_base_letter(character: str) -> bool:
    if unicodedata.category(character) not in ("Lu", "Ll", "Lo") or unicodedata.decomposition(character):
        return False
    name = unicodedata.name(character, "")
    return bool(name) and not _NO_BASE.search(name)


def _strange_fonts(holders: Mapping[str, Sequence[Font]], pens: Pens) -> set[str]:
    """Return the names of fonts whose letters look like none of the same letters in other fonts."""
    cosines: dict[str, list[float]] = defaultdict(list)
    for character in sorted(holders, key=lambda c: (-len(holders[c]), c))[:26]:
        shapes = {
            font.name: shape_of(ink) for font in holders[character] if (ink := pens.ink(character, font)) is not None
        }
        if len(shapes) < 2:
            continue
        every = np.stack(list(shapes.values()))
        others = (every @ every.T)[~np.eye(len(every), dtype=bool)].reshape(len(every), -1)
        for name, median in zip(shapes, np.median(others, axis=1).tolist(), strict=True):
            cosines[name].append(median)
    return {name for name, found in cosines.items() if np.median(found) < STRANGE}


def _mix_families(fonts: Sequence[Font]) -> tuple[Font, ...]:
    """Return the fonts in an order in which each family comes before the second font of any."""
    turns: dict[str, int] = defaultdict(int)
    ordered = []
    for font in fonts:
        ordered.append((turns[font.family], font))
        turns[font.family] += 1
    return tuple(font for _, font in sorted(ordered, key=lambda pair: pair[0]))


def shape_of(ink: Image.Image) -> np.ndarray:
    """Return the shape of a letter whatever its size, float32 [pixel] of length 1."""
    from PIL import Image, ImageFilter

    scale = (SHAPE - 4) / max(ink.size)
    small = ink.resize((max(1, round(ink.width * scale)), max(1, round(ink.height * scale))), Image.Resampling.BOX)
    canvas = Image.new("L", (SHAPE, SHAPE))
    canvas.paste(small, ((SHAPE - small.width) // 2, (SHAPE - small.height) // 2))
    shape = np.asarray(canvas.filter(ImageFilter.GaussianBlur(BLUR)), dtype=np.float32).ravel()
    return shape / np.linalg.norm(shape)


def different_letters(letters: Sequence[Letter], pens: Pens) -> list[Letter]:
    """Return the letters without those that look like an earlier one, of scripts with enough of them.

    Two letters look alike where they do so in any of the first `COMPARED` fonts of the one and of the other.
    """
    # The scripts that most fonts have keep their letters: А of Cyrillic is an A, and not the other way round.
    ordered = sorted(letters, key=lambda letter: (-len(letter.fonts), letter.script, letter.character))
    shapes = np.zeros((COMPARED, len(ordered), SHAPE * SHAPE), dtype=np.float32)
    for place, letter in enumerate(ordered):
        for turn, ink in enumerate(itertools.islice(_inks(letter, pens).values(), COMPARED)):
            shapes[turn, place] = shape_of(ink)
    alike = np.zeros((len(ordered), len(ordered)), dtype=bool)
    for ours, theirs in itertools.combinations_with_replacement(shapes, 2):
        close = ours @ theirs.T >= ALIKE
        alike |= close | close.T
    kept: list[int] = []
    for place in np.flatnonzero(alike.diagonal()).tolist():  # a letter without ink is not even like itself
        if not alike[place, kept].any():
            kept.append(place)
    sizes = Counter(ordered[place].script for place in kept)
    return sorted((ordered[place] for place in kept if sizes[ordered[place].script] >= FEWEST_LETTERS), key=_class_name)


def _inks(letter: Letter, pens: Pens) -> dict[str, Image.Image]:
    """Return the letter in each font that draws it, by the font's name."""
    drawn = ((font.name, pens.ink(letter.character, font)) for font in letter.fonts)
    return {name: ink for name, ink in drawn if ink is not None}


def _class_name(letter: Letter) -> tuple[str, str]:
    return letter.script, unicodedata.name(letter.character)


def _draw(letter: Letter, size: int, pens: Pens, affine: bool) -> Iterator[np.ndarray]:
    """Yield the drawings of a letter, uint8 [size, size]."""
    inks = list(_inks(letter, pens).items())
    for drawing in range(DRAWINGS if affine else len(inks)):
        turn, place = divmod(drawing, len(inks))
        name, ink = inks[place]
        draws = Streams.of(0, "glyph", letter.character, name, turn).uniform((6,))[0] * 2 - 1
        yield _place(ink, size, draws if affine else np.zeros(6))


def _place(ink: Image.Image, size: int, draws: np.ndarray) -> np.ndarray:
    """Return ink on a square of `size` pixels, turned, sheared, scaled and moved as `draws` says, each in [-1, 1]."""
    from PIL import Image

    turn, stretch, scale, shear, right, down = draws
    angle, canvas = np.radians(20 * turn), 2 * size
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    form = np.array([[np.exp(0.2 * stretch), 0.35 * shear], [0, np.exp(-0.2 * stretch)]])
    zoom = 0.66 * canvas / max(ink.size) * (0.9 + 0.2 * scale)
    # PIL asks for the point of the ink under each pixel of the picture.
    back = np.linalg.inv(zoom * rotation @ form)
    middle = canvas / 2 + 0.08 * canvas * np.array([right, down])
    offset = np.array(ink.size) / 2 - back @ middle
    coefficients: Any = (*back[0], offset[0], *back[1], offset[1])
    moved = ink.transform((canvas, canvas), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(moved.reduce(2))
