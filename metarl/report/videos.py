"""The section of a page of HTML on videos: what `metarl render` left in the folders of the runs, embedded."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..base.errors import MetarlError
from ..base.files import path_inside
from ..base.html import html_text
from ..base.progress import warn
from ..base.terminal import shell_line
from .commands import portable
from .groups import Group
from .runs import RunResult

MOST_BYTES = 2**26
"""Largest video that a page embeds: a browser keeps several copies of it."""


@dataclass(frozen=True)
class _Kind:
    """A kind of video."""

    type: str
    """Its media type."""
    begins: tuple[bytes, ...]
    """How its bytes begin, of which one is there."""
    at: int
    """Where they begin."""


_KINDS = {
    "adaptation.mp4": _Kind("video/mp4", (b"ftyp",), 4),
    "adaptation.gif": _Kind("image/gif", (b"GIF87a", b"GIF89a"), 0),
}
"""Files that `metarl render RUN` writes; the first that is whole is shown."""


def videos(groups: Sequence[Group]) -> str:
    """Return the videos of the runs, embedded, and the commands that render those that are missing.

    A file that cannot be shown is named in the section and in a warning.
    """
    figures, missing, refused = [], [], []
    for run in (run for group in groups for run in group.runs):
        try:
            found = _find_video(run.path)
        except MetarlError as error:
            warn(f"left out: {error}")
            refused.append(str(error).replace(str(run.path), portable(str(run.path))))
            continue
        if found is None:
            missing.append(shell_line(["metarl", "render", portable(str(run.path))]))
        else:
            figures.append(_video(run, *found))
    parts = [f'<div class="videos">{"".join(figures)}</div>'] if figures else []
    parts += [f'<p class="warning">{html_text(f"Left out: {why}.")}</p>' for why in refused]
    if missing:
        what = "Other runs have no video yet." if figures or refused else "No run has a video yet."
        parts.append(f"<p>{what} Render them with these commands, then write the page again.</p>")
        parts.append(f'<pre tabindex="0">{html_text(chr(10).join(missing))}</pre>')
    return "\n".join(parts)


def _find_video(run_dir: Path) -> tuple[str, bytes] | None:
    """Return the name and the content of a run's video; None where there is none.

    Raises MetarlError for a file that is no video, that is too large, or that leads out of the folder.
    """
    for name, kind in _KINDS.items():
        file = path_inside(run_dir, name)
        if not file.is_file():
            continue
        try:
            content = file.read_bytes() if file.stat().st_size <= MOST_BYTES else None
        except OSError as error:
            raise MetarlError(f"{file} cannot be read ({error.strerror}); render it again") from None
        if content is None:
            raise MetarlError(f"{file} has more than {MOST_BYTES:,} bytes; render it smaller (--size, --every)")
        if not content[kind.at :].startswith(kind.begins):
            raise MetarlError(f"{file} is no {file.suffix[1:].upper()}; render it again with `metarl render`")
        return name, content
    return None


def _video(run: RunResult, file: str, content: bytes) -> str:
    name = html_text(portable(str(run.path)))
    data = f"data:{_KINDS[file].type};base64,{base64.b64encode(content).decode()}"
    if file.endswith(".gif"):
        shown = f'<img src="{data}" alt="Adaptation of {name}">'
    else:
        options = 'controls loop muted playsinline preload="metadata"'
        shown = f'<video {options} aria-label="Adaptation of {name}" src="{data}"></video>'
    return f"<figure>{shown}<figcaption>{name}</figcaption></figure>"
