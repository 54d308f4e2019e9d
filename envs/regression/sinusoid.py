"""Sinusoids to be fitted from a few of their points, as in the MAML paper."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import spaces

from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.distributions import Uniform
from metarl.families.family import register
from metarl.families.question_batch import Questions
from metarl.families.questions import QuestionFamily
from metarl.families.task import Count, Measure, Parameter, Reveal, Values

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@register("sinusoid")
@dataclass(frozen=True)
class Sinusoid(QuestionFamily):
    """Guess y = A sin(x - phase) at x. The first round of a trial has `shots` points, each later one `queries`.

    | observation | meaning | range |
    |---|---|---|
    | 0 | x, uniform | -5 to 5 |

    | action | meaning | range |
    |---|---|---|
    | 0 | guess of y, clipped | -10 to 10 |

    Reward: minus the squared error; a round is measured by its mean. Terminates after the last point of a round; then
    the right values are revealed. Task: `amplitude` A, uniform on [0.1, 5), and `phase`, uniform on [0, pi).
    Extrapolation: amplitudes from 5 to 7.
    """

    source = "Finn, Abbeel and Levine, MAML, ICML 2017, section 5.1; github.com/cbfinn/maml"
    presets = {"10-shot": {}, "5-shot": {"shots": 5, "queries": 5}}
    parameters = {
        "amplitude": Parameter(Uniform(0.1, 5.0), Uniform(5.0, 7.0), "", "height of the curve"),
        "phase": Parameter(Uniform(0.0, math.pi), None, "rad", "shift of the curve to the right"),
    }
    observation_space = spaces.Box(-5.0, 5.0, (1,), np.float32)
    action_space = spaces.Box(-10.0, 10.0, (1,), np.float32)
    measure = Measure("minus squared error", per_step=True)
    shots: Count = 10
    """Points of the first round."""
    queries: Count = 10
    """Points of each later round."""
    reveal: Reveal = "round"
    """When the right values are shown."""

    def num_questions(self, number: int) -> int:
        """Return `shots` for the first round and `queries` for others."""
        return self.queries if number else self.shots

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        """Return points of the curve."""
        x = (10.0 * streams.uniform((self.num_questions(number), 1)) - 5.0).astype(np.float32)
        amplitude, phase = (task[name][:, None, None] for name in ("amplitude", "phase"))
        return Questions(x, (amplitude * np.sin(x - phase)).astype(np.float32))

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return minus the squared error."""
        return -np.square(answers.astype(np.float64) - targets)[..., 0]

    def draw(self, axes: Axes, observation: Any, answer: np.ndarray | None, target: np.ndarray) -> None:
        """Draw the point of the curve, and the guess."""
        axes.plot(observation, target, "o", color="tab:green", label="right")
        if answer is not None:
            axes.plot(observation, answer, "x", color="tab:red", label="answer")
        axes.set(xlim=(-5, 5), ylim=(-10, 10), xlabel="x, and y above it")
        axes.legend(loc="upper right")
