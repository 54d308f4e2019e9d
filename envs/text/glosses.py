"""Glosses of WordNet: the definitions of nouns, with the kind of thing that they name for a label."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from metarl.base.errors import MetarlError

FOLDERS = (
    "/usr/share/wordnet",
    "/usr/local/share/wordnet",
    "/usr/local/WordNet-3.0/dict",
    "/opt/homebrew/share/wordnet",
)
"""Where systems install WordNet's dictionary. WordNet's own variable WNSEARCHDIR names another folder."""
HYPERNYM = re.compile(r" @ (\d{8}) n ")
"""Pointer from a noun to its kind."""


def find_nouns() -> Path:
    """Return the file of nouns. Raises MetarlError where WordNet is not installed."""
    given = os.environ.get("WNSEARCHDIR")
    for folder in (given,) if given else FOLDERS:
        if (path := Path(folder) / "data.noun").is_file():
            return path
    where = f"WNSEARCHDIR, {given}" if given else "none of its usual folders"
    raise MetarlError(
        f"texts 'glosses' needs WordNet's data.noun, which is not in {where}; install it (apt install wordnet-base), "
        "or let WNSEARCHDIR name its folder"
    )


@functools.cache
def noun_glosses(path: Path) -> Mapping[str, Sequence[str]]:
    """Return the glosses of the nouns of each kind, without their examples. The key is the kind's word and number.

    Raises MetarlError for a file that is none of WordNet's.
    """
    words: dict[str, str] = {}
    glosses: dict[str, list[str]] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):  # the licence
                continue
            entry, gloss = line.split(" | ", 1)
            number, _, _, _, word = entry.split(" ", 5)[:5]
            words[number] = word
            for kind in HYPERNYM.findall(entry):
                glosses.setdefault(kind, []).append(gloss.split('; "')[0].strip())
        return {f"{words[kind]}.{kind}": sorted(set(found)) for kind, found in glosses.items()}
    except (OSError, UnicodeDecodeError, ValueError, KeyError) as error:
        raise MetarlError(f"{path} is no file of WordNet's nouns ({type(error).__name__}); install it again") from None
