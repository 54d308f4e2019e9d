"""IoU and average precision against independent loops, and against pycocotools."""

from __future__ import annotations

import contextlib
import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from metarl.envs.boxes.measures import average_precision, iou, measure_boxes, score_boxes


def iou_by_hand(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    areas = [max(c[2] - c[0], 0) * max(c[3] - c[1], 0) for c in (a, b)]
    return both / (sum(areas) - both) if sum(areas) else 0.0


def ap_by_hand(confidences: np.ndarray, hits: np.ndarray, asked: np.ndarray, right: np.ndarray) -> float:
    """COCO's rule, step by step: at each of 101 recalls the best precision at that recall or a higher one."""
    ranked = sorted((i for i in range(len(asked)) if asked[i]), key=lambda i: -confidences[i])
    points, found = [], 0
    for rank, place in enumerate(ranked, start=1):
        found += bool(hits[place])
        points.append((found / right.sum(), found / rank))
    return sum(max((p for r, p in points if r >= step / 100), default=0.0) for step in range(101)) / 101


def drawn(seed: int, questions: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Return answers and right boxes [question, 5]; some are missed, and some are not there."""
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(size=(questions, 2, 2)), axis=1).reshape(questions, 4)
    there = rng.uniform(size=(questions, 1)) < 0.8
    there[0] = True
    moved = (corners + rng.normal(size=corners.shape) * rng.choice([0.01, 0.3], (questions, 1))).clip(0, 1)
    near = np.sort(moved.reshape(questions, 2, 2), axis=1).reshape(questions, 4)
    confidences = rng.integers(1, 8, (questions, 1)) / 8  # ties too
    return np.concatenate([near, confidences], axis=1), np.concatenate([corners * there, there], axis=1)


def played(answers: np.ndarray, targets: np.ndarray, mask: np.ndarray | None = None) -> Any:
    """Return a round of one task with [question, 5]."""
    mask = np.ones(len(answers), dtype=bool) if mask is None else mask
    return SimpleNamespace(actions=answers[:, None, None], targets=targets[:, None, None], mask=mask[:, None, None])


def test_the_iou_is_that_of_a_loop_and_of_no_area_it_is_zero() -> None:
    answers, targets = drawn(0, 50)
    expected = [iou_by_hand(a, t) for a, t in zip(answers.tolist(), targets.tolist(), strict=True)]
    np.testing.assert_allclose(iou(answers, targets), expected)
    backwards = np.array([0.5, 0.5, 0.2, 0.9, 1.0])
    assert iou(backwards, np.array([0.2, 0.5, 0.5, 0.9, 1.0])) == 0


def test_where_nothing_is_there_the_reward_is_one_less_the_confidence() -> None:
    answers = np.array([[0.0, 0.0, 0.5, 0.5, 0.75], [0.0, 0.0, 0.5, 1.0, 0.3]])
    targets = np.array([[0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5, 1.0]])
    np.testing.assert_allclose(score_boxes(answers, targets), [0.25, 0.5])


@pytest.mark.parametrize("seed", range(5))
def test_average_precision_is_that_of_a_loop(seed: int) -> None:
    answers, targets = drawn(seed)
    asked = np.arange(12) != 3
    right = asked & (targets[:, 4] > 0)
    hits = right & (iou(answers, targets) >= 0.5)
    found = average_precision(answers[None, :, 4], hits[None], asked[None], right[None])
    assert found[0] == pytest.approx(ap_by_hand(answers[:, 4], hits, asked, right))


def test_outcomes_are_those_of_cocoeval() -> None:
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    for seed in range(4):
        answers, targets = drawn(seed, 20)
        truth, given = coco.COCO(), []
        truth.dataset = {"images": [{"id": i} for i in range(20)], "categories": [{"id": 1}], "annotations": []}
        for place, (answer, target) in enumerate(zip(answers.tolist(), targets.tolist(), strict=True)):
            boxes = [[c[0] * 100, c[1] * 100, (c[2] - c[0]) * 100, (c[3] - c[1]) * 100] for c in (answer, target)]
            row = {"image_id": place, "category_id": 1}
            given.append({**row, "bbox": boxes[0], "score": answer[4]})
            if target[4]:
                area = boxes[1][2] * boxes[1][3]
                rows = truth.dataset["annotations"]
                rows.append({**row, "id": len(rows) + 1, "bbox": boxes[1], "area": area, "iscrowd": 0})
        with contextlib.redirect_stdout(io.StringIO()):
            truth.createIndex()
            judge = COCOeval(truth, truth.loadRes(given), "bbox")
            judge.evaluate()
            judge.accumulate()
        expected = judge.eval["precision"][0, :, 0, 0, 2].mean()  # IoU 0.5, all areas, 100 answers
        assert measure_boxes(played(answers, targets))["AP50"][0] == pytest.approx(expected)


def test_outcomes_of_a_round_count_what_was_asked_alone() -> None:
    answers, targets = drawn(1)
    mask = np.arange(12) < 9
    found = measure_boxes(played(answers, targets, mask))
    there = targets[:9, 4] > 0
    overlap = iou(answers[:9], targets[:9])[there]
    assert found["mean IoU"][0] == pytest.approx(overlap.mean())
    assert found["found"][0] == pytest.approx((overlap >= 0.5).mean())
    nothing = measure_boxes(played(answers, np.zeros_like(targets)))
    assert all(np.isnan(each[0]) for each in nothing.values())
