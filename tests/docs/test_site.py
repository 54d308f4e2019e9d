"""The documentation site: it builds without a warning, leaves nothing out, and loads nothing from another host."""

from __future__ import annotations

import doctest
import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal, get_origin

import pydantic
import pytest
import yaml

import metarl
from metarl.base.descriptions import description_of
from metarl.base.schedule import Schedule
from metarl.base.settings import validate
from metarl.families.family import FAMILIES
from metarl.runs.config import TrainConfig
from metarl.trials.registered import AGENTS
from tests.places import ROOT
from tests.warm import warm_python

API = (ROOT / "docs" / "reference" / "api.md").read_text()
BUILT_IN_FAMILIES = [name for name in FAMILIES if FAMILIES[name].__module__.startswith("metarl.envs.")]
BUILT_IN_AGENTS = [name for name in AGENTS if AGENTS[name].__module__.startswith("metarl.agents.")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [warm_python(), "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    return folder


@functools.cache
def parsed(path: Path) -> _Page:
    """Return a page, which many tests read."""
    return _Page(path)


class _Page(HTMLParser):
    """What a page loads by itself, the anchors that it has, and its words."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = "".join(self.words)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        self.anchors.add(values.get("id") or "")
        loaded = [values.get("src"), values.get("srcset"), values.get("poster")]
        if tag == "link" and values.get("rel") not in ("canonical", "prev", "next", "alternate"):
            loaded.append(values.get("href"))
        self.loads += filter(None, loaded)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_page_loads_nothing_from_another_host(site: Path) -> None:
    elsewhere = re.compile(r"^(https?:)?//")
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        assert [url for url in parsed(page).loads if elsewhere.match(url)] == [], page
    for style in (path for path in site.rglob("*.css")):
        assert re.findall(r"url\(\s*[\"']?(?:https?:)?//[^)]*|@import\s+[\"'](?:https?:)?//", style.read_text()) == []


def test_formula_is_mathml(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert "arithmatex" not in page.read_text(encoding="utf-8"), page
    assert "<math" in (site / "agents" / "maml.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", list(metarl.__all__))
def test_public_name_has_an_entry_with_an_example(name: str, site: Path) -> None:
    assert f"metarl.{name}" in {*parsed(site / "reference" / "api.html").anchors}
    entry = re.search(rf"^::: metarl\.{name}\n(.*?)(?=^:::|^## |\Z)", API, re.DOTALL | re.MULTILINE)
    assert entry and f"metarl.{name}" in "".join(examples_of(entry[1])), name


def examples_of(text: str) -> list[str]:
    """Return the sessions of Python in a page."""
    return re.findall(r"```pycon\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("number", range(len(examples_of(API))))
def test_example_prints_what_the_page_says(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in (FAMILIES, AGENTS):  # examples register their own
        monkeypatch.setattr(registry, "_items", dict(registry._items))
    session = doctest.DocTestParser().get_doctest(examples_of(API)[number], {}, f"example {number}", "api.md", 0)
    printed: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    assert session.examples
    runner.run(session, out=printed.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(printed)


@pytest.mark.parametrize("name", BUILT_IN_FAMILIES)
def test_family_has_a_card_and_a_page_with_its_settings_and_a_picture(name: str, site: Path) -> None:
    gallery = (site / "families" / "index.html").read_text(encoding="utf-8")
    assert f'href="{name}.html"' in gallery
    assert f'src="pictures/{name}.png"' in gallery
    assert 0 < (ROOT / "docs" / "families" / "pictures" / f"{name}.png").stat().st_size <= 40_000
    page = parsed(site / "families" / f"{name}.html")
    for setting in FAMILIES[name].__dataclass_fields__:  # type: ignore[attr-defined]
        assert setting in page.text, setting
    for preset in FAMILIES[name].presets:
        assert preset in page.text, preset


@pytest.mark.parametrize("name", BUILT_IN_AGENTS)
def test_agent_is_on_its_page_and_in_the_reference_with_every_setting(name: str, site: Path) -> None:
    assert name in parsed(site / "agents" / "index.html").text
    pages = [path for path in (site / "agents").glob("*.html") if path.name != "index.html"]
    assert any(name in parsed(page).text for page in pages)
    path = site / "reference" / "agents.html"
    assert name in parsed(path).anchors
    listed = terms(path)
    for key in keys(AGENTS[name].Config, "agent"):
        assert key in listed or key.rsplit(".", 1)[-1] in listed, key  # settings that several share are listed once


def terms(page: Path) -> set[str]:
    """Return the settings that a page of the reference has an entry for."""
    return set(re.findall(r"<dt><code>(.*?)</code></dt>", page.read_text(encoding="utf-8")))


def keys(settings: type[pydantic.BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the dotted key of every setting of a class, and of the classes nested in it, but the names of choices."""
    for name, field in settings.model_fields.items():
        key = f"{prefix}.{name}" if prefix else name
        if not (name == "name" and get_origin(field.annotation) is Literal):
            yield key
        for nested in nested_in(field.annotation):
            yield from keys(nested, "" if nested is Schedule else key)  # listed once, for all that take one


def nested_in(annotation: object) -> list[type[pydantic.BaseModel]]:
    """Return the classes of settings that an annotation allows."""
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    return [nested for part in getattr(annotation, "__args__", ()) for nested in nested_in(part)]


@pytest.mark.parametrize("name", [name for name in BUILT_IN_AGENTS if ".agents.maml." in AGENTS[name].__module__])
def test_settings_in_the_table_of_presets_make_the_preset_of_maml_ppo(name: str) -> None:
    page = (ROOT / "docs" / "agents" / "maml.md").read_text()
    row = re.search(rf"^\| `{name}` \|(.*?)\|", page, re.MULTILINE)
    assert row is not None
    written: dict[str, object] = {}
    for setting in re.findall(r"`(.*?)`", row[1]):
        written |= yaml.safe_load(setting)
    made = validate(AGENTS["maml-ppo"].Config, written, where=name)
    assert made.model_dump() == AGENTS[name].Config().model_dump()


def test_every_training_setting_is_in_the_reference_with_its_meaning(site: Path) -> None:
    path = site / "reference" / "config.html"
    assert set(keys(TrainConfig)) == terms(path)
    text = " ".join(parsed(path).text.split())
    for name in TrainConfig.model_fields:
        assert (description_of(TrainConfig, name).replace("`", "") or "?")[:40] in text


def test_every_command_is_in_the_reference(site: Path) -> None:
    page = parsed(site / "reference" / "cli.html")
    help_text = subprocess.run(
        [sys.executable, "-m", "metarl", "--help"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    commands = re.findall(r"^ {4}([a-z][\w-]*)", help_text, re.MULTILINE)
    assert len(commands) >= 8
    assert set(commands) <= page.anchors
    assert {"bench-sim", "bench-train"} <= page.anchors
    assert "--normalize LOW HIGH\n" in page.text
    assert "('" not in page.text


def test_index_of_families_names_the_families_that_hide_a_parameter(site: Path) -> None:
    text = " ".join(parsed(site / "families" / "index.html").text.split())
    assert (
        "heading unit vector to run along ant-circle, humanoid-direction"
        in text.split("Families by hidden parameter", 1)[1]
    )


def test_nested_settings_lead_to_their_section_without_the_name_of_a_class(site: Path) -> None:
    page = parsed(site / "reference" / "config.html")
    assert "EvaluationConfig" not in page.text
    assert "config-evaluation" in page.anchors
    assert "list or settings, listed below" in " ".join(page.text.split())  # `log: [csv]` is no number
