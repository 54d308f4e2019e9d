"""Kinds of bad input: how one is drawn, and which commands are given it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from metarl.families.load import load
from metarl.runs import checkpoint
from metarl.runs.config import TrainConfig
from metarl.training.train import meta_train
from tests.fuzz import inputs, unruly
from tests.fuzz.drive import Outcome, call, faults
from tests.fuzz.kills import AGENTS
from tests.fuzz.kills import settings as settings_of
from tests.small_runs import config

BEST, LAST, METRICS, EVALUATION = "best.safetensors", "last.safetensors", "metrics.jsonl", "evaluation.json"


@dataclass(frozen=True)
class Site:
    """Folders for one bad input."""

    folder: Path
    """The current folder of the commands. A finished run lies in `run`, a config in `config.yaml`."""
    outside: Path
    """Somebody else's folder, which no command may touch."""

    @property
    def run(self) -> Path:
        """A finished run."""
        return self.folder / "run"

    def call(self, *argv: str) -> Outcome:
        """Run a command here."""
        return call(argv, self.folder, outside=self.outside)


@dataclass(frozen=True)
class Kind:
    """One kind of bad input."""

    draw: Callable[[Site], st.SearchStrategy[Any]]
    """Returns the strategy of its inputs. The site is an example of the site that `play` gets."""
    play: Callable[[Any, Site], Sequence[Outcome | str]]
    """Gives an input to commands and returns how they ended; a text is a fault that it found by itself."""
    own_code: bool = False
    """Whether the input holds code of the user's, whose traceback is shown."""
    refused: bool = False
    """Whether every command must refuse the input: nothing of it is right."""


def _config(text: str, site: Site) -> list[Outcome]:
    (site.folder / "bad.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    return [site.call("train", "bad.yaml", "--run-dir", "new", *SHORT)]


SHORT = ("num_updates=1", "evaluation.num_tasks=2")
"""Settings that keep a training short whatever a mutated config asks for."""


def _override(words: list[str], site: Site) -> list[Outcome]:
    return [
        site.call("train", "config.yaml", *words, "--run-dir", "new", "num_updates=1"),
        site.call("evaluate", "run", *words, "--tasks", "2"),
    ]


def _family(text: str, site: Site) -> list[Outcome]:
    (site.folder / "family.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    return [
        site.call("families", "family.yaml"),
        site.call("train", "config.yaml", "family=family.yaml", "family.horizon=5", "--run-dir", "new", *SHORT),
    ]


def _replace(name: str) -> Callable[[Any, Site], None]:
    def write(data: Any, site: Site) -> None:
        path = site.run / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))

    return write


def _checkpoint(data: bytes, site: Site) -> list[Outcome]:
    _replace(BEST)(data, site)
    _replace(LAST)(data, site)
    return [site.call("evaluate", "run", "--tasks", "2"), site.call("train", "--resume", "run", "num_updates=5")]


def _evaluation(text: str, site: Site) -> list[Outcome]:
    _replace(EVALUATION)(text, site)
    return [site.call("report", "run", "--out", "page.html"), site.call("evaluate", "run", "--tasks", "2")]


def _metrics(text: str, site: Site) -> list[Outcome]:
    _replace(METRICS)(text, site)
    return [site.call("report", "run", "--out", "page.html"), site.call("train", "--resume", "run", "num_updates=5")]


FILES_OF_A_RUN = (
    "config.yaml",
    "metrics.jsonl",
    "provenance.json",
    BEST,
    LAST,
    EVALUATION,
    "validation.png",
    "wandb",
    "new",
)


def _run_folder(damage: tuple[str, str], site: Site) -> list[Outcome]:
    name, kind = damage
    path, target = site.run / name, site.outside / "file"
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if kind == "link to a file":
        path.symlink_to(target)
    elif kind == "link to a folder":
        path.symlink_to(site.outside)
    elif kind == "link to nothing":
        path.symlink_to(site.outside / "new")
    elif kind == "link to itself":
        path.symlink_to(path.name)
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/full")
    return [
        site.call("evaluate", "run", "--tasks", "2"),
        site.call("report", "run", "--out", "page.html"),
        site.call("train", "--resume", "run", "num_updates=5"),
    ]


def _command_line(words: list[str], site: Site) -> list[Outcome]:
    return [site.call(*words)]


def _environment(fault: tuple[str, int], site: Site) -> list[Outcome]:
    with unruly.registered():
        family = [f"family={{name: {unruly.FAMILY}, fault: '{fault[0]}', moment: {fault[1]}, horizon: 5}}"]
        return [site.call("train", "config.yaml", *family, "--run-dir", "new", "num_updates=2")]


def _agent(fault: tuple[str, int], site: Site) -> list[Outcome]:
    with unruly.registered():
        agent = [f"agent={{name: {unruly.AGENT}, fault: '{fault[0]}', moment: {fault[1]}}}"]
        return [site.call("train", "config.yaml", *agent, "--run-dir", "new", "num_updates=2")]


def _twice(text: str, site: Site) -> list[Outcome]:
    (site.folder / "bad.yaml").write_text(text, encoding="utf-8")
    return [site.call("train", "bad.yaml", "--run-dir", "new", *SHORT)]


def _flipped(position: int, site: Site) -> list[Outcome]:
    path = site.run / BEST
    data = bytearray(path.read_bytes())
    data[position // 8 % len(data)] ^= 1 << position % 8
    path.write_bytes(data)
    return [site.call("evaluate", "run", "--tasks", "2")]


def _threads(agent: str, site: Site) -> list[Outcome | str]:
    """Train twice, alone and in two parts on two threads of a meta-batch each: the bits must be the same."""
    (site.folder / "twice.yaml").write_text(
        inputs.as_yaml({**settings_of(agent), "num_updates": 2, "rollout_shards": 2})
    )
    ended = [
        site.call("train", "twice.yaml", "--run-dir", f"run-{threads}", f"threads={threads}") for threads in (0, 2)
    ]
    if any(outcome.status for outcome in ended):
        return [*ended, f"the training of {agent} failed"]
    one, other = (checkpoint.load(site.folder / f"run-{threads}" / LAST)[0] for threads in (0, 2))
    return [*ended, *(f"{agent}: {key} differs on two threads" for key in one if not one[key].equal(other[key]))]


def _masks(drawn: tuple[str, list[list[bool]]], site: Site) -> list[str]:
    """Reset some worlds of a batch: the others must go on as in a batch that was not reset."""
    name, masks = drawn
    family = load(name)
    batches = [family.make_vec(family.sample("train", 4, seed=0), 1, threads=0) for _ in range(2)]
    for envs in batches:
        envs.reset(seed=1)
        envs.action_space.seed(2)
    reset, found = np.zeros(4, dtype=bool), []
    for mask in masks:
        batches[0].reset(seed=[5, 6, 7, 8], options={"reset_mask": np.array(mask)})
        reset |= mask
        seen = [envs.advance(envs.action_space.sample(), np.ones(4, dtype=bool)) for envs in batches]
        if not np.array_equal(seen[0].observations[~reset], seen[1].observations[~reset]):
            found.append(f"{name}: a reset of {mask} touched other worlds")
    return found


def _text_of(name: str) -> Callable[[Site], str]:
    return lambda site: (site.run / name).read_text(encoding="utf-8")


FAMILIES_TO_RESET = ("navigation-2d", "cartpole-physics", "bernoulli-bandit", "gridnavi", "hopper-dynamics")

KINDS: dict[str, Kind] = {
    "configs": Kind(lambda site: inputs.config_texts(), _config),
    "overrides": Kind(lambda site: st.lists(inputs.overrides(), min_size=1, max_size=3), _override),
    "family files": Kind(lambda site: inputs.family_texts(), _family),
    "checkpoints": Kind(lambda site: inputs.damaged_bytes((site.run / BEST).read_bytes()), _checkpoint),
    "evaluation files": Kind(lambda site: inputs.damaged_json(_text_of(EVALUATION)(site)), _evaluation),
    "metrics": Kind(lambda site: inputs.corrupted(_text_of(METRICS)(site)), _metrics),
    "run folders": Kind(
        lambda site: st.tuples(
            st.sampled_from(FILES_OF_A_RUN),
            st.sampled_from(
                (
                    "missing",
                    "link to a file",
                    "link to a folder",
                    "link to nothing",
                    "link to itself",
                    "FIFO",
                    "folder",
                    "device",
                )
            ),
        ),
        _run_folder,
    ),
    "command lines": Kind(lambda site: inputs.command_lines("run", "config.yaml"), _command_line),
    "environments": Kind(
        lambda site: st.tuples(st.sampled_from(unruly.ENVIRONMENT_FAULTS), st.integers(0, 12)),
        _environment,
        own_code=True,
    ),
    "keys twice": Kind(lambda site: inputs.twice(), _twice, refused=True),
    "flipped bits": Kind(lambda site: st.integers(0, 8 * (site.run / BEST).stat().st_size - 1), _flipped, refused=True),
    "threads": Kind(lambda site: st.sampled_from(sorted(AGENTS)), _threads),
    "masked resets": Kind(
        lambda site: st.tuples(
            st.sampled_from(FAMILIES_TO_RESET),
            st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=3),
        ),
        _masks,
    ),
    "agents": Kind(
        lambda site: st.tuples(st.sampled_from(unruly.AGENT_FAULTS), st.integers(0, 3)), _agent, own_code=True
    ),
}
"""Kinds of bad input by name."""


@contextlib.contextmanager
def template() -> Iterator[Site]:
    """Provide a site with a finished and evaluated run, to be copied."""
    with tempfile.TemporaryDirectory() as temporary:
        site = Site(Path(temporary, "work"), Path(temporary, "outside"))
        site.folder.mkdir()
        site.outside.mkdir()
        (site.outside / "file").write_text("somebody else's\n")
        small = config(num_updates=2)
        meta_train(TrainConfig(**small), site.run, progress=False)
        (site.folder / "config.yaml").write_text(inputs.as_yaml(small))
        assert site.call("evaluate", "run", "--tasks", "2").status == 0
        yield site


@contextlib.contextmanager
def copied(source: Site) -> Iterator[Site]:
    """Provide a copy of a site."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = shutil.copytree(source.folder, Path(temporary, "work"))
        yield Site(folder, shutil.copytree(source.outside, Path(temporary, "outside")))


def judge(name: str, example: Any, source: Site) -> tuple[list[Outcome], list[str]]:
    """Give one input of a kind to its commands. Return how they ended, and what is wrong with that."""
    kind = KINDS[name]
    with copied(source) as site:
        ended = kind.play(example, site)
    outcomes = [each for each in ended if isinstance(each, Outcome)]
    wrong = [each for each in ended if isinstance(each, str)]
    for outcome in outcomes:
        found = faults(outcome, own_code=kind.own_code)
        if kind.refused and outcome.status == 0:
            found.append("taken, though it must be refused")
        wrong += [f"{fault}\n{outcome}" for fault in found]
    return outcomes, wrong


def fuzz(
    name: str, count: int, source: Site, *, seed: int | None = None, stop: bool = True, shrink: bool = True
) -> tuple[Counter[str], list[str]]:
    """Try `count` inputs of a kind. Return counts of commands, statuses and faults, and every fault.

    With `stop` an input that shows a fault ends the search by an AssertionError, made smaller with `shrink`. `seed`
    None always tries the same inputs.
    """
    counts: Counter[str] = Counter()
    wrong: list[str] = []

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=seed is None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink) if stop and shrink else (Phase.generate,),
        report_multiple_bugs=False,
    )
    @given(example=KINDS[name].draw(source))
    def attempt(example: Any) -> None:
        outcomes, found = judge(name, example, source)
        counts.update(["inputs"])
        counts.update(f"status {outcome.status}" for outcome in outcomes)
        counts.update({"faults": len(found)})
        if found and stop:
            raise AssertionError(f"{name}: {example!r}\n" + "\n".join(found))
        wrong.extend(f"{example!r}\n{each}" for each in found)

    if seed is not None:
        from hypothesis import seed as seeded

        attempt = seeded(seed)(attempt)
    with contextlib.suppress(Unsatisfiable):
        attempt()
    return counts, wrong
