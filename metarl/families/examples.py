"""Few-shot classification: which examples of its classes a trial shows, which it asks for, and in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Protocol

import numpy as np
from pydantic import Field

from ..base.errors import MetarlError
from ..base.streams import Streams
from ..base.text import with_noun
from .distributions import Subset
from .task import SPLITS, Parameter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SplitBy = Literal["auto", "groups", "classes"]
"""What is kept whole when classes are shared out: groups, single classes, or groups where there are three or more."""

Ways = Annotated[int, Field(ge=2, le=10**4, strict=True)]
"""Classes of a task."""


class ClassSet(Protocol):
    """Classes with their examples."""

    @property
    def origin(self) -> str:
        """Where they come from, for messages."""
        ...

    @property
    def counts(self) -> np.ndarray:
        """Examples of each class. int64 [class]"""
        ...

    @property
    def classes(self) -> Sequence[str]:
        """Name of each class, ascending."""
        ...

    @property
    def groups(self) -> Sequence[str]:
        """Group of each class, such as its alphabet; '' for none."""
        ...

    @property
    def given(self) -> Sequence[str]:
        """Split that the source puts each class into; '' where it names none."""
        ...


class Examples(NamedTuple):
    """The examples of a round, in the order in which they are asked."""

    places: np.ndarray
    """Place of each example among those of its class. int64 [world, question]"""
    labels: np.ndarray
    """Label of its class in the task. int64 [world, question]"""


def shuffle_places(counts: np.ndarray, most: int, streams: Streams) -> np.ndarray:
    """Return the places below each of `counts` [world, way] in random order, int64 [world, way, most].

    Places beyond a count stand behind those below it. `most` must be that of all classes, and not of the batch: a task
    alone draws as many numbers as in a batch.
    """
    draws = streams.uniform((counts.shape[1], most))
    return np.argsort(np.where(np.arange(most) < counts[..., None], draws, np.inf), axis=-1)


def draw_examples(
    order: np.ndarray, counts: np.ndarray, number: int, shots: int, queries: int, streams: Streams
) -> Examples:
    """Return the examples of round `number` of a trial, in random order, so that no place tells a label.

    `order` is that of `shuffle_places`, drawn once a trial. The first round has the first `shots` of each class; each
    later one has `queries` of the others, all different. Rounds draw theirs independently: a third round may ask what
    the second has asked, and whose labels it has revealed. `counts` [world, way] must be at least `shots + queries`.
    """
    if number:
        rest = shuffle_places(counts - shots, order.shape[-1] - shots, streams)[..., :queries] + shots
        chosen = np.take_along_axis(order, rest, axis=-1)
    else:
        chosen = order[..., :shots]
    places = chosen.reshape(len(chosen), -1)
    labels = np.broadcast_to(np.arange(chosen.shape[1])[:, None], chosen.shape).reshape(places.shape)
    shuffled = np.argsort(streams.uniform((places.shape[1],)), axis=-1)
    return Examples(np.take_along_axis(places, shuffled, axis=-1), np.take_along_axis(labels, shuffled, axis=-1))


def share_out(found: ClassSet, split_by: SplitBy = "classes", parts: int = 5) -> Mapping[str, tuple[int, ...]]:
    """Return the places of the classes of each split.

    Splits that the source names stay. Without any, one of `parts` parts of the groups, or of the classes, is for tests,
    and one for validation; where only validation is not named, it is such a part of training. A hash of names decides,
    so neither the order of classes nor the machine does. Raises MetarlError for a split without classes.
    """
    shared = list(found.given)
    if not any(shared):
        _move(found, shared, split_by, "", "test", parts)
        _move(found, shared, split_by, "", "validation", parts - 1)
        shared = [split or "train" for split in shared]
    elif "validation" not in shared:
        _move(found, shared, split_by, "train", "validation", parts)
    places = {split: tuple(i for i, each in enumerate(shared) if each == split) for split in SPLITS[:-1]}
    if empty := [split for split in places if not places[split]]:
        raise MetarlError(f"{found.origin} has no class for split {empty[0]!r}; add classes to it")
    return places


def _move(found: ClassSet, shared: list[str], split_by: SplitBy, source: str, target: str, parts: int) -> None:
    """Move one of `parts` parts of the names in split `source` to split `target`."""
    places = [place for place, split in enumerate(shared) if split == source]
    groups = {found.groups[place] for place in places}
    if split_by == "groups" and len(groups) < 3 and target == "test":  # the second move finds one fewer
        raise MetarlError(f"{found.origin} has {len(groups)} groups; split_by 'groups' needs 3, so take 'classes'")
    # The second move finds a part fewer than the first, and takes from the same kind of names.
    whole = split_by == "groups" or (split_by == "auto" and len({*found.groups}) >= 3)
    names = [found.groups[place] if whole else found.classes[place] for place in places]
    ordered = sorted(set(names), key=lambda name: hashlib.blake2b(name.encode(errors="surrogatepass")).digest())
    moved = {*ordered[: max(1, round(len(ordered) / parts))]} if len(ordered) > 1 else set()
    for place, name in zip(places, names, strict=True):
        if name in moved:
            shared[place] = target


def require_examples(
    found: ClassSet, shared: Mapping[str, Sequence[int]], ways: int, needed: int, kind: str, remedy: str = ""
) -> None:
    """Raise MetarlError unless each split has `ways` classes, and each class has `needed` examples.

    `kind` is the word for an example in the message, and `remedy` another remedy of too few classes.
    """
    for split, places in shared.items():
        if len(places) < ways:
            raise MetarlError(
                f"ways is {ways}, and split {split!r} of {found.origin} has {with_noun(len(places), 'class')}; lower "
                f"ways, or add classes{remedy}"
            )
    few = int(np.argmin(found.counts))
    if found.counts[few] < needed:
        raise MetarlError(
            f"class {found.classes[few]!r} of {found.origin} has {with_noun(int(found.counts[few]), kind)}, and shots "
            f"+ queries is {needed}; add {kind}s, or lower shots or queries"
        )


def classes_parameter(shared: Mapping[str, Sequence[int]], ways: int) -> Mapping[str, Parameter]:
    """Return the parameter `classes`: `ways` different classes of the split, by their places, in random order."""
    train, validation, test = (Subset(tuple(map(float, shared[split])), ways) for split in SPLITS[:-1])
    return {"classes": Parameter(train, None, "", "classes, in the order of their labels", validation, test)}


def require_classes(classes: np.ndarray, count: int) -> None:
    """Raise MetarlError where tasks have `classes` [task, way] that are none of `count`, or twice."""
    known = Subset(tuple(map(float, range(count))), classes.shape[1]).contains(classes)
    if not known.all():
        wrong = classes[int(np.argmin(known))].tolist()
        raise MetarlError(f"classes {wrong} are no task; they must be different whole numbers from 0 to {count - 1}")


def draw_answer(axes: Axes, answer: np.ndarray | None, target: np.ndarray) -> None:
    """Write the right label over a question and, where it was answered, whether the answer is right."""
    if answer is None:
        axes.set_title(f"label {target}")
    elif answer == target:
        axes.set_title(f"answer {answer}: right", color="tab:green")
    else:
        axes.set_title(f"answer {answer}: wrong, it is {target}", color="tab:red")
    axes.set_axis_off()
