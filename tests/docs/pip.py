"""`python pip.py PYTHON LIBRARY install ...`: what `pip install` does, in one process instead of five.

An editable package is built by setuptools, as pip lets it, and what must be there already is looked for. pip itself
does the rest.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from setuptools import build_meta


def main(python: str, library: str, *words: str) -> None:
    """Install into a library of packages, that of `python`. Raises AssertionError where a requirement is not met."""
    _, *options, wanted = words
    if "-e" in options:
        folder, extra = wanted.rstrip("]").partition("[")[::2]
        needed = install_editable(Path(folder), Path(library))
        require([] if "--no-deps" in options else needed, extra)
    elif re.match(r"\w", wanted):
        require([wanted], "")
    else:
        os.execv(python, [python, "-m", "pip", *words])


def install_editable(folder: Path, library: Path) -> list[str]:
    """Install a package so that its folder is imported, and return its requirements."""
    with tempfile.TemporaryDirectory() as built, contextlib.chdir(folder):
        with contextlib.redirect_stdout(io.StringIO()):
            wheel = build_meta.build_editable(built)
        with zipfile.ZipFile(Path(built, wheel)) as file:
            file.extractall(library)
    name, version, *_ = wheel.split("-")
    return metadata.Distribution.at(library / f"{name}-{version}.dist-info").requires or []


def require(needed: list[str], extra: str) -> None:
    """Check that an installed package meets each requirement that holds with an extra."""
    for each in map(Requirement, needed):
        if each.marker is None or each.marker.evaluate({"extra": extra}):
            assert each.specifier.contains(metadata.version(each.name), prereleases=True), each


if __name__ == "__main__":
    main(*sys.argv[1:])
