"""How plain text becomes part of a page: one function for each kind of page, through which all text must go.

For HTML it is `base.html.html_text`.

Names, keys and paths may come from a stranger's run. Nothing in them may begin a tag, a link, a command or a formula,
and no hidden character may show another name.
"""

from __future__ import annotations

import html
import re
from urllib.parse import quote

from ..base.terminal import one_line, visible


def _fold(text: str) -> str:
    """Return visible text on one line; a space at its ends stays, since another part may follow."""
    return re.sub(r"\s+", " ", visible(text))


def plotly_text(text: str) -> str:
    """Return plain text for plotly.js, which would read some tags and entities in it as HTML."""
    return html.escape(visible(text), quote=False)


_MARKDOWN = re.compile(
    r"[&<~$]"  # entities, tags and addresses, crossed out text, formulas
    r"|[\\`*\[|]"  # code, emphasis, links and pictures, cells
    r"|(?<![^\W_])_|_(?![^\W_])"  # emphasis: not inside a word
    r"|^[#>+=-](?=.)|^\d+(?=[.)])"  # headings, quotes, lists and rules begin a line
)
_ENTITIES = "&<>~$="
"""Characters of Markdown that not every reader of it takes with a backslash; as entities all of them show them."""


def _escape_markdown(found: re.Match[str]) -> str:
    text = found[0]
    if text in _ENTITIES:
        return _entity(text)
    return f"{text}\\" if text.isdigit() else f"\\{text}"


def _entity(character: str) -> str:
    return html.escape(character, quote=False) if character in "&<>" else f"&#{ord(character)};"


def markdown_text(text: str) -> str:
    """Return plain text as Markdown on one line, which shows every character as it is."""
    return _MARKDOWN.sub(_escape_markdown, _fold(text))


_SCHEME = re.compile(r"\]\s*[(:]\s*(?!https?:|mailto:)[a-z][a-z0-9+.-]*:|\\", re.IGNORECASE)
"""A link that is neither to a page nor relative, or an escape that could hide one."""


def markdown_note(text: str) -> str:
    """Return a note as Markdown on one line. It keeps its own Markdown, without HTML and without links that run code.

    The writer of a page gives its notes, so that they may link to other pages.
    """
    line = one_line(text)
    if _SCHEME.search(line):
        return markdown_text(line)
    return re.sub("[&<]", lambda found: _entity(found[0]), line)


def markdown_code(text: str) -> str:
    """Return lines of shell as a block of Markdown code, in fences that no line of it can close."""
    shown = visible(text)
    longest = max(map(len, re.findall("`+", shown)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{shown}\n{fence}"


def markdown_picture(text: str, file: str) -> str:
    """Return a picture of Markdown by its description and the name of its file beside the page."""
    # A bracket that closes too early would end the picture, and begin a link.
    alternative = markdown_text(text).replace("]", "\\]")
    return f"![{alternative}]({quote(file, errors='surrogateescape')})"


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: f"\\{character}" for character in "{}$&#_%"},
}
"""Characters with a meaning in LaTeX, and how to write them."""


def latex_text(text: str) -> str:
    """Return plain text as LaTeX on one line that prints it as it is."""
    return "".join(_LATEX.get(character, character) for character in _fold(text))


def latex_comment(text: str) -> str:
    """Return plain text as a comment of LaTeX."""
    return f"% {one_line(text)}"
