"""Sinusoids, and lines among them, to be fitted from a few of their points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from gymnasium import spaces

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.distributions import Labels, Uniform
from metarl.families.family import register
from metarl.families.question_batch import Questions
from metarl.families.questions import QuestionFamily
from metarl.families.task import Count, Measure, Parameter, Reveal, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

SINUSOID = {
    "amplitude": Parameter(Uniform(0.1, 5.0), Uniform(5.0, 7.0), "", "height of a sinusoid"),
    "phase": Parameter(Uniform(0.0, math.pi), None, "rad", "shift of a sinusoid to the right"),
}
"""Parameters of sinusoids."""
LINE_USES = ("slope", "intercept")
"""Parameters of lines alone."""
LINE = {
    "curve": Parameter(Labels(("sinusoid", "line")), None, "", "kind of the curve"),
    "slope": Parameter(Uniform(-3.0, 3.0), Uniform(3.0, 4.0), "", "slope of a line"),
    "intercept": Parameter(Uniform(-3.0, 3.0), None, "", "height of a line at x = 0"),
}
"""Further parameters where there are lines."""


@register("sinusoid")
@dataclass(frozen=True)
class Sinusoid(QuestionFamily):
    """Guess the height y of a curve at x. The first round of a trial has `shots` points, each later one `queries`.

    | observation | meaning | range |
    |---|---|---|
    | 0 | x, uniform | -5 to 5 |

    | action | meaning | range |
    |---|---|---|
    | 0 | guess of y, clipped | -10 to 10; -25 to 25 with lines |

    Reward: minus the squared error; a round is measured by its mean. Terminates after the last point of a round; then
    the right values are revealed. Task: y = A sin(x - phase) with `amplitude` A, uniform on [0.1, 5), and `phase`,
    uniform on [0, pi). Extrapolation: amplitudes from 5 to 7.

    With `curves: sinusoid-or-line` a task is, with equal chances, such a sinusoid or a line: `curve` says which. A line
    is y = slope x + intercept, both uniform on [-3, 3); extrapolation: slopes from 3 to 4. A sinusoid has no use for
    `slope` and `intercept`, nor a line for the others. There is none of the noise that some papers add to y.
    """

    source = "Finn, Abbeel and Levine, MAML, ICML 2017, section 5.1; github.com/cbfinn/maml; with lines: Finn, Xu and "
    source += "Levine, Probabilistic MAML, NeurIPS 2018; Vuorio et al., Multimodal MAML, NeurIPS 2019"
    presets = {
        "10-shot": {},
        "5-shot": {"shots": 5, "queries": 5},
        "sinusoid-or-line": {"curves": "sinusoid-or-line"},
    }
    observation_space = spaces.Box(-5.0, 5.0, (1,), np.float32)
    draws_tasks = True
    measure = Measure("minus squared error", per_step=True)
    curves: Literal["sinusoid", "sinusoid-or-line"] = "sinusoid"
    """Curves of the tasks: sinusoids alone, or sinusoids and lines."""
    shots: Count = 10
    """Points of the first round."""
    queries: Count = 10
    """Points of each later round."""
    reveal: Reveal = "round"
    """When the right values are shown."""

    @property
    def has_lines(self) -> bool:
        """Whether some tasks are lines."""
        return self.curves == "sinusoid-or-line"

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """Those of sinusoids, and those of lines where there are lines."""
        return SINUSOID | LINE if self.has_lines else SINUSOID

    @property
    def action_space(self) -> spaces.Box:
        """A guess; the steepest line reaches 23."""
        most = 25.0 if self.has_lines else 10.0
        return spaces.Box(-most, most, (1,), np.float32)

    def num_questions(self, number: int) -> int:
        """Return `shots` for the first round and `queries` for others."""
        return self.queries if number else self.shots

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        """Return points of the curve."""
        x = (10.0 * streams.uniform((self.num_questions(number), 1)) - 5.0).astype(np.float32)
        return Questions(x, curve({name: value[:, None, None] for name, value in task.items()}, x).astype(np.float32))

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return minus the squared error."""
        return -np.square(answers.astype(np.float64) - targets)[..., 0]

    def tell(self, observation: Any) -> str:
        """Return the place of a point."""
        return f"x = {float(observation[0]):.2f}"

    def tell_answer(self, answer: np.ndarray) -> str:
        """Return the height of a point."""
        return f"y = {float(answer[0]):.2f}"

    def draw(self, axes: Axes, observation: Any, answer: np.ndarray | None, target: np.ndarray) -> None:
        """Draw the point of the curve, and the guess."""
        axes.plot(observation, target, "o", color="tab:green", label="right")
        if answer is not None:
            axes.plot(observation, answer, "x", color="tab:red", label="answer")
        axes.set(xlim=(-5, 5), ylim=self._limits, xlabel="x, and y above it")
        axes.legend(loc="upper right")

    def draw_task(self, figure: SubFigure, task: Mapping[str, Any], support: Questions, queries: Questions) -> None:
        """Draw the curve, the points that are shown, those that are asked, and the answers where there are any."""
        axes, x = figure.subplots(), np.linspace(-5.0, 5.0, 200)
        axes.plot(x, curve({name: np.asarray(value) for name, value in task.items()}, x), color="0.6", label="curve")
        axes.plot(support.observations, support.targets, "o", color="tab:green", label="shown")
        axes.plot(queries.observations, queries.targets, "o", color="tab:red", fillstyle="none", label="asked")
        if queries.answers is not None:
            axes.plot(queries.observations, queries.answers, "x", color="tab:red", label="answer")
        told = [f"{name} {task[name]:.2g}" for name in (LINE_USES if task.get("curve") else SINUSOID)]
        axes.set(xlim=(-5, 5), ylim=self._limits)
        axes.set_title(", ".join(told), size=9)
        axes.legend(loc="upper right", fontsize=7)

    @property
    def _limits(self) -> tuple[float, float]:
        """Least and greatest y of a picture."""
        return float(self.action_space.low[0]), float(self.action_space.high[0])


def curve(task: Values, x: np.ndarray) -> np.ndarray:
    """Return y at `x` [...]; the task's parameters must have a shape that goes with it."""
    wave = task["amplitude"] * np.sin(x - task["phase"])
    return np.where(task["curve"] == 1, task["slope"] * x + task["intercept"], wave) if "curve" in task else wave
