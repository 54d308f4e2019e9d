"""How well boxes are found: intersection over union, and COCO's average precision."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from metarl.families.outcomes import Outcome, Played

HIT = 0.5
"""Intersection over union from which on a box is found."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""Recalls at which COCO takes the precision."""
IOU, FOUND, AP = "mean IoU", "found", "AP50"
OUTCOMES = {
    IOU: Outcome("Intersection over union with the right box, where there is one; more is better."),
    FOUND: Outcome("Share of right boxes whose answer has an IoU of 0.5 or more; more is better.", True),
    AP: Outcome(
        "COCO's average precision at IoU 0.5 of a task's answers, ranked by confidence; its mean over tasks is the "
        "mAP; more is better.",
        True,
    ),
}


def iou(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the intersection over union of boxes [..., 4 or more], float64 [...]; 0 for a box without an area."""
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    width, height = (
        np.maximum(np.minimum(a[..., i + 2], b[..., i + 2]) - np.maximum(a[..., i], b[..., i]), 0.0) for i in (0, 1)
    )
    both = width * height
    areas = [np.maximum(c[..., 2] - c[..., 0], 0.0) * np.maximum(c[..., 3] - c[..., 1], 0.0) for c in (a, b)]
    whole = areas[0] + areas[1] - both
    return np.where(whole > 0, both / np.where(whole > 0, whole, 1.0), 0.0)


def score_boxes(answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the IoU where there is a right box, and else one less the confidence; both are [..., 5]."""
    return np.where(targets[..., 4] > 0.5, iou(answers, targets), 1.0 - answers[..., 4].astype(np.float64))


def average_precision(confidences: np.ndarray, hits: np.ndarray, asked: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return COCO's average precision of each task, float64 [task]; NaN for one without a right box.

    Arguments are [task, question]: the confidence of each answer, whether it hits the right box, whether it was asked,
    and whether there is a right box. An image has one box at most and one answer, so an answer that hits nothing is a
    false positive. Of equal confidences the first counts first, as in `COCOeval` of pycocotools.
    """
    order = np.argsort(np.where(asked, -confidences, np.inf), axis=1, kind="stable")
    asked, hits = (np.take_along_axis(each, order, axis=1) for each in (asked, hits & asked))
    true, false = hits.cumsum(axis=1), (asked & ~hits).cumsum(axis=1)
    total = right.sum(axis=1)
    recall = true / np.maximum(total, 1)[:, None]
    precision = true / np.maximum(true + false, 1)
    envelope = np.maximum.accumulate(np.where(asked, precision, 0.0)[:, ::-1], axis=1)[:, ::-1]
    reached = (recall[:, None] >= RECALLS[:, None]) & asked[:, None]
    first = np.take_along_axis(envelope, reached.argmax(axis=-1), axis=1)
    found = np.where(reached.any(axis=-1), first, 0.0).mean(axis=1)
    return np.where(total > 0, found, np.nan)


def measure_boxes(played: Played) -> Mapping[str, np.ndarray]:
    """Return the outcomes of a round, float64 [task]."""
    assert played.targets is not None  # a family of questions knows them
    answers, targets, asked = (_by_task(each) for each in (played.actions, played.targets, played.mask))
    right = asked & (targets[..., 4] > 0.5)
    overlap = np.where(right, iou(answers, targets), 0.0)
    count = np.where(right.any(axis=1), right.sum(axis=1), np.nan)
    hits = right & (overlap >= HIT)
    return {
        IOU: overlap.sum(axis=1) / count,
        FOUND: hits.sum(axis=1) / count,
        AP: average_precision(answers[..., 4], hits, asked, right),
    }


def _by_task(array: np.ndarray) -> np.ndarray:
    """Return [time, task, replica, ...] as [task, question, ...]."""
    first = np.moveaxis(array, 0, 2)
    return first.reshape(len(first), -1, *array.shape[3:])
