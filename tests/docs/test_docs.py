"""The documentation holds: its commands exist, its links lead somewhere, its code runs."""

from __future__ import annotations

import ast
import functools
import importlib.util
import itertools
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import pydantic
import pytest
import yaml

from metarl.checks.check import check_family
from metarl.cli.main import parse
from metarl.evaluation.evaluate import evaluate
from metarl.families.family import FAMILIES
from metarl.families.load import load
from metarl.runs.config import load_config, parse_override
from metarl.trials.registered import AGENTS, make_agent
from tests.places import ROOT

from .pages import PAGES, Block, blocks, blocks_of, commands, metarl_commands
from .walkthrough import Walkthrough

Command = tuple[str, tuple[str, ...]]
"""A page and the words after `metarl`."""


def name_of(block: Block) -> str:
    """Return the file that a block is: its title, or the name in the comment on its first line; '' where it is none."""
    named = re.match(r"# ([\w.-]+\.\w+)\b", block.text)
    return block.title or (named[1] if named else "")


def in_blocks() -> list[Command]:
    """Return every command in a block for the shell or of a console."""
    shown = [*blocks("sh"), *blocks("console")]
    return [(block.page, words) for block in shown for words in metarl_commands(block) if "..." not in words]


def inline() -> list[Command]:
    """Return every command between backticks that has arguments, with numbers for placeholders of one letter."""
    found = []
    for page, text in PAGES.items():
        prose = re.sub(r"^( *)```.*?^\1```", "", text, flags=re.DOTALL | re.MULTILINE)
        for command in re.findall(r"`metarl ([^`]+)`", prose):
            words = [re.sub(r"^[A-Z]$", "1", word.removesuffix("...")) for word in shlex.split(command)]
            found.append((page, tuple(word for word in words if word)))
    return [(page, words) for page, words in found if len(words) > 1 and "--help" not in words]


IN_BLOCKS, INLINE = in_blocks(), inline()


def ident(value: object) -> str:
    return value if isinstance(value, str) else " ".join(value)[:60] if isinstance(value, tuple) else ""


def test_pages_have_commands_links_and_code() -> None:
    assert len(IN_BLOCKS) >= 40
    assert len(INLINE) >= 10
    assert len(CODE) >= 5
    assert len(LINKS) >= 100
    assert len(DECLARATIONS) >= 5


@pytest.mark.parametrize(("page", "words"), [*IN_BLOCKS, *INLINE], ids=ident)
def test_command_exists_and_names_what_there_is(page: str, words: tuple[str, ...]) -> None:
    arguments = parse(list(words))
    assert callable(arguments.run)
    known = {"families": [*FAMILIES], "agents": [*AGENTS], "check": [*FAMILIES, *AGENTS]}
    for name, registered in _names(words, known):
        own = (f'register("{name}")', f'register_agent("{name}")', f"new-agent {name}\n", f"new-family {name}\n")
        assert name in registered or any(text in PAGES[page] for text in own), name


def _names(words: Sequence[str], known: dict[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield each family or agent that a command names, with those that there are; no placeholders, no files."""
    for before, word in itertools.pairwise(words):
        registered = [*AGENTS] if before == "--agent" else known.get(before, []) if before == words[0] else []
        if registered and re.fullmatch(r"[a-z0-9-]+", word) and not word.startswith("-"):
            yield word, registered


TRAININGS = [
    (page, words)
    for page, words in IN_BLOCKS
    if words[:1] == ("train",) and len(words) > 1 and words[1].endswith(".yaml") and "/results/" not in page
]
"""Commands that train from a config. Those on pages of results are of the commit that made the page."""


@pytest.mark.parametrize(("page", "words"), TRAININGS, ids=ident)
def test_training_has_a_config_and_settings_that_there_are(
    page: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    for block in blocks_of(page, "yaml"):
        if re.fullmatch(r"[\w.-]+", name := name_of(block)):
            (tmp_path / name).write_text(block.text)
    monkeypatch.chdir(tmp_path)
    if page in OWN_CODE:
        assert (tmp_path / words[1]).is_file()
        return
    overrides = [word for word in words[2:] if re.match(r"[\w.]+=", word) and not word.startswith("start_from=")]
    load_config(words[1], overrides)


WITHOUT_CONFIG = [
    (page, words) for page, words in IN_BLOCKS if words[:1] in (("train",), ("evaluate",)) and "--family" in words
]
"""Commands that name a family in place of a config or a run."""


@pytest.mark.parametrize(("page", "words"), WITHOUT_CONFIG, ids=ident)
def test_command_that_names_a_family_has_settings_that_there_are(page: str, words: tuple[str, ...]) -> None:
    arguments = parse(list(words))
    if arguments.family in FAMILIES and arguments.agent in AGENTS:
        settings = [word for word in words if re.match(r"[\w.]+=", word) and not word.startswith("start_from=")]
        load_config(None, [f"family={arguments.family}", f"agent={arguments.agent}", *settings])


OWN_CODE = {
    page
    for page, text in PAGES.items()
    if page.startswith("docs/tutorials/")
    and ("entry-points" in text or re.search(r"^(file|folder|imports): ", text, re.M))
}
"""Tutorials whose configs name a family or an agent of a package, or data that they make; test_tutorials.py trains
them."""


@pytest.mark.parametrize("target", sorted({w[1] for b in blocks("sh") for w in commands(b) if w[0] == "make"}))
def test_make_has_the_target(target: str) -> None:
    assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


LINKS = sorted(
    {
        (page, target)
        for page, text in PAGES.items()
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```|`[^`\n]+`", "", text, flags=re.DOTALL))
        if not re.match(r"[a-z]+:", target)
    }
)


@pytest.mark.parametrize("page", PAGES)
def test_relative_links_lead_to_files_and_headings(page: str) -> None:
    for target in (target for where, target in LINKS if where == page):
        path, _, anchor = target.partition("#")
        place = ((ROOT / page).parent / path).resolve() if path else ROOT / page
        generated = place.parent == ROOT / "docs" / "families" and place.stem in FAMILIES
        assert place.exists() or generated, f"{page} links to {target}, which does not exist"
        filled_in = place.suffix == ".md" and "<!-- generated:" in place.read_text()  # by the site: test_site.py
        if anchor and place.suffix == ".md" and not filled_in:
            assert anchor in anchors(place), f"{page} links to {target}; the page has no such heading"


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as Python-Markdown and GitHub make them, and those it sets by hand."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in re.findall(r"^#+ (.+)$", text, re.M))
    return {re.sub(r"\s+", "-", heading) for heading in headings} | set(re.findall(r"\{#([\w-]+)\}", text))


CODE = [
    block for block in blocks("python") if block.page != "README.md" and not block.page.startswith("docs/tutorials/")
]
"""README's code runs in test_readme.py, that of tutorials in test_tutorials.py."""


@pytest.mark.parametrize("block", CODE, ids=str)
def test_python_block_runs(block: Block, tmp_path: Path) -> None:
    for package in ("minigrid", "metaworld", "torchrl"):
        if package in block.text and importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    walkthrough = Walkthrough.begin(tmp_path)
    file = name_of(block) or "block.py"
    (walkthrough.folder / file).write_text(block.text)
    walkthrough.run(["python", file], block)
    module = file.removesuffix(".py")
    for words in (words for page, words in IN_BLOCKS if page == block.page and words[0] == "check"):
        if words[1].startswith(f"{module}:"):
            walkthrough.run(["metarl", *words], block)


DECLARATIONS = [
    block
    for block in blocks("yaml")
    if isinstance(found := next(iter(yaml.safe_load_all(block.text))), dict) and "varies" in found
]


@pytest.mark.parametrize("block", DECLARATIONS, ids=str)
def test_family_in_yaml_keeps_every_rule(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "family.yaml"
    path.write_text(block.text)
    assert check_family(load(str(path))) == []


def test_sweep_of_the_tutorial_calls_metarl_as_wandbs_agent_writes_it(tmp_path: Path) -> None:
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    files = {block.title: block.text for block in blocks_of("docs/tutorials/wandb.md", "yaml")}
    sweep = yaml.safe_load(files["sweep.yaml"])
    chosen = {"agent.inner_lr": 0.03, "agent.outer.clip_range": 0.1, "seed": 2}
    assert sweep["parameters"].keys() == chosen.keys()
    command = {"args": {name: {"value": value} for name, value in chosen.items()}}
    words = create_sweep_command_args(command)["args_no_hyphens"]
    assert sweep["command"] == ["${env}", "metarl", "train", "config.yaml", "${args_no_hyphens}"]
    (tmp_path / "config.yaml").write_text(files["config.yaml"])
    loaded = load_config(tmp_path / "config.yaml", words)
    assert (loaded.agent["inner_lr"], loaded.agent["outer"]["clip_range"], loaded.seed) == (0.03, 0.1, 2)
    assert sweep["metric"]["name"] == "validation/return_after"
    assert all(parse_override(word) for word in words)


def test_navigation_has_the_titles_of_the_pages() -> None:
    navigation = re.findall(r"^ +- ([^:\n]+): ((?!index)\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    tutorials = [(title, page) for title, page in navigation if page.startswith("tutorials/")]
    assert {f"docs/{page}" for _, page in tutorials} == {page for page in PAGES if page.startswith("docs/tutorials/")}
    for title, page in tutorials:
        assert PAGES[f"docs/{page}"].startswith(f"# {title}\n"), page
    listed = re.findall(r"\((tutorials/[\w-]+\.md)\)", PAGES["docs/index.md"])
    assert listed == [page for _, page in tutorials]


def test_numbers_of_the_references_in_the_sb3_tutorial_are_those_of_today() -> None:
    family = load("navigation-2d")
    for name in ("random", "beeline"):
        agent = make_agent(name, family)
        result = evaluate(agent, family, split="test", num_tasks=20, rounds=2, replicas=4, seed=0)
        first, last = result.iqm
        line = f"{name}: return {first:.1f} before, {last:.1f} after; gain {result.gain.iqm:.1f}"
        assert line in PAGES["docs/tutorials/measure-sb3.md"]


def test_number_that_the_mjcf_tutorial_prints_is_that_of_today(tmp_path: Path) -> None:
    page = "docs/tutorials/family-from-mjcf.md"
    walkthrough = Walkthrough.begin(tmp_path)
    files = [block for block in blocks_of(page) if block.title in ("arm.xml", "arm.py", "look.py")]
    walkthrough.follow(files)
    printed = walkthrough.run(["python", "look.py"], files[-1])
    assert f"```text\n{printed}```" in PAGES[page]


def test_each_name_of_a_family_is_one_class_in_all_pages() -> None:
    pages: dict[str, set[str]] = {}
    for block in (block for block in blocks("python") if "/results/" not in block.page):
        for name, base in re.findall(r'@register\("([\w-]+)"\)\n@dataclass.*\nclass \w+\((\w+)\)', block.text):
            pages.setdefault(name, set()).add(base)
    assert len(pages) >= 4
    assert all(len(bases) == 1 for bases in pages.values()), pages


@functools.cache
def templates() -> list[str]:
    """Return every text in the code, with an ellipsis for each value that is put into it."""
    found = []
    for folder in ("metarl", "agents", "envs"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = [str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values]
                    found.append("".join(parts))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return found


MESSAGES = [
    message
    for heading in re.findall(r"^### (`.*)$", PAGES["docs/troubleshooting.md"], re.MULTILINE)
    for message in re.findall(r"`([^`]+)`", heading)
    if not message.startswith("metarl ")
]


@pytest.mark.parametrize("message", MESSAGES)
def test_message_that_troubleshooting_explains_is_one_that_the_code_has(message: str) -> None:
    parts = [re.escape(part) for part in message.split("…")]
    assert any(re.search(".*".join(parts), template) for template in templates()), message


def test_troubleshooting_explains_messages() -> None:
    assert len(MESSAGES) >= 15


SETTINGS = sorted(
    {
        (page, path)
        for page, text in PAGES.items()
        if "/results/" not in page
        for path in re.findall(r"`agent\.(?!key=)([a-z_.0-9]+)(?![a-z_.0-9(])", text)
    }
)


@pytest.mark.parametrize(("page", "path"), SETTINGS, ids=ident)
def test_setting_between_backticks_is_one_of_some_agent(page: str, path: str) -> None:
    assert path == "name" or any(has_setting(AGENTS[name].Config, path.split(".")) for name in AGENTS), path


def has_setting(model: Any, path: Sequence[str]) -> bool:
    """Return whether a settings class, or one of those that a union names, has the setting at a path."""
    if not path:
        return True
    if isinstance(model, type) and issubclass(model, pydantic.BaseModel):
        field = model.model_fields.get(path[0])
        return field is not None and has_setting(field.annotation, path[1:])
    return any(has_setting(part, path) for part in get_args(model))


def test_settings_are_looked_up_through_nested_choices() -> None:
    config = AGENTS["maml-ppo"].Config
    assert has_setting(config, ["outer", "clip_range"]) and has_setting(config, ["inner_lr"])
    assert not has_setting(config, ["outer", "clip_rang"]) and not has_setting(config, ["clip_range"])
