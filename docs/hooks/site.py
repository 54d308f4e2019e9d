"""The site's hook: it generates the reference from the code, so that the two cannot differ.

A page asks for generated text by a comment, `<!-- generated: NAME -->`; `GENERATED` has the names. Pages of single
families are generated as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import command_reference
import registry_pages
import settings_reference
from mathematics import with_mathml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]


def _changelog() -> str:
    return _without_title("CHANGELOG.md")


def _security() -> str:
    return _without_title("SECURITY.md")


def _without_title(file: str) -> str:
    return (ROOT / file).read_text(encoding="utf-8").split("\n", 1)[1]


GENERATED: dict[str, Callable[[], str]] = {
    "agents": registry_pages.agents_table,
    "agent settings": settings_reference.agent_settings,
    "changelog": _changelog,
    "commands": command_reference.commands,
    "families": registry_pages.gallery,
    "parameters of families": registry_pages.parameters_table,
    "security": _security,
    "training settings": settings_reference.training_settings,
}
"""Text by the name that a page asks for it by."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the pages of single families and results to the navigation."""
    for entry in config.nav or []:
        if "Families" in entry:
            entry["Families"] += registry_pages.family_navigation()
        if "Results" in entry:
            entry["Results"] += _results()
    return config


def _results() -> list[str]:
    folder = ROOT / "docs" / "results"
    return [f"results/{path.name}" for path in sorted(folder.glob("*.md")) if path.name != "index.md"]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for path, text in registry_pages.family_pages().items():
        if files.get_file_from_path(path):
            raise PluginError(f"{path} is written by hand, and the page of a family has that name; rename it")
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, **kwargs: Any) -> str:
    """Fill in what the page asks for, and turn links into the repository into plain text."""
    return _without_repository_links(re.sub(r"<!-- generated: (.+?) -->", _generated, markdown), page)


def _generated(asked: re.Match[str]) -> str:
    if asked[1] not in GENERATED:
        raise PluginError(f"{asked[0]}: nothing is generated under that name; take one of {', '.join(GENERATED)}")
    return GENERATED[asked[1]]()


def _without_repository_links(markdown: str, page: Page) -> str:
    """Return the text with links to files outside `docs` replaced by their words: the site lacks these files."""
    folder = (ROOT / "docs" / page.file.src_uri).parent

    def shown(link: re.Match[str]) -> str:
        target = (folder / link[2].split("#")[0]).resolve()
        leaves = target.is_relative_to(ROOT) and not target.is_relative_to(ROOT / "docs")
        return link[1] if leaves and target.exists() else link[0]

    return re.sub(r"(?<!!)\[([^\]]+)\]\((?![a-z]+:)([^)\s]+)\)", shown, markdown)


def on_page_content(html: str, **kwargs: Any) -> str:
    """Turn formulas into MathML, which browsers draw without a script."""
    return with_mathml(html)
