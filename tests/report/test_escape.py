"""Hostile text in every name, key and path of a page: each kind of page shows it, and none obeys it."""

from __future__ import annotations

import html
import json
import os
import re
import warnings
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown import markdown as site
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from metarl.base.figures import legend_label, save_figure
from metarl.base.html import html_text
from metarl.base.terminal import visible
from metarl.cli.main import main
from metarl.evaluation.figure import plot
from metarl.evaluation.record import Evaluation
from metarl.evaluation.table import table
from metarl.report.about import About
from metarl.report.escape import (
    latex_comment,
    latex_text,
    markdown_code,
    markdown_note,
    markdown_text,
    plotly_text,
)
from metarl.report.groups import Group, group_runs
from metarl.report.html import html_page
from metarl.report.latex import latex
from metarl.report.markdown import markdown
from metarl.report.runs import LeftOut, read_run
from tests.places import ROOT
from tests.report.run_folders import run_folder, scores, write_reference
from tests.scripted import altered

PIECES = (
    "<script>window.broken=1</script>",
    "<img src=x onerror=window.broken=1>",
    "[a](javascript:window.broken=1)",
    "![a](javascript:window.broken=1)",
    "<javascript:window.broken=1>",
    "```\n# heading\n```sh\nrm -rf ~\n",
    "a | b || c",
    "$x$ \\frac{ $$y$$ \\input{/etc/passwd} \\\\ \\end{table}",
    "\x1b]0;title\x07\x1b[2J\r\x9b1m",
    "\u202eevil\u2066\u200b\u2028\x85\x1c",
    os.fsdecode(b"\xff\xfe"),
    "**bold** _it_ ~~gone~~ `code` &lt;b&gt; &#60;i&#62;",
    "%{y} %<x>",
    "]]>--><!--",
    '" onload="window.broken=1',
    "{{ 7*7 }} {% raw %}",
    "_hidden",
)
EVIL = " ".join(PIECES)


class Tags(HTMLParser):
    """Collects the tags, their attributes and the text of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src")]
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def readers(text: str) -> list[Tags]:
    """Return Markdown as the site reads it, and as GitHub does."""
    github = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    return [Tags(site(text, extensions=["tables", "fenced_code"])), Tags(github.render(text))]


def folded(text: str) -> str:
    return " ".join(visible(text).split())


@pytest.mark.parametrize("text", [*PIECES, EVIL, "# a", "> a", "- a", "1. a", "1) a", "+ a", "=== a", "    a"])
def test_markdown_shows_every_character_of_a_name_and_no_markup_of_it(text: str) -> None:
    for found in readers(markdown_text(text)):
        assert found.tags == ["p"], found.tags
        assert " ".join(found.text.split()) == folded(text)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*PIECES, *"\\`*_[]()<>&|~$#!-+=1.:\n x"]), max_size=12).map("".join))
def test_any_mixture_of_markup_is_shown_as_it_is(text: str) -> None:
    for found in readers(f"x {markdown_text(text)} x"):
        assert found.tags == ["p"]
        assert " ".join(found.text.split()) == " ".join(f"x {folded(text)} x".split())
    assert Tags(f'<p title="{html_text(text)}">{html_text(text)}</p>').text == visible(text)
    assert html.unescape(plotly_text(text)) == visible(text) and "<" not in plotly_text(text)
    assert len(latex_comment(text).splitlines()) == 1
    assert not re.search(r"(?<!\\)[$&#_%^~]", latex_text(text))


def test_a_code_block_is_not_closed_by_what_is_in_it() -> None:
    lines = "metarl train '```'\n`````\n<b>"
    for found in readers(markdown_code(lines)):
        assert (found.tags, found.text.strip("\n")) == (["pre", "code"], lines)


@pytest.mark.parametrize(
    ("note", "tags", "addresses"),
    [
        ("See [the other page](other.md) and *mind*.", ["p", "a", "em"], ["other.md"]),
        ("[a](https://example.org/x)", ["p", "a"], ["https://example.org/x"]),
        ("[a](javascript:alert(1))", ["p"], []),
        ("[a](java\\script\\:alert(1))", ["p"], []),
        ("[a]( JavaScript:alert(1))", ["p"], []),
        ("[a](&#106;avascript:alert(1))", ["p", "a"], ["&#106;avascript:alert(1)"]),
        ("<script>alert(1)</script> <javascript:alert(1)>", ["p"], []),
    ],
)
def test_a_note_keeps_its_links_but_no_html_and_no_link_that_runs_code(
    note: str, tags: list[str], addresses: list[str]
) -> None:
    for found in readers(markdown_note(note)):
        assert (found.tags, found.addresses) == (tags, addresses)


def hostile_groups(folder: Path) -> list[Group]:
    """Return groups whose names, versions, commits, commands and paths are all hostile."""
    run = run_folder(folder / "run", scores(1), more_words=[EVIL], trained={"updates": 4, "checkpoint": EVIL})
    write_reference(run, EVIL, "evaluation-evil.json", returns=scores(2) - 50)
    own = replace(Evaluation.load(run / "evaluation.json"), versions={EVIL: EVIL}, commit=EVIL)
    own = replace(own, family=EVIL, settings={EVIL: EVIL})
    (first, *others) = group_runs([read_run(run)])
    config = {**first.runs[0].config, "agent": {"name": EVIL, EVIL: EVIL}}
    session = {"command": ["metarl", EVIL], "git_commit": EVIL, "versions": {EVIL: EVIL}}
    result = replace(first.runs[0], path=folder / EVIL.replace("/", "")[:150], config=config, evaluation=own)
    result = replace(result, sessions=[session], other_splits={"train": own})
    other = replace(first, name=f"{EVIL} 2", problem=EVIL)
    return [replace(first, name=EVIL, problem=EVIL, runs=[result], evaluations=[own]), other, *others]


def about(**more: Any) -> About:
    left_out = [LeftOut(Path(EVIL), f"{EVIL} is damaged; write it again")]
    return About(f"metarl report {EVIL}".replace("\n", " "), EVIL, [EVIL], left_out=left_out, **more)


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> list[Group]:
    return hostile_groups(tmp_path_factory.mktemp("hostile"))


def test_no_hostile_text_becomes_markup_of_a_page_of_markdown(groups: list[Group]) -> None:
    text = markdown(groups, about(), {EVIL: f"{EVIL}.png"})
    assert visible(text) == text
    allowed = {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "pre", "code", "ul", "li", "img", "strong"}
    for found in readers(text):
        assert set(found.tags) <= allowed, set(found.tags) - allowed
        assert found.tags.count("img") == found.tags.count("pre") == 1
        assert [each for each in found.addresses if ":" in each] == []
        assert folded("<script>window.broken=1</script>") in found.text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    assert set(widths) and all(row.endswith(" |") for row in rows)


def test_no_hostile_text_becomes_markup_of_a_page_of_html(groups: list[Group]) -> None:
    text = re.sub(r"<script>/\*\*\n\* plotly\.js.*?</script>", "", html_page(groups, about()), flags=re.DOTALL)
    assert visible(text) == text
    text.encode()
    found = Tags(text)
    assert found.tags.count("script") == 2 and "img" not in found.tags and found.addresses == []
    panels = json.loads(re.findall(r'<script type="application/json" id="panels">(.*?)</script>', text)[0])
    assert [each for each in strings(panels) if "<" in re.sub(r"</?b>|<br>", "", each) and "%<x>" not in each] == []


def strings(value: Any) -> list[str]:
    """Return every text in JSON that plotly.js draws, without titles and labels, which page.py writes into HTML."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        drawn = {key: each for key, each in value.items() if key not in ("title", "note", "label", "legend")}
        titles = [each for key in ("title",) if isinstance(each := value.get(key), dict)]
        return [text for each in [*drawn.values(), *titles] for text in strings(each)]
    return [text for each in value for text in strings(each)] if isinstance(value, list) else []


def test_no_hostile_text_becomes_a_command_of_latex(groups: list[Group]) -> None:
    text = latex(groups, about())
    assert visible(text) == text
    for line in text.splitlines():
        assert line.startswith("%") or ("\\input" not in line and "\\frac" not in line)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert body.count(r"\begin{table}") == body.count(r"\end{table}") > 0
    assert not re.search(r"(?<!\\)[#~]", body)


def test_one_function_escapes_for_each_kind_of_page() -> None:
    files = [file for file in (ROOT / "metarl" / "report").glob("*.py") if file.name != "escape.py"]
    assert [file.name for file in files if "html.escape" in file.read_text() or "shlex." in file.read_text()] == []


@pytest.mark.parametrize("name", [*PIECES, EVIL, "x" * 3000, "中文", "word " * 500])
def test_a_picture_shows_every_name_as_it_is_and_warns_of_nothing(name: str, tmp_path: Path) -> None:
    evaluations = [
        altered(Evaluation.load(run_folder(tmp_path / word, scores(n)) / "evaluation.json"), family=name, agent=agent)
        for n, (word, agent) in enumerate((("a", name), ("b", f"_{name}")))
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for suffix in ("svg",) if name in PIECES else ("svg", "png"):  # EVIL has all of them
            plot(evaluations, tmp_path / f"p.{suffix}")
    assert visible((tmp_path / "p.svg").read_text()) == (tmp_path / "p.svg").read_text()


def test_a_formula_in_a_name_is_not_set_as_one_and_an_underscore_hides_no_agent(tmp_path: Path) -> None:
    figure = Figure()
    axes = figure.subplots()
    for name in ("$x^2$", "_second"):
        axes.plot([0, 1], label=legend_label(name))
    axes.set_title(r"cost $\frac{$ and $5")
    legend = figure.legend()
    save_figure(figure, tmp_path / "a.svg")
    assert [text.get_text() for text in legend.get_texts()] == ["$x^2$", "_second"]
    assert not any(text.get_parse_math() or text.get_usetex() for text in legend.get_texts())
    assert "<!-- cost $\\frac{$ and $5 -->" in (tmp_path / "a.svg").read_text()


def test_the_table_of_a_terminal_keeps_its_lines(tmp_path: Path) -> None:
    own = Evaluation.load(run_folder(tmp_path / "run", scores(1)) / "evaluation.json")
    plain = table([own]).splitlines()
    evil = table([altered(own, agent=EVIL, family=EVIL)]).splitlines()
    assert plain[1:] == evil[1:]
    assert visible(evil[0]) == evil[0]


@pytest.mark.parametrize("suffix", ["md", "html", "tex"])
def test_a_run_whose_folder_is_not_utf_8_is_reported(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"run-\xff\x1b[2J")
    run_folder(tmp_path / name, scores(1))
    page = os.fsdecode(b"page-\xfe.") + suffix
    assert main(["report", name, "missing", "-o", page]) == 0
    written = "".join(capsys.readouterr())
    assert visible(written) == written
    text = Path(page).read_text()
    if suffix != "tex":
        assert "$'run-\\xff\\x1b[2J'" in html.unescape(text)
    assert "\\xff" in text
