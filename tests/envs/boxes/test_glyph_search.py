"""Active localisation: moves of a box, what is seen of it, and rewards that add up to the IoU at the end."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from metarl.envs.boxes.glyph_search import GlyphSearch
from metarl.envs.boxes.measures import iou
from metarl.envs.boxes.moves import LEAST_SIDE, MOVES, STOP, move

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.load import load


def make(**settings: Any) -> GlyphSearch:
    family = load("glyph-search", fonts="matplotlib", **settings)
    assert isinstance(family, GlyphSearch)
    return family


def start(family: GlyphSearch, num_tasks: int = 3) -> tuple[State, Any]:
    tasks = family.sample("test", num_tasks, seed=0)
    return family.initial(tasks.values, Streams.of(0, "start", np.arange(num_tasks))), tasks.values


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("left", [0.32, 0.2, 0.72, 0.7]),
        ("right", [0.48, 0.2, 0.88, 0.7]),
        ("up", [0.4, 0.1, 0.8, 0.6]),
        ("down", [0.4, 0.3, 0.8, 0.8]),
        ("bigger", [0.36, 0.15, 0.84, 0.75]),
        ("smaller", [0.44, 0.25, 0.76, 0.65]),
        ("wider", [0.4, 0.25, 0.8, 0.65]),
        ("taller", [0.44, 0.2, 0.76, 0.7]),
        ("stop", [0.4, 0.2, 0.8, 0.7]),
    ],
)
def test_a_move_changes_the_box_by_a_fifth_of_its_sides(name: str, expected: list[float]) -> None:
    moved = move(np.array([[0.4, 0.2, 0.8, 0.7]]), np.array([MOVES.index(name)]))
    np.testing.assert_allclose(moved, [expected])


def test_a_box_stays_in_the_image_and_keeps_its_least_side() -> None:
    rng = np.random.default_rng(0)
    boxes = np.tile([0.0, 0.0, 1.0, 1.0], (50, 1))
    for _ in range(60):
        boxes = move(boxes, rng.choice([0, 1, 2, 3, 5, 6, 7], 50))
        assert boxes.min() >= 0 and boxes.max() <= 1
        assert (boxes[:, 2:] - boxes[:, :2]).min() >= LEAST_SIDE - 1e-12


def test_the_return_is_the_iou_at_the_end() -> None:
    family = make()
    tasks = family.sample("test", 4, seed=0)
    actions, total = np.random.default_rng(0).integers(0, 8, (15, 4)), np.zeros(4)
    with contextlib.closing(family.make_vec(tasks)) as envs:
        envs.reset(seed=0)
        for action in actions:
            _, reward, _, truncated, _ = envs.step(action)
            total += np.ravel(reward)
        state = envs.batch.state  # type: ignore[attr-defined]
    assert truncated.all()
    np.testing.assert_allclose(total, iou(state["box"], state["target"]), atol=1e-12)


def test_stopping_ends_the_episode_with_the_iou_so_far() -> None:
    family = make()
    state, task = start(family)
    smaller = family.transition(state, np.full(3, MOVES.index("smaller")), task, Streams.of(0, np.arange(3)))
    assert not family.terminated(smaller, task).any()
    stopped = family.transition(smaller, np.full(3, STOP), task, Streams.of(0, np.arange(3)))
    assert family.terminated(stopped, task).all()
    np.testing.assert_array_equal(family.reward(smaller, np.full(3, STOP), stopped, task), 0)


def test_the_view_shows_what_is_in_the_box_and_the_cue_what_to_find() -> None:
    family = make(view=48, distractors=0, strokes=0, noise=0.0)
    state, _ = start(family)
    seen = family.observation(state)
    np.testing.assert_array_equal(seen["view"][..., 0], state["image"])
    np.testing.assert_allclose(seen["box"], [[0, 0, 1, 1, 1]] * 3)
    within = family.observation({**state, "box": state["target"]})["view"][..., 0]
    for view, cue in zip(within, seen["view"][..., 1], strict=True):
        # Another drawing of the same letter fills both, the cue with a margin.
        assert (view[[0, -1]] > 20).any() and (view[:, [0, -1]] > 20).any()
        assert (cue[6:-6, 6:-6] > 20).any() and not (cue[:2] > 20).any()
    assert not make(cue=False).observation(start(make(cue=False))[0])["view"][..., 1].any()


def test_outcomes_count_found_letters_and_moves() -> None:
    class Played:
        rewards = np.array([[[0.2, 0.1]], [[0.4, 0.2]]])
        mask = np.array([[[True, True]], [[True, False]]])

    found = make().measure_round({}, 0, Played())  # type: ignore[arg-type]
    assert found["found"].tolist() == [0.5] and found["moves"].tolist() == [1.5]
