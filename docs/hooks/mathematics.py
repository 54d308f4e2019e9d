"""Formulas: TeX between dollars becomes MathML when the site is built, which browsers draw without a script."""

from __future__ import annotations

import html
import re

import latex2mathml.converter

BLOCK = re.compile(r'<div class="arithmatex">\\\[(.*?)\\\]</div>', re.DOTALL)
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)


def with_mathml(page: str) -> str:
    """Return a page's HTML with every formula as MathML."""
    page = BLOCK.sub(lambda found: f'<div class="formula">{_mathml(found[1], "block")}</div>', page)
    return INLINE.sub(lambda found: _mathml(found[1], "inline"), page)


def _mathml(tex: str, display: str) -> str:
    return latex2mathml.converter.convert(html.unescape(tex).strip(), display=display)
