"""The page of HTML as text, and opened from disk in a browser."""

from __future__ import annotations

import base64
import html
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from metarl.base.errors import MetarlError
from metarl.cli.main import main
from metarl.evaluation.record import Evaluation
from metarl.report.about import About
from metarl.report.groups import group_runs
from metarl.report.html import html_page
from metarl.report.run_panels import tracked
from metarl.report.runs import LeftOut, read_run
from metarl.report.tables import Asked, build_tables
from tests.report.browser import CHROMEDRIVER, CHROMIUM, Browser, browser
from tests.report.run_folders import TASKS, run_folder, scores, write_other_split, write_reference

EVIL = "</script><script>window.broken=1</script><img src=x onerror=window.broken=1>%{y}"
FILM, PICTURES = b"\0\0\0\x20ftypisom", b"GIF89a and so on"
SECTIONS = ("adaptation", "metrics", "tasks", "profile", "learning", "videos", "configs", "wandb", "commands")


def page(paths: Sequence[Path], **about: Any) -> str:
    groups = group_runs([read_run(path) for path in paths])
    return html_page(groups, About("metarl report", **about))


def without_plotly(text: str) -> str:
    """Return the page without plotly.js, whose megabytes would fill the output of a failed test."""
    return re.sub(r"<script>/\*\*\n\* plotly\.js.*?</script>", "", text, flags=re.DOTALL)


class Tables(HTMLParser):
    """Collects the cells of every table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag not in ("th", "td")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.tables[-1][-1][-1] += data


def test_tables_of_the_page_are_those_of_the_markdown_page(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2)]
    write_reference(runs[0], returns=scores(9))
    found = Tables(without_plotly(page(runs))).tables
    expected = build_tables(group_runs([read_run(run) for run in runs]))
    assert [table.key for table in expected] == ["summary", "measures", "paired", "seeds"]
    for rows, table in zip(found, expected, strict=True):
        assert rows == [list(row) for row in table.plain_rows()]


def test_returns_that_are_not_finite_have_no_interval(tmp_path: Path) -> None:
    returns = scores(1)
    returns[0, 1] = np.nan
    text = without_plotly(page([run_folder(tmp_path / "run", returns)]))
    assert "<td>not finite</td>" in text
    assert "not finite <" not in text


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    write_reference(run)
    assert page([run]) == page([run])


def test_page_holds_plotly_once_and_no_address_to_load_from(tmp_path: Path) -> None:
    text = page([run_folder(tmp_path / "run", scores(1))])
    assert text.count("* plotly.js v") == 1
    assert not re.findall(r'(?:src|href)="(?!data:)[^"]*"|@import|url\(', without_plotly(text))
    assert str(tmp_path) not in text


def test_page_without_plotly_is_refused_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(MetarlError, match="pip install 'plotly>=6'"):
        page([run])


def test_runs_left_out_are_listed_once_on_stderr_and_once_on_every_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    good, cut, bare = (run_folder(tmp_path / name, scores(n), seed=n) for n, name in enumerate(("good", "cut", "bare")))
    (cut / "evaluation.json").write_text((cut / "evaluation.json").read_text()[:200])
    (bare / "evaluation.json").unlink()
    (good / "evaluation-random.json").write_text("{")
    reasons = (
        "nowhere does not exist",
        "cut/evaluation.json is not whole JSON",
        "bare has no evaluation.json",
        "good/evaluation-random.json is not whole JSON",
    )
    for name in ("page.md", "page.html", "page.tex"):
        given = [str(tmp_path / run) for run in ("nowhere", "cut", "good", "bare")]
        assert main(["report", *given, "-o", str(tmp_path / name)]) == 0
        lines = capsys.readouterr().err.splitlines()
        text = without_plotly((tmp_path / name).read_text())
        assert str(tmp_path) not in text
        assert len(lines) == len(reasons)
        for reason in reasons:
            assert sum(reason in line for line in lines) == 1
            assert sum(reason in line and "Left out: " in line for line in text.splitlines()) == 1
        assert "maml-ppo" in text


def test_nothing_is_written_where_no_run_can_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(["report", *given, "-o", str(tmp_path / "page.html")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "none of 2 runs can be read" in line and "does not exist" in line
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("name", ["page.txt", "page", "page.HTML"])
def test_another_suffix_is_refused_with_those_that_are_known(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "run", "-o", name]) == 2
    assert "a page is written as '.md', '.html' or '.tex'" in capsys.readouterr().err


def test_videos_are_inside_the_page_and_runs_without_one_name_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in range(3)]
    assert "No run has a video yet" in page(runs)
    (runs[0] / "adaptation.mp4").write_bytes(FILM)
    (runs[0] / "adaptation.gif").write_bytes(b"not this")
    (runs[1] / "adaptation.gif").write_bytes(PICTURES)
    text = without_plotly(page(runs))
    assert f"data:video/mp4;base64,{base64.b64encode(FILM).decode()}" in text
    assert f"data:image/gif;base64,{base64.b64encode(PICTURES).decode()}" in text
    assert base64.b64encode(b"not this").decode() not in text
    assert re.findall(r"metarl render (\w+)", text) == ["s2"]


def test_configs_show_side_by_side_the_keys_that_differ(tmp_path: Path) -> None:
    runs = [run_folder(tmp_path / f"r{n}", scores(n)) for n in (1, 2)]
    assert "All runs have one setting" in page(runs[:1])
    config = runs[1] / "config.yaml"
    config.write_text(config.read_text().replace("inner_lr: 0.1", "inner_lr: 0.25"))
    text = without_plotly(page(runs))
    first, second = "maml-ppo", "maml-ppo agent.inner_lr=0.25"
    assert Tables(text).tables[-1] == [["key", first, second], ["agent.inner_lr", "0.1", "0.25"]]
    assert text.count("whole config") == 2


def test_page_links_to_wandb_or_says_how_to_get_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = [run_folder(tmp_path / f"s{seed}", scores(seed), seed=seed) for seed in range(4)]
    (runs[0] / "wandb" / "run-20261126_194214-abc").mkdir(parents=True)
    (runs[0] / "wandb" / "urls.txt").write_text("https://wandb.ai/me/metarl/runs/abc\njavascript:window.broken=1\n")
    (runs[1] / "wandb" / "offline-run-20261126_194214-u80gt74d").mkdir(parents=True)
    (runs[2] / "wandb" / "run-20261126_194214-xyz").mkdir(parents=True)
    text = without_plotly(page(runs))
    assert '<a href="https://wandb.ai/me/metarl/runs/abc"' in text
    assert 'href="javascript' not in text
    assert "wandb sync s1/wandb/offline-run-20261126_194214-u80gt74d" in text
    assert "logged online as xyz in project" in text
    assert "s3</code>: not logged" in text


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ({"to": []}, "not logged (<code>log</code> does not name <code>wandb</code>)"),
        ({"wandb": {"mode": "disabled"}}, "not logged (<code>wandb.mode</code> is <code>disabled</code>)"),
        ({"wandb": {"mode": "offline"}}, "its folder holds no files of W&amp;B"),
    ],
)
def test_page_says_why_a_run_is_not_at_wandb(log: dict[str, Any], words: str, tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", scores(1))
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "log": log}))
    assert words in tracked(group_runs([read_run(run)]))


def test_sections_are_all_shown_where_no_script_runs(tmp_path: Path) -> None:
    text = without_plotly(page([run_folder(tmp_path / "run", scores(1))]))
    assert re.findall(r'<section role="tabpanel" id="(\w+)" aria-labelledby="tab-\w+" tabindex="0">', text) == [
        *SECTIONS
    ]


def test_every_column_of_every_table_is_explained(tmp_path: Path) -> None:
    family = {"name": "navigation-2d", "switch_at": [30], "horizon": 50}
    run = run_folder(tmp_path / "run", scores(1), family=family, rewards=np.ones((TASKS, 100)))
    write_reference(run, returns=scores(1) - 50.0)
    write_other_split(run, "train", scores(3), settings=Evaluation.load(run / "evaluation.json").settings)
    groups = group_runs([read_run(run)])
    asked = Asked(threshold=3.0, normalize=("random", "maml-ppo"))
    tables = build_tables(groups, asked)
    assert len(tables) == 7
    text = without_plotly(html_page(groups, About("", asked=asked)))
    for column in (column for table in tables for column in table.columns):
        assert len(column.meaning) > 20, column
        title, label = html.escape(column.meaning), html.escape(column.label)
        assert f'<abbr title="{title}">{label}</abbr>' in text, column
        assert f"<dt>{label}</dt><dd>{title}</dd>" in text, column


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a page on two problems whose title, notes, names and folders hold hostile markup."""
    folder = tmp_path_factory.mktemp("page")
    evil = folder / "<img src=x onerror=window.broken=1>"
    runs = [run_folder(folder / f"s{seed}", scores(seed), seed=seed) for seed in (1, 2)]
    runs.append(run_folder(evil, scores(3), seed=3))
    write_reference(runs[0], EVIL, "evaluation-evil.json", returns=scores(9))
    once = np.random.default_rng(0).random((TASKS, 1))
    steps = np.full((TASKS, 1), 10.0)
    bandit = run_folder(folder / "b", once, family={"name": "bernoulli-bandit"}, env_steps_per_task=steps)
    (bandit / "adaptation.gif").write_bytes(base64.b64decode("R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs="))
    long = replace(group_runs([read_run(bandit)])[0], name="rl2 " + "agent.some_setting_or_other=12345 " * 4)
    groups = [*group_runs([read_run(run) for run in runs]), long]
    left_out = [LeftOut(Path(EVIL), f"run {EVIL} does not exist")]
    about = About(EVIL, f"Title {EVIL}", [EVIL], left_out=left_out)
    (folder / "page.html").write_text(html_page(groups, about))
    return folder / "page.html"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None or CHROMEDRIVER is None:
        pytest.skip("Chromium and its driver are not installed (Debian: apt-get install chromium chromium-driver)")
    with browser(tmp_path_factory.mktemp("profile")) as window:
        yield window


@pytest.fixture
def window(chromium: Browser, hostile: Path) -> Browser:
    chromium.resize(1200, 900)
    chromium.open("about:blank")
    chromium.open(hostile.as_uri())
    return chromium


def visible_sections(window: Browser) -> list[str]:
    return window.run("return [...document.querySelectorAll('section')].filter(s => s.offsetParent).map(s => s.id)")


def wait_for(window: Browser, script: str, seconds: float = 20.0) -> Any:
    """Return the first true answer of a script, or its last after some seconds."""
    end = time.monotonic() + seconds
    while not (answer := window.run(script)) and time.monotonic() < end:
        time.sleep(0.05)
    return answer


def test_page_opens_from_disk_without_messages_and_loads_nothing(window: Browser) -> None:
    for section in SECTIONS:
        window.click(f"#tab-{section}")
        assert visible_sections(window) == [section]
    assert window.messages() == []
    assert window.run("return performance.getEntriesByType('resource').map(e => e.name)") == []
    assert window.run("return window.broken") is None
    assert window.run("return document.title") == f"Title {EVIL}"
    assert EVIL in window.run("return document.querySelector('.legend').textContent")
    assert window.run("return document.querySelectorAll('.plot .main-svg').length") >= 9
    window.run("console.error('this is heard')")
    assert len(window.messages()) == 1


def test_tabs_open_by_click_and_by_keyboard(window: Browser) -> None:
    focused = "return [document.activeElement.id, document.querySelector('[aria-selected=true]').id]"
    assert visible_sections(window) == ["adaptation"]
    window.click("#tab-profile")
    assert visible_sections(window) == ["profile"]
    for key, section in (
        ("ArrowRight", "learning"),
        ("ArrowLeft", "profile"),
        ("Home", "adaptation"),
        ("ArrowLeft", "commands"),
        ("ArrowRight", "adaptation"),
        ("End", "commands"),
    ):
        window.press(key)
        assert (visible_sections(window), window.run(focused)) == ([section], [f"tab-{section}"] * 2)
    window.press("Tab")
    assert window.run("return document.activeElement.id") == "commands"
    assert window.run("return document.querySelectorAll('[role=tab][tabindex=\"0\"]').length") == 1
    assert window.run("return location.hash") == "#commands"


def test_address_with_a_section_opens_there(window: Browser, hostile: Path) -> None:
    window.open("about:blank")
    window.open(f"{hostile.as_uri()}#learning")
    assert visible_sections(window) == ["learning"]
    gap = """
        const nav = document.querySelector('nav'), title = document.querySelector('#learning h2');
        return title.getBoundingClientRect().top - nav.getBoundingClientRect().bottom;"""
    assert wait_for(window, f"{gap.replace('return', 'return 0 <=')}"), window.run(gap)


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("adaptation", r"maml-ppo.*round 1, after 0 env steps.*return -?\d"),
        ("tasks", r"maml-ppo.*goal \(m\): -?\d.*round 1: -?\d.*round 2: -?\d"),
    ],
)
def test_hover_on_a_point_shows_its_round_task_and_return(window: Browser, section: str, expected: str) -> None:
    window.click(f"#tab-{section}")
    place = f"""
        const dot = document.querySelector('#{section} .plot .scatterlayer .points path');
        dot.scrollIntoView({{block: 'center'}});
        const box = dot.getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2];"""
    window.point_at(5, 5)
    window.point_at(*window.run(place))
    text = f"return document.querySelector('#{section} .plot .hoverlayer')?.textContent"
    assert re.search(expected, wait_for(window, text) or "nothing")


def test_choice_changes_the_lines_and_the_title_of_the_axis(window: Browser) -> None:
    window.click("#tab-learning")
    drawn = """
        const { data, layout } = document.querySelector('#learning .plot');
        return [data.at(-1).x, data.at(-1).y, layout.xaxis.title.text];"""
    assert window.run(drawn) == [[600, 1200, 1800, 2400], [0, 1, 2, 3], "Environment steps of training"]
    choose = """
        const menu = document.querySelectorAll('#learning select')[arguments[0]];
        menu.selectedIndex = 1;
        menu.dispatchEvent(new Event('change'));"""
    window.run(choose, 0)
    window.run(choose, 1)
    x, y, title = window.run(drawn)
    assert (x, y) == ([1, 2, 3, 4], [-2] * 4)
    assert title.startswith("Minutes of rollouts")


def test_group_can_be_hidden_by_keyboard(window: Browser) -> None:
    window.run("document.querySelectorAll('#adaptation .legend button')[1].focus()")
    window.press("Enter")
    visible = "return document.querySelector('#adaptation .plot').data.map(t => [t.meta, t.visible ?? true])"
    assert {tuple(pair) for pair in window.run(visible)} == {(0, True), (1, False)}
    pressed = "return document.activeElement.getAttribute('aria-pressed')"
    assert window.run(pressed) == "false"
    window.press("Enter")
    assert window.run(pressed) == "true"
    assert all(shown for _, shown in window.run(visible))


def test_only_tables_in_their_frames_are_wider_than_a_phone(window: Browser) -> None:
    window.resize(360, 740)
    for section in SECTIONS:
        window.click(f"#tab-{section}")
        # A plot takes its new width in the frame after.
        assert wait_for(window, "return document.documentElement.scrollWidth <= innerWidth"), section
        right = "Math.max(0, ...[...document.querySelectorAll('.plot')].map(p => p.getBoundingClientRect().right))"
        assert window.run(f"return {right} <= innerWidth"), section
    window.click("#tab-metrics")
    assert window.run("const frame = document.querySelector('.scroll'); return frame.scrollWidth > frame.clientWidth")


def test_print_has_every_section_and_plot_and_leaves_the_screen_as_it_was(window: Browser) -> None:
    window.click("#tab-metrics")
    assert window.printed().startswith(b"%PDF")
    assert visible_sections(window) == ["metrics"]
    assert window.run("return [...document.querySelectorAll('.plot')].every(p => p.querySelector('.main-svg'))")
    assert window.run("return document.querySelectorAll('details[open]').length") == 0
    window.emulate("print")
    try:
        assert visible_sections(window) == [*SECTIONS]
    finally:
        window.emulate("screen")
