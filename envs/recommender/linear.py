"""The best linear model of the simulator: what an item is worth as a linear function of the user's taste."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from metarl.base.streams import Streams
from metarl.families.distributions import Distribution

from .catalogue import DEVICES, Catalogue, all_contexts, decode_context, outcomes_of

USERS = 1000
"""Users of training's population that the model is fitted to."""


class LinearModel(NamedTuple):
    """Expected outcomes of items in each context, by least squares over the users of training.

    It gives rival algorithms the true features of items, as far as a linear model can use them: what remains to be
    learned is the taste alone, whose prior is known.
    """

    means: np.ndarray
    """Mean of each outcome over users, for a taste of zero. [context, objective, item]"""
    slopes: np.ndarray
    """Change of each outcome with the taste. [context, objective, item, factor]"""

    def at(self, contexts: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the weighted means [..., item] and slopes [..., item, factor] of items.

        `contexts` is [..., context number], without numbers where there is no context; `weights` [..., objective].
        """
        number = np.zeros(contexts.shape[:-1], dtype=np.int64)
        if contexts.shape[-1]:  # else there is one context, without numbers
            hours, phones = decode_context(contexts)
            number = hours * DEVICES + phones
        parts = [
            (
                self.means[number, each] * weights[..., each, None],
                self.slopes[number, each] * weights[..., each, None, None],
            )
            for each in range(weights.shape[-1])
        ]
        means, slopes = zip(*parts, strict=True)
        return functools.reduce(np.add, means), functools.reduce(np.add, slopes)


@functools.lru_cache(maxsize=16)
def fit_linear_model(catalogue: Catalogue, tastes: Distribution) -> LinearModel:
    """Return the linear model of a catalogue for users from `tastes`, whose mean is zero. Arrays are read-only."""
    users = tastes.sample(Streams.of(0, "recommender users", np.arange(USERS)))
    contexts = all_contexts() if len(catalogue.shifts) else np.zeros((1, 0))
    items = np.arange(catalogue.num_items)
    # The context adds to the logits what it adds for a user without taste.
    added = catalogue.logits(np.zeros((len(contexts), users.shape[1])), contexts, np.tile(items, (len(contexts), 1)))
    added -= catalogue.intercepts[:, None]
    indifferent = np.zeros((USERS, contexts.shape[1]))
    logits = catalogue.logits(users, indifferent, np.tile(items, (USERS, 1)))
    solver = np.linalg.pinv(np.hstack([np.ones((USERS, 1)), users]))
    shape = (1 + users.shape[1], catalogue.num_items, len(logits))
    fitted = [
        (solver @ outcomes_of(logits + added[:, [number]]).reshape(USERS, -1)).reshape(shape)
        for number in range(len(contexts))
    ]
    coefficients = np.moveaxis(np.stack(fitted), [-1, -3], [1, -1])
    model = LinearModel(coefficients[..., 0].copy(), coefficients[..., 1:].copy())
    for array in model:
        array.setflags(write=False)  # the cache returns them again
    return model
