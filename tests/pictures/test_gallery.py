"""A family's page and its pictures: what `metarl families NAME` shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.cli.main import main
from metarl.cli.pages import family_page, space_in_words
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.classes import ClassFamily
from metarl.families.distributions import Choice, Circle, Dirichlet, Disc, Distribution, LogUniform, Normal, Uniform
from metarl.families.family import FAMILIES
from metarl.families.load import load
from metarl.families.spaces import Tokens
from metarl.families.task import Horizon, Parameter, Values
from metarl.families.words import in_words
from metarl.pictures.gallery import MOST_ELEMENTS, plot_tasks, plot_worlds, tasks_figure, worlds_figure
from tests.small_runs import metarl


class Halves(Uniform):
    def __str__(self) -> str:
        return "halves"


@pytest.mark.parametrize(
    ("distribution", "words"),
    [
        (Uniform(0, 3), "uniform 0 to 3"),
        (Uniform(-0.5, 0.5, (2,)), "uniform -0.5 to 0.5, each of 2"),
        (LogUniform(0.5, 2, (3, 4)), "log-uniform 0.5 to 2, each of 3 x 4"),
        (Normal(1, 2), "normal, mean 1, standard deviation 2"),
        (Choice((-1.0, 1.0)), "one of -1, 1"),
        (Choice(tuple(map(float, range(21)))), "one of 21 values, 0 to 20"),
        (Choice(((0.0, 1.0), (1.0, 0.0))), "one of (0.0, 1.0), (1.0, 0.0)"),
        (Disc(3.0), "disc of radius 3"),
        (Disc(1.0, inner=0.75), "ring of radius 0.75 to 1"),
        (Circle(), "circle of radius 1"),
        (Circle(1.0, 0.0, math.pi), "circle of radius 1, 0 to 180 degrees"),
        (Dirichlet(1.0, (2, 3)), "Dirichlet of concentration 1, rows of 2 x 3"),
        (Halves(0, 1), "halves"),
    ],
)
def test_a_distribution_is_said_in_words(distribution: Distribution, words: str) -> None:
    assert in_words(distribution) == words


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (spaces.Discrete(5), "one of 5 (discrete, 0 to 4)"),
        (spaces.MultiDiscrete([[2, 3], [4, 5]]), "4 choices, of 2, 3, 4, 5"),
        (Tokens(32, 256), "a sequence of up to 32 tokens, each of 256"),
        (spaces.MultiBinary((2, 3)), "2 x 3 switches, on or off"),
        (
            spaces.Dict({"way": spaces.Discrete(2), "keys": spaces.MultiBinary(3)}),
            "keys: 3 switches, on or off; way: one of 2 (discrete, 0 to 1)",
        ),
        (spaces.Tuple([spaces.Discrete(2)]), "0: one of 2 (discrete, 0 to 1)"),
        (spaces.Box(-np.inf, np.inf, (17,), dtype=np.float64), "17 numbers, unbounded (float64)"),
        (spaces.Box(-1, 1, (1,)), "1 number, -1 to 1 (float32)"),
        (
            spaces.Box(np.array([-1.0, -2.0]), np.array([1.0, 1.0]), dtype=np.float64),
            "2 numbers, -2 to 1 at most, each with its own bounds (float64)",
        ),
    ],
)
def test_a_space_is_said_in_words(space: spaces.Space[Any], words: str) -> None:
    assert space_in_words(space) == words


def test_a_page_says_everything_of_a_preset() -> None:
    done = metarl("families", "half-cheetah-velocity", "--preset", "maml")
    assert (done.returncode, done.stderr) == (0, "")
    for text in (
        "half-cheetah-velocity: A half cheetah runs at an unknown speed.",
        "| 0 | height of the torso | m |",
        "from: github.com/cbfinn/maml_rl",
        "gymnasium: metarl/HalfCheetahVelocity-v0, with the dynamics of HalfCheetah-v5",
        "splits: train, validation, test, extrapolation\n",
        "horizon: 200 steps",
        "observation: 20 numbers, unbounded (float64)",
        "action: 6 numbers, -1 to 1 (float32)",
        "presets ('maml' is shown; the first is the default):",
        "  name      unit  meaning                   train           extrapolation\n"
        "  velocity  m/s   forward velocity to hold  uniform 0 to 2  uniform 2 to 3\n",
        "max_velocity  2.0",
    ):
        assert text in done.stdout, text


def test_a_page_of_finitely_many_tasks_says_that_none_is_unseen() -> None:
    page = family_page("half-cheetah-direction")
    assert "splits: train, validation, test; 2 tasks in all, so no task of validation or test is unseen" in page
    assert "direction  -     +1 forward, -1 backward  one of -1, 1  none" in page
    assert "unseen" not in family_page("navigation-2d").split("gymnasium:")[1]


def test_a_page_says_what_is_to_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FAMILIES["point-sparse"], "requires", "no_such_package")
    assert "\nspaces: family 'point-sparse' needs package 'no_such_package'" in family_page("point-sparse")


@dataclass(frozen=True)
class Many(ArrayFamily):
    """Parameters of every kind."""

    name: ClassVar[str] = "many"
    kinds: tuple[str, ...] = ("number", "scale", "few", "cells", "goal", "long", "table", "signs")
    horizon: Horizon = 5

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        kinds = {
            "number": Parameter(Normal(0, 1), unit="m"),
            "scale": Parameter(LogUniform(0.01, 100), LogUniform(100, 1000), "kg", "mass"),
            "few": Parameter(Choice((1.0, 2.0, 5.0))),
            "cells": Parameter(Choice(((0.0, 1.0), (1.0, 0.0), (1.0, 1.0)))),
            "goal": Parameter(Disc(1.0), Disc(2.0, inner=1.0), "m"),
            "long": Parameter(LogUniform(0.1, 10, (50,))),
            "table": Parameter(Uniform(0, 1, (2, 3))),
            "signs": Parameter(Choice(((1.0, 1.0, -1.0), (-1.0, 1.0, 1.0)))),
        }
        return {kind: kinds[kind] for kind in self.kinds}

    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(3)

    def initial(self, task: Values, streams: Streams) -> State:
        return {"steps": np.zeros(streams.shape)}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        return {"steps": state["steps"] + 1}

    def observation(self, state: State) -> np.ndarray:
        return np.zeros((len(state["steps"]), 1))

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return np.zeros(len(action))

    def terminated(self, state: State, task: Values) -> np.ndarray:
        return state["steps"] >= 3


def _texts(figure: Any) -> list[str]:
    from matplotlib.text import Text

    figure.savefig(Path("/dev/null"), format="png")
    return [text.get_text() for text in figure.findobj(Text)]


@pytest.mark.parametrize(
    ("kinds", "num_tasks"),
    [*(((kind,), 30) for kind in Many().kinds), (Many().kinds, 1), (("number", "scale", "few"), 30)],
)
def test_every_kind_of_parameter_is_drawn(kinds: tuple[str, ...], num_tasks: int) -> None:
    family = Many(kinds)
    texts = _texts(tasks_figure(family, num_tasks))
    assert any(text.startswith(f"Tasks of many, {num_tasks} of each split") for text in texts)
    for kind in kinds:
        assert any(kind in text for text in texts), kind
        assert any(in_words(family.parameters[kind].train)[:20] in text for text in texts), kind
    for split in family.splits:
        assert split in texts


def test_a_picture_of_tasks_shows_the_tasks_of_each_split() -> None:
    family = load("navigation-2d")
    figure = tasks_figure(family, 25)
    planes = figure.subfigs[0].axes
    assert [axes.get_title() for axes in planes] == list(family.splits)
    for axes, split in zip(planes, family.splits, strict=True):
        points = np.asarray(axes.collections[0].get_offsets())
        goals = family.sample(split, 25, seed=0).values["goal"]
        np.testing.assert_array_equal(points, np.unique(goals, axis=0))
        assert axes.get_aspect() == 1


def test_counts_are_those_of_the_tasks() -> None:
    family = Many(("few",))
    (axes,) = tasks_figure(family, 40).subfigs[0].axes
    values = [family.sample(split, 40, seed=0).values["few"] for split in family.splits]
    counts = [[int((value == choice).sum()) for choice in (1.0, 2.0, 5.0)] for value in values]
    assert [[bar.get_height() for bar in container] for container in axes.containers] == counts


def test_a_long_parameter_says_how_many_of_its_elements_are_drawn() -> None:
    texts = _texts(tasks_figure(Many(("long",)), 5))
    assert f"element (the first {MOST_ELEMENTS} of 50)" in texts


def test_the_same_family_gives_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        plot_tasks(load("point-sparse"), tmp_path / name, 20)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert (tmp_path / "a.svg").read_text().startswith("<?xml")


def test_worlds_are_drawn_with_their_tasks_and_say_where_an_episode_ended() -> None:
    family = Many(("number", "goal", "long"))
    texts = _texts(worlds_figure(family, 3, "test", steps=4))
    assert "Worlds of many: 3 tasks of the test split after 4 random steps" in texts
    task = family.sample("test", 1, seed=0)[0]
    titles = [text for text in texts if text.startswith(f"number {task['number']:.3g} m")]
    assert len(titles) == 1
    assert titles[0].endswith("(ended after 3 steps)")
    assert "and 47 more" in titles[0].replace("\n", " ")
    assert not any("ended" in text for text in _texts(worlds_figure(family, 3, steps=3)))


def test_white_margins_are_cut_off_the_pictures_of_worlds() -> None:
    from metarl.families.canvas import HEIGHT

    figure = worlds_figure(load("point-sparse"), 2, steps=0)
    heights = {axes.images[0].get_array().shape[0] for axes in figure.axes}  # type: ignore[union-attr]
    assert len(heights) == 1
    assert 100 < heights.pop() < HEIGHT


class Blank(gymnasium.Env[np.ndarray, np.ndarray]):
    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Box(-1, 1, (1,))

    def __init__(self, needs: str) -> None:
        self.needs = needs

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        return np.zeros(1, dtype=np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return np.zeros(1, dtype=np.float32), 0.0, False, False, {}

    def render(self) -> None:
        if self.needs:
            raise gymnasium.error.DependencyNotInstalled(f"{self.needs} is not installed, run `pip install it`")


@dataclass(frozen=True)
class Undrawn(ClassFamily):
    """A family whose worlds draw nothing."""

    name: ClassVar[str] = "undrawn"
    needs: str = ""
    horizon: Horizon = 5

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"goal": Parameter(Uniform(-1.0, 1.0))}

    def make(self, task: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
        return Blank(self.needs)


@pytest.mark.parametrize(("needs", "words"), [("", "draws nothing"), ("pygame", "pygame is not installed")])
def test_worlds_that_cannot_be_drawn_cost_one_line(needs: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=words) as caught:
        plot_worlds(Undrawn(needs), tmp_path / "a.png", 1)
    assert "\n" not in str(caught.value)


def test_a_user_gets_both_pictures(tmp_path: Path) -> None:
    tasks, worlds = tmp_path / "new" / "tasks.svg", tmp_path / "worlds.png"
    pictures: list[str | Path] = ["--plot", tasks, "--render", worlds]
    done = metarl(
        "families", "point-sparse", *pictures, "--quiet", "--tasks", "2", "--split", "extrapolation", "--steps", "1"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"tasks: {tasks}\nworlds: {worlds}\n"
    assert tasks.read_text().startswith("<?xml")
    assert worlds.read_bytes().startswith(b"\x89PNG")


def test_mujoco_worlds_are_drawn_or_cost_one_line(tmp_path: Path) -> None:
    picture = tmp_path / "worlds.png"
    done = metarl("families", "half-cheetah-velocity", "--render", picture, "--tasks", "1", "--steps", "1")
    if done.returncode:
        assert done.stderr.startswith("metarl: error: no OpenGL backend works here")
        assert len(done.stderr.splitlines()) == 1
    else:
        assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--plot", "a.png"], "--plot was given without NAME"),
        (["--preset", "maml"], "--preset was given without NAME"),
        (["point-sparse", "--tasks", "3"], "--tasks was given without --plot or --render"),
        (["point-sparse", "--plot", "a.png", "--split", "test"], "--split was given without --render"),
        (["point-sparse", "--plot", "a.png", "--steps", "0"], "--steps was given without --render"),
        (["point-sparse", "--render", "a.png", "--steps", "-1"], "must be at least 0"),
        (["point-sparse", "--plot", "a.png", "--render", "a.png"], "give each picture a file of its own"),
        (["point-sparse", "--preset", "perl"], "did you mean 'pearl'?"),
        (["point-sparse", "--plot", "a.pdf"], "a picture is written as '.png' or '.svg'"),
        (["point-sparse", "--plot", "/proc/a.png"], "/proc/a.png cannot be written"),
        (["point-sparse", "--render", "a.png", "--split", "tset"], "did you mean 'test'?"),
        (["bernoulli-bandit", "--render", "a.png", "--split", "extrapolation"], "has no extrapolation split"),
        (["point-spars", "--plot", "a.png"], "did you mean 'point-sparse'?"),
    ],
)
def test_a_mistake_costs_one_line(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["families", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("metarl: error: ")
    assert message in line
    assert not (tmp_path / "a.png").exists()


def test_pictures_of_a_family_whose_package_is_missing_cost_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(FAMILIES["point-sparse"], "requires", "no_such_package")
    assert main(["families", "point-sparse", "--plot", str(tmp_path / "a.png")]) == 2
    assert "needs package 'no_such_package'" in capsys.readouterr().err
    assert main(["families"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "no_such_package" in line]
    assert line.split()[0] == "point-sparse"
    assert line.endswith(" (needs no_such_package)")
