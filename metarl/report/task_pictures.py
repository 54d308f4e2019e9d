"""The pictures of answered tasks that `metarl evaluate` left in the folders of the runs, embedded into a page."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

from ..base.errors import MetarlError
from ..base.files import path_inside
from ..base.html import html_text
from ..base.progress import warn
from .commands import portable
from .groups import Group

TASKS_PICTURE = "tasks.png"
"""Picture that `metarl evaluate RUN` writes of a family that draws its tasks."""
MOST_BYTES = 2**23
"""Largest picture that a page embeds."""
_BEGINS = b"\x89PNG\r\n\x1a\n"


def task_pictures(groups: Sequence[Group]) -> str:
    """Return a picture of answered tasks for each setting, that of its first run; '' where no run has one.

    A file that cannot be shown is named in a warning and on the page.
    """
    parts = []
    for run in (group.runs[0] for group in groups if group.runs):
        try:
            content = _read_picture(run.path)
        except MetarlError as error:
            warn(f"left out: {error}")
            why = str(error).replace(str(run.path), portable(str(run.path)))
            parts.append(f'<p class="warning">{html_text(f"Left out: {why}.")}</p>')
            continue
        if content is not None:
            name = html_text(portable(str(run.path)))
            data = base64.b64encode(content).decode()
            image = f'<img src="data:image/png;base64,{data}" alt="Answered tasks of {name}">'
            parts.append(f"<figure>{image}<figcaption>{name}: answers in the first tasks</figcaption></figure>")
    return f'<div class="videos">{"".join(parts)}</div>' if parts else ""


def _read_picture(run_dir: Path) -> bytes | None:
    """Return the picture in a run's folder, None without one. Raises MetarlError for a file that is no such picture."""
    file = path_inside(run_dir, TASKS_PICTURE)
    if not file.is_file():
        return None
    try:
        content = file.read_bytes() if file.stat().st_size <= MOST_BYTES else None
    except OSError as error:
        raise MetarlError(f"{file} cannot be read ({error.strerror}); evaluate the run again") from None
    if content is None:
        raise MetarlError(f"{file} has more than {MOST_BYTES:,} bytes; evaluate the run again")
    if not content.startswith(_BEGINS):
        raise MetarlError(f"{file} is no PNG; evaluate the run again")
    return content
