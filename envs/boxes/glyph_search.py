"""Active localisation: an agent moves a box until it is around what is to be found."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from gymnasium import spaces
from pydantic import Field

from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.distributions import Choice
from metarl.families.examples import share_out
from metarl.families.family import register
from metarl.families.outcomes import Outcome, Played
from metarl.families.task import SPLITS, Horizon, Measure, Parameter, Values

from ..images.glyphs import Fonts
from .glyph_boxes import Side, require_kinds
from .measures import iou
from .moves import MOVES, STOP, move
from .pictures import ANSWER, RIGHT, draw_box
from .resample import resample
from .scenes import Clutter, Few, Scenes, Share, glyph_set

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from metarl.families.batch import Batch

MARGIN = 0.1
"""Margin around the box of what to find in its picture, as a share of the box's sides."""


@register("glyph-search")
@dataclass(frozen=True)
class GlyphSearch(ArrayFamily):
    """Move a box in an image until it is around a letter that is shown beside it: active localisation.

    | observation | meaning | range |
    |---|---|---|
    | view | grey, `view` x `view` x 2: what is in the box, and what to find | 0 to 255 |
    | box | left, top, right, bottom as shares of the image's sides, and the share of the moves that is left | 0 to 1 |

    | action | meaning |
    |---|---|
    | 0, 1, 2, 3 | left, right, up, down by a fifth of the box's sides |
    | 4, 5 | bigger, smaller by a fifth, about the middle |
    | 6, 7 | wider (a fifth less tall), taller (a fifth less wide) |
    | 8 | stop |

    Reward: the gain in intersection over union (IoU) with the right box; the first move gains from 0, so an episode's
    return is the IoU at its end. Terminates after `stop`, and is cut off after 15 moves. The box begins as the whole
    image. An episode has a new image, as `glyph-boxes` draws them, and the picture of what to find is cut from
    another one. Task: `category`, the letter. Validation and test have letters of their own, in what is to be found and
    in what is beside it. With `cue: false` nothing shows the letter: rewards must tell it.
    """

    source = "Caicedo and Lazebnik, Active Object Localization with Deep Reinforcement Learning, ICCV 2015"
    presets = {"cue": {}, "no-cue": {"cue": False}}
    shows_task = True  # to see what to find is the task
    action_space = spaces.Discrete(len(MOVES))
    measure = Measure("final IoU")
    fonts: Fonts = "system"
    """Whose fonts draw the glyphs: those of matplotlib and of the system, or of matplotlib alone."""
    size: Side = 48
    """Side of an image in pixels."""
    view: Annotated[int, Field(ge=8, le=128, strict=True)] = 20
    """Side of the views in pixels."""
    cue: bool = True
    """Whether the observation shows what to find."""
    distractors: Few = 2
    """Other glyphs in an image."""
    strokes: Few = 2
    """Strokes in an image."""
    noise: Share = 0.05
    """Deviation of the noise of a pixel, as a share of the brightest."""
    scale: tuple[Share, Share] = (0.3, 0.5)
    """Least and greatest longer side of a glyph, as a share of the image's."""
    occlusion: Share = 0.0
    """Chance that a part of the glyph is hidden; the box is that of the whole."""
    horizon: Horizon = 15

    def __post_init__(self) -> None:
        self._clutter()

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings: glyphs are found again."""
        return {name: value for name, value in self.__dict__.items() if name != "scenes"}

    def _clutter(self) -> Clutter:
        return Clutter(self.size, self.distractors, self.strokes, self.noise, self.scale, self.occlusion)

    @functools.cached_property
    def scenes(self) -> Scenes:
        """What draws the images."""
        glyphs = glyph_set(self.fonts)
        return Scenes(glyphs, share_out(glyphs, "auto"), self._clutter())

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The letter, by its place."""
        shared = share_out(self.scenes.glyphs, "auto")
        train, validation, test = (Choice(tuple(map(float, shared[split]))) for split in SPLITS[:-1])
        return {"category": Parameter(train, None, "", "letter to find", validation, test)}

    @property
    def observation_space(self) -> spaces.Dict:
        """The views, the box and the time."""
        view = spaces.Box(0, 255, (self.view, self.view, 2), np.uint8)
        return spaces.Dict({"view": view, "box": spaces.Box(0.0, 1.0, (5,), np.float32)})

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch. Raises MetarlError for letters that are not there."""
        require_kinds(values["category"], len(self.scenes.glyphs.classes))
        return super().batch(values, threads=threads, render_mode=render_mode)

    def initial(self, task: Values, streams: Streams) -> State:
        """Draw an image, and another one to cut what to find from; begin with the whole image."""
        scene = self.scenes.draw(task["category"].astype(np.int64), 2, streams)
        worlds = len(scene.images)
        target = scene.boxes[..., :4].astype(np.float64)
        return {
            "image": scene.images[:, 1],
            "target": target[:, 1],
            "cue": self._cut(scene.images[:, 0], _widen(target[:, 0])) if self.cue else self._nothing(worlds),
            "box": np.tile([0.0, 0.0, 1.0, 1.0], (worlds, 1)),
            "moves": np.zeros(worlds, dtype=np.int64),
            "stopped": np.zeros(worlds, dtype=bool),
        }

    def _nothing(self, worlds: int) -> np.ndarray:
        return np.zeros((worlds, self.view, self.view), dtype=np.uint8)

    def _cut(self, images: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Return what is in a box of each image, uint8 [world, view, view]."""
        cut = resample(images, self.size * boxes, (self.view, self.view))
        return np.rint(cut.clip(0, 255)).astype(np.uint8)

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Move the box, or stop."""
        return {
            **state,
            "box": move(state["box"], action),
            "moves": state["moves"] + 1,
            "stopped": action == STOP,
        }

    def observation(self, state: State) -> Mapping[str, np.ndarray]:
        """Return the views, the box and the share of the moves that is left."""
        left = np.maximum(1 - state["moves"] / self.horizon, 0)
        view = np.stack([self._cut(state["image"], state["box"]), state["cue"]], axis=-1)
        return {"view": view, "box": np.concatenate([state["box"], left[:, None]], axis=1).astype(np.float32)}

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return the gain in IoU; the first move gains from 0."""
        had = np.where(before["moves"] > 0, iou(before["box"], before["target"]), 0.0)
        return iou(after["box"], after["target"]) - had

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether the agent has stopped."""
        return state["stopped"]

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """How many letters are found, and in how many moves."""
        return {
            "found": Outcome("Share of letters whose box has an IoU of 0.5 or more at the end; more is better.", True),
            "moves": Outcome("Moves of an episode; fewer are better."),
        }

    def measure_round(self, values: Values, number: int, played: Played) -> Mapping[str, np.ndarray]:
        """Return the outcomes of a round; the return of an episode is the IoU at its end."""
        final = (played.rewards * played.mask).sum(axis=0)
        return {"found": (final >= 0.5 - 1e-9).mean(axis=1), "moves": played.mask.sum(axis=0).mean(axis=1)}

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw the image with the right box and the one that moves, and what to find in its corner."""
        image, box, target = (state[name][world] for name in ("image", "box", "target"))
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        draw_box(axes, target, self.size, RIGHT, "right")
        draw_box(axes, box, self.size, ANSWER, "box")
        axes.set_title(f"move {state['moves'][world]}, IoU {float(iou(box, target)):.2f}", size=10)
        axes.set_axis_off()
        if self.cue:
            inset = axes.inset_axes((-0.14, 1.01, 0.13, 0.13))
            inset.imshow(state["cue"][world], cmap="gray", vmin=0, vmax=255)
            inset.set_axis_off()


def _widen(boxes: np.ndarray) -> np.ndarray:
    """Return boxes [world, 4] with a margin on each side."""
    margin = MARGIN * (boxes[:, 2:] - boxes[:, :2])
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], axis=1)
