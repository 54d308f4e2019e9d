"""N-way K-shot classification of images: glyphs of fonts, or folders of images such as Omniglot."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from gymnasium import spaces
from pydantic import Field

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.data_files import same_digest
from metarl.families.examples import (
    SplitBy,
    Ways,
    classes_parameter,
    draw_answer,
    draw_examples,
    require_classes,
    require_examples,
    share_out,
    shuffle_places,
)
from metarl.families.family import register
from metarl.families.question_batch import Questions
from metarl.families.questions import QuestionFamily
from metarl.families.task import Count, Measure, Parameter, Reveal, Values

from .folders import find_classes, fingerprint, observe_files, read_classes
from .glyphs import VERSION, Fonts, draw_glyphs, font_files
from .image_set import ImageSet
from .stored import stored
from .turns import Rotations, turns_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from metarl.families.batch import Batch

MOST_ROWS, MOST_EXAMPLES, MOST_QUERIES = 8, 5, 6
"""Most labels of a task, and images of each of them, in its picture."""
GREY, GREEN, RED = (90, 90, 90), (0, 158, 115), (213, 94, 0)
"""Colours of the frames of images: without an answer, with a right one and with a wrong one."""

Side = Annotated[int, Field(ge=8, le=512, strict=True)]
"""Side of an image in pixels."""


@register("image-classes")
@dataclass(frozen=True)
class ImageClasses(QuestionFamily):
    """Tell images of a few new classes apart, after `shots` examples of each.

    | observation | meaning | range |
    |---|---|---|
    | rows, columns | grey of a pixel | 0 to 255 |

    | action | meaning | range |
    |---|---|---|
    | 0 | label of the image | 0 to ways - 1 |

    Reward: 1 for the right label, else 0; a round is measured by its mean, the accuracy. The first round of a trial
    has `shots` images of each class, each later one `queries` others; the order is random. A third round and those
    after it may repeat images of the second. A round terminates with its last image; then the labels are revealed.
    Task: `classes`, `ways` of the split's classes in random order; the place of a class is its label. Classes of
    validation and test are never trained on.

    The default images are letters of many scripts in the fonts of matplotlib and of the system, under random affine
    maps; a split has scripts of its own. `fonts: matplotlib` takes its fonts alone. `folder` reads images of your own.
    """

    source = "Lake, Salakhutdinov and Tenenbaum, Omniglot, Science 2015; Vinyals et al., NeurIPS 2016; Santoro et al., "
    source += "ICML 2016 (stream)"
    presets = {
        "5-way-1-shot": {},
        "5-way-5-shot": {"shots": 5},
        "20-way-1-shot": {"ways": 20},
        "20-way-5-shot": {"ways": 20, "shots": 5},
        "stream": {"shots": 10, "queries": 10, "reveal": "step"},
    }
    draws_tasks = True
    shows_task = True  # to see the images is the task
    measure = Measure("accuracy", per_step=True, percent=True)
    folder: str = ""
    """Folder of images, '' for glyphs. Each folder that holds images is a class, and the one around it its group."""
    fonts: Fonts = "system"
    """Whose fonts draw the glyphs: those of matplotlib and of the system, or of matplotlib alone, which are the same
    wherever its version is."""
    ways: Ways = 5
    """Classes of a task."""
    shots: Count = 1
    """Images of each class in the first round."""
    queries: Count = 15
    """Images of each class in each later round."""
    size: Side = 28
    """Side of an image in pixels."""
    rotations: Rotations = "none"
    """Whether a class, turned by 90, 180 and 270 degrees, gives more classes, in the same split: none; those that do
    not look like another turn of the class; or all, as in Omniglot's protocol."""
    split_by: SplitBy = "auto"
    """What no two splits share: groups, classes, or groups where there are three or more."""
    reveal: Reveal = "round"
    """When the labels are shown."""
    affine: bool = True
    """Whether glyphs are turned, sheared, scaled and moved."""
    digest: str = ""
    """Digest of the classes, '' for those that are there. A run keeps it, so that no test class becomes another."""

    def __post_init__(self) -> None:
        if self.folder:  # a run is used from other folders too
            object.__setattr__(self, "folder", str(Path(self.folder).expanduser().absolute()))
        what, remedy = f"the classes of {self.images.origin}", "restore the fonts or files"
        object.__setattr__(self, "digest", same_digest(self.digest, self.images.digest, what, remedy))
        require_examples(
            self.images, self._turned, self.ways, self.shots + self.queries, "image", ", or write split_by: classes"
        )

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings: images are found again."""
        return {name: value for name, value in self.__dict__.items() if name not in ("images", "_turned")}

    @functools.cached_property
    def images(self) -> ImageSet:
        """The images of all splits."""
        if self.folder:
            folder = Path(self.folder)
            classes = find_classes(folder)
            key = ["folder", self.folder, self.size, fingerprint(classes)]
            return stored(key, lambda report: read_classes(folder, classes, self.size, report))
        paths, fonts = font_files(self.fonts)
        # Without maps, a letter has one drawing for each font.
        enough = 1 if self.affine else self.shots + self.queries
        return stored(
            ["glyphs", VERSION, fonts, self.size, self.affine, enough],
            lambda report: draw_glyphs(paths, self.size, affine=self.affine, enough=enough, report=report),
        )

    @functools.cached_property
    def _turned(self) -> Mapping[str, tuple[int, ...]]:
        """The places of the classes of each split: a turned class stands behind all that are turned less."""
        turns, count = turns_of(self.images, self.rotations), len(self.images.classes)
        shared = share_out(self.images, self.split_by).items()
        return {split: tuple(sorted(c + t * count for c in places for t in turns[c])) for split, places in shared}

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The classes of a task, by their places."""
        return classes_parameter(self._turned, self.ways)

    @property
    def observation_space(self) -> spaces.Box:
        """A grey image."""
        return spaces.Box(0, 255, (self.size, self.size, 1), np.uint8)

    @property
    def action_space(self) -> spaces.Discrete:
        """The labels."""
        return spaces.Discrete(self.ways)

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch. Raises MetarlError for classes that are not there, or twice in a task."""
        require_classes(values["classes"], len(self.images.classes) * (1 if self.rotations == "none" else 4))
        return super().batch(values, threads=threads, render_mode=render_mode)

    def num_questions(self, number: int) -> int:
        """Return `ways` times `shots` for the first round, and `ways` times `queries` for others."""
        return self.ways * (self.queries if number else self.shots)

    def prepare(self, task: Values, streams: Streams) -> State:
        """Return an order of each class's images. Its first ones are the examples."""
        most = int(self.images.counts.max())
        return {"order": shuffle_places(self._counts(task), most, streams)}

    def _counts(self, task: Values) -> np.ndarray:
        """Return the images of each class of a task, int64 [world, way]."""
        return self.images.counts[task["classes"].astype(np.int64) % len(self.images.classes)]

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        """Return the first `shots` images of each class, or `queries` of its other ones, in random order."""
        drawn = draw_examples(trial["order"], self._counts(task), number, self.shots, self.queries, streams)
        turn, place = np.divmod(task["classes"].astype(np.int64), len(self.images.classes))
        firsts, turns = (np.take_along_axis(each, drawn.labels, axis=1) for each in (self.images.firsts[place], turn))
        return Questions(_turn(self.images.images[firsts + drawn.places], turns)[..., None], drawn.labels)

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return 1 for a right label, 0 for a wrong one."""
        return (answers == targets).astype(np.float64)

    def observe(self, files: Sequence[str | Path]) -> np.ndarray:
        """Return images of your own as observations, uint8 [file, size, size, 1], for `Policy.learn` and `answer`.

        Raises MetarlError for a file that cannot be read.
        """
        return observe_files(files, self.size)

    def tell_answer(self, answer: np.ndarray) -> str:
        """Return the label."""
        return f"label {int(answer)}"

    def draw(self, axes: Axes, observation: Any, answer: np.ndarray | None, target: np.ndarray) -> None:
        """Draw the image with its label, and the answer."""
        axes.imshow(observation[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        draw_answer(axes, answer, target)

    def draw_task(self, figure: SubFigure, task: Mapping[str, Any], support: Questions, queries: Questions) -> None:
        """Draw a row for each label: its examples, then images that are asked. Frames tell right answers from wrong."""
        rows = min(self.ways, MOST_ROWS)
        sheets = [_sheet(asked, rows, most) for asked, most in ((support, MOST_EXAMPLES), (queries, MOST_QUERIES))]
        widths = [sheet.shape[1] for sheet in sheets]
        both = figure.subplots(1, 2, width_ratios=widths)
        some = f" ({rows} of {self.ways} labels)" if rows < self.ways else ""
        asked = "asked" if queries.answers is None else "asked; answers: green right, orange wrong"
        for axes, sheet, told in zip(both, sheets, (f"examples{some}", asked), strict=True):
            axes.imshow(sheet, interpolation="nearest")
            axes.set_title(told, size=9)
            axes.set_xticks([])
            axes.set_yticks([])
        places = (np.arange(rows) + 0.5) * sheets[0].shape[0] / rows
        both[0].set_yticks(places, [f"label {label}" for label in range(rows)], size=8)
        both[0].tick_params(length=0)


def _sheet(asked: Questions, rows: int, most: int) -> np.ndarray:
    """Return the first images of the first labels as one image, uint8 [height, width, 3], a row for each label."""
    lines = []
    for label in range(rows):
        places = np.flatnonzero(asked.targets == label)[:most]
        framed = [_framed(asked, place) for place in places]
        # A stream may ask for one class more often than for another.
        blank = np.full((asked.observations.shape[1] + 4, asked.observations.shape[2] + 4, 3), 255, dtype=np.uint8)
        lines.append(np.concatenate([*framed, *[blank] * (most - len(framed))], axis=1))
    used = max(int(np.bincount(asked.targets, minlength=rows)[:rows].max(initial=1)), 1)
    sheet = np.concatenate(lines)
    return sheet[:, : min(used, most) * (asked.observations.shape[2] + 4)]


def _framed(asked: Questions, place: int) -> np.ndarray:
    """Return an image in its frame, uint8 [height, width, 3]."""
    image = np.repeat(asked.observations[place], 3, axis=-1)
    color = GREY
    if asked.answers is not None:
        color = GREEN if asked.answers[place] == asked.targets[place] else RED
    framed = np.full((image.shape[0] + 4, image.shape[1] + 4, 3), color, dtype=np.uint8)
    framed[2:-2, 2:-2] = image
    return framed


def _turn(images: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Return images [world, image, size, size], each turned by as many quarters as `turns` [world, image] says."""
    for quarters in range(1, 4):
        if (where := turns == quarters).any():
            images[where] = np.rot90(images[where], quarters, axes=(1, 2))
    return images
