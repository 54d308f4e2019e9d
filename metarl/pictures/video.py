"""Videos of films: a row for each task, a column for each round, with task, round and return as text."""

from __future__ import annotations

import contextlib
import functools
import io
import subprocess
import tempfile
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..base.errors import MetarlError
from ..base.files import write_atomically
from ..base.meter import Report, counted, ignore
from ..base.terminal import one_line
from ..base.text import decimals_for, number_text, with_noun
from .drawing import ink_box
from .film import Film, Take
from .gallery import task_in_words

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

SUFFIXES = (".mp4", ".gif")
MOST_PIXELS = 4096
"""Longest side of a video: many H.264 players refuse larger ones."""
FASTEST = {".mp4": 1000, ".gif": 50}
"""Most pictures a second: a GIF counts in hundredths, and players slow down those of one hundredth."""
SMALLEST_SIZE = 16
"""Narrowest panel in pixels."""
MOST_FRAMES = 100_000
"""Most pictures of a video, which takes minutes to write."""
MOST_GIF_BYTES = 2**31
"""Most bytes of the pictures of a GIF, which are all in memory when it is written."""
MARGIN, LINE, BORDER = 12, 20, 4
"""Pixels: around panels, between lines of text, and of the border around an episode that ended early."""
MOST_LETTERS = 600
"""Characters of a title or of a task in words."""
SMALLEST, TEXT, HEADING = 8, 13, 15
"""Font sizes in pixels."""
WHITE, INK, GREY, ENDED = "#FFFFFF", "#000000", "#666666", "#D55E00"
"""Colours. ENDED marks an episode that ended before the time limit."""
FADED = 0.5
"""Share of white in a picture after the end of its episode."""
SECONDS_HELD = 2.0
"""Seconds that the last picture stays."""


def video_suffix(path: str | Path) -> str:
    """Return the suffix of a video's path, '.mp4' or '.gif'.

    Raises MetarlError for another suffix, and for .mp4 without ffmpeg.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise MetarlError(f"{path} has suffix {suffix!r}; a video is written as '.mp4' or '.gif'")
    if suffix == ".mp4" and not has_ffmpeg():
        raise MetarlError(
            f'{path} needs ffmpeg, which is not installed or fails; pip install "metarl-suite[video]", or write a .gif'
        )
    return suffix


@functools.cache
def has_ffmpeg() -> bool:
    """Return whether ffmpeg writes an .mp4 file of one small picture."""
    try:
        _mp4([np.zeros((64, 64, 3), dtype=np.uint8)], 1)
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError):
        return False
    return True


def write_video(
    film: Film, path: str | Path, *, fps: int | None = None, size: int | None = None, report: Report = ignore
) -> None:
    """Write a film to a .mp4 or .gif file, whole or not at all.

    `size` is the width of a panel in pixels, by default 320, and less for more than three rounds. `fps` is the
    number of pictures a second, by default 3 to 20, so that an episode lasts about six seconds. `report` is told
    the pictures written and their number. Raises MetarlError for another suffix, for .mp4 without ffmpeg, for a
    video that is too large, and if the file cannot be written.
    """
    suffix = video_suffix(path)
    fps = _usual_fps(len(film.times)) if fps is None else fps
    size = usual_size(film.plan.rounds) if size is None else size
    _require_options(suffix, fps, size)
    _require_frames(len(film.times))
    sheet = Sheet(film, size)
    times = [*film.times, *[film.times[-1]] * round(fps * SECONDS_HELD)]
    if suffix == ".gif":
        _require_memory(sheet.base.width * sheet.base.height, len(times))
    frames = map(sheet.frame, counted(times, report, len(times)))
    write_atomically(path, _mp4(frames, fps) if suffix == ".mp4" else _gif(sheet, frames, times, fps))


def require_room(
    suffix: str, num_times: int, num_tasks: int, rounds: int, *, fps: int | None = None, size: int | None = None
) -> None:
    """Raise MetarlError for a video that could not be written. Call it before the film is taken; it is an estimate.

    The video shows `num_times` steps of `num_tasks` tasks; `fps` and `size` are those of `write_video`.
    """
    fps = _usual_fps(num_times) if fps is None else fps
    size = usual_size(rounds) if size is None else size
    _require_options(suffix, fps, size)
    _require_frames(num_times)
    width = MARGIN + rounds * (size + MARGIN)
    _require_pixels(width, num_tasks * 4 * LINE)
    if suffix == ".gif":  # pictures are about twice as wide as high, or less
        _require_memory(width * num_tasks * (size // 2), num_times)


def usual_size(rounds: int) -> int:
    """Return the width of a panel in pixels, by default 320, and less for more than three rounds."""
    return max(200, 960 // max(3, rounds))


def _usual_fps(num_times: int) -> int:
    return min(20, max(3, round(num_times / 6)))


def _require_options(suffix: str, fps: int, size: int) -> None:
    fastest = FASTEST[suffix]
    if not 1 <= fps <= fastest:
        raise MetarlError(f"fps is {fps}; a {suffix} file shows 1 to {fastest} pictures a second")
    if not SMALLEST_SIZE <= size <= MOST_PIXELS:
        raise MetarlError(f"size is {size}; a panel is {SMALLEST_SIZE} to {MOST_PIXELS} pixels wide")


def _require_frames(count: int) -> None:
    if count > MOST_FRAMES:
        raise MetarlError(
            f"the video would have {count:,} pictures, and the most is {MOST_FRAMES:,}; take more steps between "
            "pictures (--every)"
        )


def _require_memory(pixels: int, count: int) -> None:
    """Raise MetarlError for a GIF whose pictures, a byte a pixel, do not fit into memory at once."""
    if pixels * count > MOST_GIF_BYTES:
        raise MetarlError(
            f"the GIF would take {pixels * count / 2**30:,.0f} GiB of memory for {count:,} pictures, and the most is "
            f"{MOST_GIF_BYTES / 2**30:.0f} GiB; write an .mp4, or take more steps between pictures (--every) "
            "or smaller panels (--size)"
        )


def _require_pixels(width: int, height: int) -> None:
    if max(width, height) > MOST_PIXELS:
        raise MetarlError(
            f"the video would have {width} x {height} pixels, but some players take at most {MOST_PIXELS}; "
            "take fewer tasks (--tasks), fewer rounds (--rounds) or smaller panels (--size)"
        )


def _mp4(frames: Iterable[np.ndarray], fps: int) -> bytes:
    """Return an .mp4 file of frames, uint8 [height, width, 3] with even sides."""
    import imageio_ffmpeg

    frames = iter(frames)
    first = next(frames)
    height, width, _ = first.shape
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        # The index comes first, so that a browser starts before it has the whole file.
        faststart = ["-movflags", "+faststart"]
        writer = imageio_ffmpeg.write_frames(
            path, (width, height), fps=fps, macro_block_size=2, output_params=faststart, ffmpeg_log_level="error"
        )
        with contextlib.closing(writer):
            writer.send(None)
            writer.send(first.tobytes())
            for frame in frames:
                writer.send(frame.tobytes())
        return path.read_bytes()


def _gif(sheet: Sheet, frames: Iterable[np.ndarray], times: Sequence[int], fps: int) -> bytes:
    """Return the frames at `times` as a GIF that repeats. All share one palette, so that nothing flickers."""
    from PIL import Image

    samples = [sheet.frame(times[i]) for i in np.linspace(0, len(times) - 1, 6).astype(int)]
    palette = Image.fromarray(np.concatenate(samples)).quantize(256, dither=Image.Dither.NONE)
    images = (Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    file = io.BytesIO()
    next(images).save(file, "GIF", save_all=True, append_images=images, duration=round(1000 / fps), loop=0)
    return file.getvalue()


class Sheet:
    """Draws the frames of a film. The background is drawn once, pictures and running returns in each frame."""

    def __init__(self, film: Film, size: int) -> None:
        self.film, self.size = film, size
        shots = [shot for row in film.takes for take in row for shot in take.shots]
        alike = len({shot.shape for shot in shots}) == 1
        # One picture at a time: all of them, no longer compressed, may not fit into memory.
        self.box = ink_box(shot.picture for shot in shots) if alike else (slice(None),) * 2
        height, width = shots[0].picture[self.box].shape[:2]
        self.panel = size, round(size * height / width)
        self.decimals = decimals_for(np.array([[take.total, take.mean_return] for row in film.takes for take in row]))
        self.corners: dict[tuple[int, int], tuple[int, int]] = {}
        """Upper left corner of the panel of each task and round."""
        self.base = self._base()

    def frame(self, step: int) -> np.ndarray:
        """Return the frame of all episodes at `step` or at their end, uint8 [height, width, 3]."""
        from PIL import ImageDraw

        image = self.base.copy()
        pen = ImageDraw.Draw(image)
        for (row, column), corner in self.corners.items():
            self._draw_take(image, pen, self.film.takes[row][column], corner, step)
        return np.asarray(image)

    def _base(self) -> Image.Image:
        """Return the frame without panels: title, tasks and rounds. Raises MetarlError if it is too large."""
        from PIL import Image, ImageDraw

        film, (panel_width, panel_height) = self.film, self.panel
        width, y = MARGIN + film.plan.rounds * (panel_width + MARGIN), MARGIN
        texts: list[tuple[int, int, str, ImageFont.FreeTypeFont]] = []

        def write(text: str, font: ImageFont.FreeTypeFont) -> None:
            nonlocal y
            for line in _wrap(one_line(text, MOST_LETTERS), font, width - 2 * MARGIN):
                texts.append((MARGIN, y, line, font))
                y += LINE

        write(
            f"{film.agent} on {film.family.title}, {film.plan.split} tasks, seed {film.plan.seed}",
            _font(HEADING, bold=True),
        )
        for row, number in enumerate(film.numbers):
            y += MARGIN // 2
            write(f"task {number}: {task_in_words(film.family, film.tasks[row])}", _font(TEXT, bold=True))
            for column in range(film.plan.rounds):
                x = MARGIN + column * (panel_width + MARGIN)
                texts.append((x, y, _round_in_words(film, column), _font(TEXT)))
                self.corners[row, column] = x, y + LINE
            y += LINE + panel_height + 2 * LINE
        # H.264 halves the resolution of colours, so sides are even.
        width, height = width + width % 2, y + MARGIN + (y + MARGIN) % 2
        _require_pixels(width, height)
        image = Image.new("RGB", (width, height), WHITE)
        pen = ImageDraw.Draw(image)
        for x, y, line, font in texts:
            pen.text((x, y), line, fill=INK, font=font)
        return image

    def _draw_take(
        self, image: Image.Image, pen: ImageDraw.ImageDraw, take: Take, corner: tuple[int, int], step: int
    ) -> None:
        from PIL import Image

        (x, y), (width, height) = corner, self.panel
        number = functools.partial(number_text, decimals=self.decimals)
        step = min(step, take.length)
        over = bool(take.ending) and step == take.length
        picture = Image.fromarray(np.ascontiguousarray(take.shot(step).picture[self.box]))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        if over:
            picture = Image.blend(picture, Image.new("RGB", picture.size, WHITE), FADED)
        image.paste(picture, corner)
        if over:
            pen.rectangle((x, y, x + width - 1, y + height - 1), outline=ENDED, width=BORDER)
        now = (
            f"ended at step {step}: {take.ending}"
            if over
            else f"step {step}: return so far {number(take.running[step])}"
        )
        pen.text((x, y + height + 2), now, fill=ENDED if over else INK, font=_fit(now, width, bold=over))
        others = (
            f", mean of {self.film.plan.replicas} {number(take.mean_return)}" if self.film.plan.replicas > 1 else ""
        )
        whole = f"whole episode {number(take.total)}{others}{', success' if take.success else ''}"
        pen.text((x, y + height + 2 + LINE), whole, fill=GREY, font=_fit(whole, width))


def _round_in_words(film: Film, column: int) -> str:
    episodes = column * (film.plan.replicas if film.pooled else 1)
    return f"round {column + 1}: " + (f"after {with_noun(episodes, 'episode')}" if column else "new to the task")


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Return a text as lines of at most `width` pixels; only a single word may be longer."""
    letters = len(text)
    while letters > 10:
        lines = textwrap.wrap(text, letters)
        if max(map(font.getlength, lines)) <= width:
            return lines
        letters -= 1
    return textwrap.wrap(text, letters)


def _fit(text: str, width: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font of size `TEXT`, or the largest smaller one in which the text has at most `width` pixels."""
    sizes = range(TEXT, SMALLEST, -1)
    return next((font for size in sizes if (font := _font(size, bold=bold)).getlength(text) <= width), _font(SMALLEST))


@functools.cache
def _font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font that matplotlib brings along, the same on every machine."""
    import matplotlib
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
