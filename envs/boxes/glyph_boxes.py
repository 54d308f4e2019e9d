"""Few-shot detection: find a new kind of thing in images, after a few of them with its box."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from gymnasium import spaces
from pydantic import Field

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.distributions import Choice
from metarl.families.examples import share_out
from metarl.families.family import register
from metarl.families.outcomes import Outcome, Played
from metarl.families.question_batch import Questions
from metarl.families.questions import QuestionFamily
from metarl.families.spaces import Boxes
from metarl.families.task import SPLITS, Count, Measure, Parameter, Reveal, Values

from ..images.folders import observe_files
from ..images.glyphs import Fonts
from .measures import OUTCOMES, measure_boxes, score_boxes
from .pictures import draw_image, draw_rounds
from .scenes import Clutter, Few, Scenes, Share, glyph_set
from .sources import FolderSource, GlyphSource, Source

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from metarl.families.batch import Batch

Side = Annotated[int, Field(ge=16, le=512, strict=True)]
"""Side of an image in pixels."""


@register("glyph-boxes")
@dataclass(frozen=True)
class GlyphBoxes(QuestionFamily):
    """Find a new kind of thing in images, after `shots` images with a box around it.

    | observation | meaning | range |
    |---|---|---|
    | image | grey, `size` x `size` x 1 | 0 to 255 |

    | action | meaning | range |
    |---|---|---|
    | 0, 1 | left and top of the box, as shares of the image's sides | 0 to 1 |
    | 2, 3 | right and bottom | 0 to 1 |
    | 4 | how sure it is that the thing is there | 0 to 1 |

    Reward: the intersection over union (IoU) with the right box; where nothing is there, 1 - action 4. Terminates after
    the last image of a round; then the right boxes are revealed. Task: `category`, what to find. Validation and test
    have categories of their own, and the other things in their images are of the same split.

    Without a `folder`, the images are drawn: a letter as in `image-classes`, of random size, among `distractors` other
    letters, strokes and noise. `occlusion` of them hide a part of it. `absent` of the queries show no such letter.

    `folder` has images and one `annotations.json` or `instances*.json` in COCO's format. An image counts for a category
    where it has one box of it, no crowd, and no box of a category of a later split (train, validation, test). Images
    become grey squares.
    """

    source = "A protocol of this suite, after the few-shot detection of Wang et al., ICML 2020 (TFA)"
    presets = {
        "5-shot": {},
        "1-shot": {"shots": 1},
        "absent": {"absent": 0.3},
    }
    draws_tasks = True
    shows_task = True  # to see the images is the task
    action_space = Boxes()
    folder: str = ""
    """Folder of images with COCO's JSON, '' for glyphs."""
    fonts: Fonts = "system"
    """Whose fonts draw the glyphs: those of matplotlib and of the system, or of matplotlib alone."""
    size: Side = 48
    """Side of an image in pixels."""
    shots: Count = 5
    """Images of the first round."""
    queries: Count = 15
    """Images of each later round."""
    distractors: Few = 3
    """Other glyphs in an image."""
    strokes: Few = 3
    """Strokes in an image."""
    noise: Share = 0.1
    """Deviation of the noise of a pixel, as a share of the brightest."""
    scale: tuple[Share, Share] = (0.25, 0.45)
    """Least and greatest longer side of a glyph, as a share of the image's."""
    occlusion: Share = 0.2
    """Chance that a part of the glyph is hidden; the box is that of the whole."""
    absent: Share = 0.0
    """Share of the queries without the glyph."""
    reveal: Reveal = "round"
    """When the right boxes are shown."""
    digest: str = ""
    """Digest of the categories, '' for those that are there. A run keeps it: no test category becomes another."""

    def __post_init__(self) -> None:
        if self.folder:  # a run is used from other folders too
            object.__setattr__(self, "folder", str(Path(self.folder).expanduser().absolute()))
            if self.absent:
                raise MetarlError(
                    f"absent is {self.absent:g}, and images of a folder all show their category; take absent: 0"
                )
        kinds = self.images.kinds
        if self.digest not in ("", found := kinds.digest):
            raise MetarlError(
                f"digest is {self.digest!r}, and the categories of {kinds.origin} now have {found!r}; restore the "
                "fonts or files, or leave digest out to take the categories that are there"
            )
        object.__setattr__(self, "digest", found)

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings: images are found again."""
        return {name: value for name, value in self.__dict__.items() if name != "images"}

    @functools.cached_property
    def images(self) -> Source:
        """Where images come from."""
        counts = self.shots, self.queries
        if self.folder:
            return FolderSource(Path(self.folder), self.size, counts)
        clutter = Clutter(self.size, self.distractors, self.strokes, self.noise, self.scale, self.occlusion)
        glyphs = glyph_set(self.fonts)
        shared = share_out(glyphs, "auto")
        return GlyphSource(Scenes(glyphs, shared, clutter), shared, counts, self.absent)

    @property
    def measure(self) -> Measure:
        """The mean IoU, or the mean reward where some images show nothing to find."""
        return Measure("reward" if self.absent else "IoU", per_step=True)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """What to find, by its place."""
        train, validation, test = (Choice(tuple(map(float, self.images.shared[split]))) for split in SPLITS[:-1])
        return {"category": Parameter(train, None, "", "what to find", validation, test)}

    @property
    def observation_space(self) -> spaces.Box:
        """A grey image."""
        return spaces.Box(0, 255, (self.size, self.size, 1), np.uint8)

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch. Raises MetarlError for categories that are not there."""
        require_kinds(values["category"], len(self.images.kinds.classes))
        return super().batch(values, threads=threads, render_mode=render_mode)

    def num_questions(self, number: int) -> int:
        """Return `shots` for the first round and `queries` for others."""
        return self.queries if number else self.shots

    def prepare(self, task: Values, streams: Streams) -> State:
        """Return what the images of a trial have in common."""
        return self.images.prepare(task["category"].astype(np.int64), streams)

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        """Return the images of a round."""
        return self.images.ask(task["category"].astype(np.int64), trial, number, streams)

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the IoU; where nothing is there, one less the confidence."""
        return score_boxes(answers, targets)

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """Mean IoU, boxes found, and average precision."""
        return OUTCOMES

    def measure_round(self, values: Values, number: int, played: Played) -> Mapping[str, np.ndarray]:
        """Return the outcomes of a round."""
        return measure_boxes(played)

    def observe(self, files: Sequence[str | Path]) -> np.ndarray:
        """Return images of your own as observations, uint8 [file, size, size, 1], for `Policy.learn` and `answer`.

        A right answer is (left, top, right, bottom, 1), shares of the image's sides. Raises MetarlError for a file that
        cannot be read.
        """
        return observe_files(files, self.size, upright=False)

    def tell_answer(self, answer: np.ndarray) -> str:
        """Return the edges of a box, and how sure the answer is."""
        left, top, right, bottom, sure = np.ravel(answer).tolist()
        return f"{left:.2f} to {right:.2f} across, {top:.2f} to {bottom:.2f} down ({sure:.0%})"

    def draw(self, axes: Axes, observation: Any, answer: np.ndarray | None, target: np.ndarray) -> None:
        """Draw the image with the right box, and the answer."""
        draw_image(axes, observation[..., 0], answer, target)

    def draw_task(self, figure: SubFigure, task: Mapping[str, Any], support: Questions, queries: Questions) -> None:
        """Draw the examples, then images that are asked, with right boxes and answers."""
        draw_rounds(figure, self.images.kinds.classes[int(task["category"])], support, queries)


def require_kinds(kinds: np.ndarray, count: int) -> None:
    """Raise MetarlError where tasks have kinds [task] that are none of `count`."""
    wrong = kinds[(kinds != np.floor(kinds)) | (kinds < 0) | (kinds >= count)]
    if wrong.size:
        raise MetarlError(f"category {wrong[0]:g} is no task; it must be a whole number from 0 to {count - 1}")
