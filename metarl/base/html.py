"""Pages of HTML that are one file: they open from disk and load nothing from a network."""

from __future__ import annotations

import html
import json
from string import Template

from .errors import MetarlError
from .terminal import visible

_DOCUMENT = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="$policy">
<title>$title</title>
<style>
$style</style>
</head>
<body>
$body
</body>
</html>
""")
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; media-src data:"
)
"""Forbids the browser to load anything from elsewhere."""


def html_document(title: str, style: str, body: str) -> str:
    """Return a page from its title in plain text, its style sheet and its body in HTML."""
    return _DOCUMENT.substitute(policy=_POLICY, title=html_text(title), style=style, body=body)


def html_text(text: str) -> str:
    """Return plain text for HTML, between tags and inside an attribute in double quotes."""
    return html.escape(visible(text))


def json_in_script(value: object) -> str:
    """Return JSON that can stand inside a script: no `<` can end it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def plotly_source() -> str:
    """Return the JavaScript of plotly, which draws a page's figures. Raises MetarlError where it is not installed."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise MetarlError("plotly is not installed; a page of HTML needs it: pip install 'plotly>=6'") from None
    return str(get_plotlyjs())
