"""Draws the gallery's pictures, one small PNG for each family: `make pictures`.

A family whose package is missing keeps the picture that it has.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

from metarl.cli.main import main
from metarl.families.family import FAMILIES, missing_requirement

FOLDER = Path(__file__).parent / "families" / "pictures"
SIZES = [(width, colors) for width in (720, 600, 480, 360) for colors in (128, 64, 32)]
"""Widths in pixels and numbers of colours, in the order in which they are tried."""
MOST_BYTES = 40_000
"""Size that no picture exceeds."""


def draw(name: str) -> bool:
    """Draw two worlds of a family, or a task of each split where it draws tasks, and return whether that worked."""
    cls = FAMILIES[name]
    what = ["--plot", "--tasks", "1"] if getattr(cls, "draws_tasks", False) else ["--render", "--tasks", "2"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        if main(["families", name, what[0], str(path), *what[1:]]):
            return False
        with Image.open(path) as picture:
            shrink(picture.convert("RGB"), FOLDER / f"{name}.png")
    return True


def shrink(picture: Image.Image, path: Path) -> None:
    """Write a picture as a PNG of at most `MOST_BYTES`, without its white margin."""
    margin = ImageChops.difference(picture, Image.new("RGB", picture.size, "white")).getbbox()
    picture = picture.crop(margin)
    for width, colors in SIZES:
        small = picture.resize((width, round(width * picture.height / picture.width)), Image.Resampling.LANCZOS)
        small.quantize(colors, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= MOST_BYTES:
            return
    raise ValueError(f"{path} has {path.stat().st_size:,} bytes in the smallest size; add a smaller one to SIZES")


if __name__ == "__main__":
    os.environ.setdefault("MUJOCO_GL", "egl")
    FOLDER.mkdir(parents=True, exist_ok=True)
    wanted = sys.argv[1:] or [name for name in FAMILIES if not missing_requirement(FAMILIES[name])]
    missing = [name for name in wanted if not draw(name)]
    sys.exit(f"not drawn: {', '.join(missing)}" if missing else 0)
