"""Which of a user's ratings a trial shows, and which it asks for in each round."""

from __future__ import annotations

import numpy as np

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.examples import shuffle_places

from .pools import Pools, Rule


def draw_order(pools: Pools, rule: Rule, tasks: np.ndarray, num_users: int, streams: Streams) -> State:
    """Return the places of a trial's ratings among those of its task, in the order in which they are used.

    `shown` and `asked` are int64 [world, place], with the same places where a task's questions are of the same ratings;
    those after the first `shots` are then asked. In the order of time, training begins anywhere in a user's ratings.
    """
    counts = pools.counts[tasks]
    most = np.maximum(pools.counts[np.concatenate(list(pools.members.values()))].max(axis=0), 1)
    together = is_together(pools, tasks, num_users)
    if rule.order == "time":
        room = np.where(together & (tasks < num_users), counts[:, 0] - rule.shots - rule.queries, 0)
        start = np.floor(streams.uniform() * (room + 1)).astype(np.int64)
        return {name: start[:, None] + np.arange(most[at]) for at, name in enumerate(("shown", "asked"))}
    shown = shuffle_places(counts[:, :1], int(most[0]), streams)[:, 0]
    return {
        "shown": shown,
        "asked": shown if pools.together else shuffle_places(counts[:, 1:], int(most[1]), streams)[:, 0],
    }


def is_together(pools: Pools, tasks: np.ndarray, num_users: int) -> np.ndarray:
    """Return whether a task asks for the ratings that it might have shown, bool [task]; in training all do."""
    return np.full(len(tasks), pools.together) | (tasks < num_users)


def choose(pools: Pools, rule: Rule, tasks: np.ndarray, num_users: int, trial: State, number: int) -> np.ndarray:
    """Return the ratings of round `number` of a trial in the order in which they are asked, int64 [world, question].

    A later round asks for ratings that no earlier one did, as long as there are any. Then, in random order, it begins
    again; in the order of time, it asks for the last ones.
    """
    firsts, counts = pools.firsts[tasks], pools.counts[tasks]
    if number == 0:
        return pools.shown[firsts[:, :1] + trial["shown"][:, : rule.shots]]
    together = is_together(pools, tasks, num_users)[:, None]
    skipped = (number - 1) * rule.queries
    places = []
    for at, name, used in ((0, "shown", rule.shots), (1, "asked", 0)):
        order, rest = trial[name], counts[:, at, None] - used
        if rule.order == "time":
            rest = rest - order[:, :1]
            place = used + np.minimum(skipped, rest - rule.queries) + np.arange(rule.queries)
        else:
            place = used + (skipped + np.arange(rule.queries)) % np.maximum(rest, 1)
        inside = np.clip(place, 0, order.shape[1] - 1)  # of the kind that a task does not use, any place will do
        places.append(firsts[:, at, None] + np.take_along_axis(order, inside, axis=1))
    return np.where(together, _at(pools.shown, places[0]), _at(pools.asked, places[1]))


def _at(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    return rows[np.minimum(places, len(rows) - 1)]
