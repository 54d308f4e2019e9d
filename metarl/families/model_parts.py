"""The files that a MuJoCo model refers to: included models, meshes, height fields and textures."""

from __future__ import annotations

import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..base.errors import MetarlError

SUFFIXES = (".xml", ".mjcf", ".urdf")
"""Endings of files that may refer to others."""
SIDES = tuple(f"file{side}" for side in ("", "right", "left", "up", "down", "front", "back")) + ("filename",)
"""Attributes that name a file. A cube's texture has six; a URDF says `filename`."""
MOST_FILES = 2000
"""Most files of one model."""


@dataclass
class _Model:
    """A model while its files are looked for."""

    main: Path
    """The file that MuJoCo loads; included files and asset folders are relative to its folder."""
    strict: bool
    """Whether a missing file is an error."""
    folders: dict[str, str] = field(default_factory=dict)
    """Values of meshdir, texturedir and assetdir."""
    strips: bool = False
    """Whether the folders in names of assets are ignored."""
    roots: list[tuple[Path, ElementTree.Element]] = field(default_factory=list)
    """Each XML file of the model with its content, the main one first."""


def find_parts(path: Path, *, strict: bool = True) -> list[Path]:
    """Return the files that a model refers to, without links in their paths resolved; none for other files.

    Raises MetarlError for a file that is missing or named by an absolute path; with `strict` false such names are left
    out, and absolute ones returned as they are.
    """
    found: dict[Path, None] = {}
    _add_parts(path, strict, found)
    found.pop(path, None)
    return list(found)


def _add_parts(path: Path, strict: bool, found: dict[Path, None]) -> None:
    if path.suffix.lower() not in SUFFIXES or path in found:
        return
    found[path] = None
    model = _Model(path, strict)
    _read(model, path)
    for file, root in model.roots:
        found[file] = None
        for element in root.iter():
            for part in _files_of(model, file, element):
                if part not in found and element.tag == "model":
                    _add_parts(part, strict, found)
                found[part] = None
                if len(found) > MOST_FILES:
                    raise MetarlError(f"{path} refers to more than {MOST_FILES} files; a model may have as many")


def _read(model: _Model, file: Path) -> None:
    """Read a file and those that it includes."""
    if any(file == known for known, _ in model.roots):
        return
    try:
        root = ElementTree.fromstring(file.read_bytes())
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        if not model.strict:
            return
        raise MetarlError(f"{file} is not an XML file ({error}); give a model that MuJoCo loads") from None
    except OSError as error:
        raise MetarlError(f"{file} cannot be read ({error.strerror}); give the path of a model") from None
    model.roots.append((file, root))
    for compiler in root.iter("compiler"):
        model.folders.update({k: v for k in ("meshdir", "texturedir", "assetdir") if (v := compiler.get(k))})
        model.strips = model.strips or compiler.get("strippath") == "true"
    for include in root.iter("include"):
        for part in _files_of(model, file, include):
            _read(model, part)


def _files_of(model: _Model, file: Path, element: ElementTree.Element) -> Iterator[Path]:
    for attribute in SIDES:
        if (name := element.get(attribute)) and (path := _find(model, file, element.tag, name)):
            yield path


def _find(model: _Model, file: Path, tag: str, name: str) -> Path | None:
    """Return the file of a name in a model, by MuJoCo's rules; None for a missing one where that is no error."""
    name = name.removeprefix("package://")
    kind = "texturedir" if tag == "texture" else "meshdir"
    folder = "" if tag in ("include", "model") else model.folders.get(kind, model.folders.get("assetdir", ""))
    whole = Path(folder) / name
    if whole.is_absolute():
        if not model.strict:
            return Path(os.path.normpath(whole))
        raise MetarlError(
            f"{file} names {whole} by an absolute path; write it relative to the model, so that a run can hold a copy"
        )
    if model.strips and tag not in ("include", "model"):
        name = Path(name).name
    tried = [Path(os.path.normpath(start / folder / name)) for start in (model.main.parent, file.parent)]
    existing = next((path for path in tried if path.is_file()), None)
    if existing is None and model.strict:
        raise MetarlError(f"{file} refers to {name!r}, but {tried[0]} does not exist; put it there")
    return existing if existing is not None or not _leads_out(tried[0], model) else tried[0]


def _leads_out(path: Path, model: _Model) -> bool:
    return not path.is_relative_to(model.main.parent)
