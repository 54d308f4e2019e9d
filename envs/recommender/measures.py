"""What is told of a round of ratings beside the mean absolute error."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from metarl.families.outcomes import Outcome, Played

from .diversity import coverage, feature_distance, gini
from .ranking import first_items, gains, ndcg, precision
from .table import Scale

TOP = 5
"""Items of a list."""
LIKED = 0.75
"""A user likes an item from this share of the scale on: from 4 of 1 to 5."""
MOST_ITEMS = 20_000
"""Most items of a catalogue whose lists are counted: a count of each is held for each task."""


def _of_asked(measure: Callable[[np.ndarray], float]) -> Callable[[np.ndarray], float]:
    """Return a pool of counts [2 * item], how often each was asked and then listed: a measure of those asked."""

    def pool(counts: np.ndarray) -> float:
        asked, listed = counts.reshape(2, -1)
        return measure(listed[asked > 0])

    return pool


def _rmse(sums: np.ndarray) -> float:
    """Return the root of the mean square, of the sum of squares and their number."""
    return float(np.sqrt(sums[0] / sums[1]))


ALWAYS = {
    "MAE": Outcome("Mean absolute error; lower is better."),
    "RMSE": Outcome("Root mean square error of all ratings together; lower is better.", pool=_rmse),
    f"nDCG@{TOP}": Outcome(
        f"Gain of the first {TOP} of the asked items by their answers, of the best; higher is better."
    ),
    "hit@1": Outcome("Users who like the item with the highest answer; higher is better.", percent=True),
    f"precision@{TOP}": Outcome(f"Liked items among the first {TOP}; higher is better.", percent=True),
}
"""Outcomes of every round."""
DISTANCE = {f"distance@{TOP}": Outcome(f"Cosine distance of features within the first {TOP}; higher is more varied.")}
"""Outcomes where items have features."""
COUNTED = {
    f"coverage@{TOP}": Outcome(
        f"Asked items that are in the first {TOP} of anybody; higher is more varied.",
        percent=True,
        pool=_of_asked(coverage),
    ),
    f"Gini@{TOP}": Outcome(
        f"Gini index of how often asked items are in the first {TOP}; lower is more even.", pool=_of_asked(gini)
    ),
}
"""Outcomes of catalogues of at most `MOST_ITEMS` items."""


def outcomes_of(num_features: int, num_items: int) -> Mapping[str, Outcome]:
    """Return the outcomes of a family whose items have so many features, and that has so many items."""
    return ALWAYS | (DISTANCE if num_features else {}) | (COUNTED if num_items <= MOST_ITEMS else {})


def measure_answers(played: Played, scale: Scale, features: slice) -> dict[str, np.ndarray]:
    """Return the outcomes of a round that need no names of items, float64 [task, ...].

    `features` are the places of the items' features in observations.
    """
    assert played.targets is not None
    right, answers = (np.moveaxis(each[..., 0].astype(np.float64), 0, -1) for each in (played.targets, played.actions))
    answers = answers.clip(*scale)
    error = answers - right
    squares = np.square(error)
    liked = right >= scale[0] + LIKED * (scale[1] - scale[0])
    found = {
        "MAE": np.abs(error).mean(axis=(1, 2)),
        "RMSE": np.stack([squares.sum(axis=(1, 2)), np.full(len(squares), squares[0].size)], axis=1),
        f"nDCG@{TOP}": ndcg(answers, gains(right, scale), TOP).mean(axis=1),
        "hit@1": precision(answers, liked, 1).mean(axis=1),
        f"precision@{TOP}": precision(answers, liked, TOP).mean(axis=1),
    }
    if features.stop > features.start:
        of_items = np.moveaxis(played.observations[..., features].astype(np.float64), 0, -2)
        listed = np.take_along_axis(of_items, first_items(answers, TOP)[..., None], axis=-2)
        found[f"distance@{TOP}"] = feature_distance(listed).mean(axis=1)
    return found


def count_lists(played: Played, scale: Scale, items: np.ndarray, num_items: int) -> dict[str, np.ndarray]:
    """Return how often each item was asked, and then listed, [task, 2 * item].

    `items` [task, replica, question] are those that were asked.
    """
    answers = np.moveaxis(played.actions[..., 0].astype(np.float64), 0, -1).clip(*scale)
    listed = np.take_along_axis(items, first_items(answers, TOP), axis=-1)
    counts = np.zeros((len(items), 2 * num_items))
    for task, (asked, chosen) in enumerate(zip(items, listed, strict=True)):
        counts[task, :num_items] = np.bincount(asked.ravel(), minlength=num_items)
        counts[task, num_items:] = np.bincount(chosen.ravel(), minlength=num_items)
    return dict.fromkeys(COUNTED, counts)
