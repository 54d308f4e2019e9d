"""A simulated recommender: the task is the user, who clicks, buys and is satisfied, or not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from pydantic import Field

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.distributions import Choice, Dirichlet
from metarl.families.family import register
from metarl.families.outcomes import Outcome, Played
from metarl.families.task import Horizon, Parameter, Values

from .catalogue import CONTEXT_SIZE, DEVICES, HOURS, OBJECTIVES, Catalogue, encode_context, make_catalogue
from .diversity import first_shown
from .drawing import draw_shelf
from .linear import fit_linear_model
from .session import measure_session, outcomes_of
from .tastes import Tastes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STARS = 4
"""Satisfaction is a number of stars, from 0 to `STARS`, divided by `STARS`."""
USUAL = 0.9
"""Share of the population that training draws from: the users whose tastes are least pronounced."""

Size = Annotated[int, Field(ge=1, strict=True)]
"""A number of items, factors or places."""
Weight = Annotated[float, Field(ge=0, le=1)]
"""Weight of one objective."""


@register("recommender")
@dataclass(frozen=True)
class Recommender(ArrayFamily):
    """A user is shown slates of a fixed catalogue, and clicks, buys and is satisfied, by a taste that nobody tells.

    Reward: `weights` times (clicks, conversions, satisfaction) of the slate, from 0 to 1 for each item. Terminates
    after the last step. Task: `taste`, a standard normal vector, of the 90 % of users with the shortest ones; the other
    10 % are `extrapolation`. `weights` of the objectives, uniform on the simplex, or those of the setting `weights` in
    all tasks. The catalogue is no part of the task: it follows from the settings, and every split has the same items.

    - An item is examined with chance 1 / position^`position_bias`, independently of the others (position-based model,
      Craswell et al., WSDM 2008). An item shown twice in a slate earns in its first place alone.
    - An examined item is clicked with chance sigmoid(popularity + loading . taste). Every item has another loading and
      intercept for conversion, with a chance of that kind given a click, and for satisfaction, whose mean given a click
      is of that kind. Satisfaction is stars, from 0 to 4, divided by 4: a binomial number. Without a click it is 0.
      Popular items convert and satisfy less than others, so the objectives disagree.
    - The hour and the device move the tastes of all users alike. They are drawn anew in each step; `context: false`
      leaves both out.
    - Nobody tires of an item, so the best slate of a context stays the best. `switch_at` changes the user's taste.

    Presets: `single`, one item a step; `slate`, five; `drift`, 200 steps, in which the taste changes after 100;
    `no-context`.
    """

    shared_doc = """
        | observation | meaning |
        |---|---|
        | 0 .. 2 | sine and cosine of the hour, 1 for a phone and -1 for a computer; left out by `context: false` |
        | next 3 | weights of click, conversion and satisfaction |
        | last 3 `slate_size` | outcome of the last slate: click, conversion, satisfaction of each place; 0 at first |

        | action | meaning |
        |---|---|
        | 0 .. `num_items` - 1 | item to show; with `slate_size` above 1 one for each place, the first on top |
        """
    source = "A simulator of this suite, after the position-based model of Craswell et al., WSDM 2008"
    presets = {
        "single": {},
        "slate": {"slate_size": 5},
        "drift": {"horizon": 200, "weights": (1.0, 0.0, 0.0), "switch_at": (100,)},
        "no-context": {"context": False},
    }
    shows_task = True  # of the task it shows the weights, never the taste
    num_items: Size = 50
    slate_size: Size = 1
    factors: Size = 8
    num_categories: Size = 5
    catalogue_seed: Annotated[int, Field(ge=0, strict=True)] = 0
    context: bool = True
    weights: tuple[Weight, Weight, Weight] | None = None
    position_bias: Annotated[float, Field(ge=0, le=10)] = 1.0
    horizon: Horizon = 100

    def __post_init__(self) -> None:
        if self.num_items < 2:
            raise MetarlError(f"num_items is {self.num_items}; it must be at least 2, or there is nothing to choose")
        if self.slate_size > self.num_items:
            raise MetarlError(f"slate_size is {self.slate_size}; it must be at most num_items, {self.num_items}")
        if self.weights is not None and abs(sum(self.weights) - 1) > 1e-9:
            raise MetarlError(f"weights are {list(self.weights)}; they must sum to 1, as [0.5, 0.5, 0] does")

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The user's taste and the weights of the objectives."""
        usual, others = Tastes(self.factors, 0.0, USUAL), Tastes(self.factors, USUAL, 1.0)
        weights = Dirichlet(1.0, (len(OBJECTIVES),)) if self.weights is None else Choice((self.weights,))
        return {
            "taste": Parameter(usual, others, meaning="what the user likes, in the loadings' coordinates"),
            "weights": Parameter(weights, meaning="weights of click, conversion and satisfaction"),
        }

    @property
    def observation_space(self) -> Box:
        """Context, weights, and the outcome of the last slate."""
        size = self.context_size + len(OBJECTIVES) * (1 + self.slate_size)
        return Box(-1.0, 1.0, (size,), dtype=np.float32)

    @property
    def action_space(self) -> Discrete | MultiDiscrete:
        """The item, or the items of each place."""
        return Discrete(self.num_items) if self.slate_size == 1 else MultiDiscrete([self.num_items] * self.slate_size)

    @property
    def context_size(self) -> int:
        """Numbers of the observation that tell the context."""
        return CONTEXT_SIZE if self.context else 0

    @property
    def catalogue(self) -> Catalogue:
        """The items, the same in every split."""
        return make_catalogue(self.num_items, self.factors, self.num_categories, self.catalogue_seed, self.context)

    @property
    def examination(self) -> np.ndarray:
        """Chance that the item in each place is examined, from 1 on top downwards. [slot]"""
        return 1.0 / np.arange(1, self.slate_size + 1) ** self.position_bias

    def initial(self, task: Values, streams: Streams) -> State:
        """Begin in a random context, with nothing shown."""
        slots = (*streams.shape, self.slate_size)
        return {
            "steps": np.zeros(streams.shape, dtype=np.int64),
            "context": self._draw_context(streams),
            "weights": task["weights"].copy(),
            "slate": np.full(slots, -1, dtype=np.int64),
            "outcomes": np.zeros((*slots, len(OBJECTIVES))),
        }

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        """Show the slate, and go on to the next context."""
        slate = action.reshape(len(action), self.slate_size)
        outcomes = self._draw_outcomes(self._chances(slate, task["taste"], state["context"]), streams)
        return {
            "steps": state["steps"] + 1,
            "context": self._draw_context(streams),
            "weights": task["weights"].copy(),
            "slate": slate.astype(np.int64),
            "outcomes": outcomes,
        }

    def _draw_context(self, streams: Streams) -> np.ndarray:
        if not self.context:
            return np.zeros((*streams.shape, 0))
        drawn = streams.uniform((2,))
        return encode_context(np.floor(HOURS * drawn[:, 0]), np.floor(DEVICES * drawn[:, 1]) == 1)

    def _chances(self, slate: np.ndarray, tastes: np.ndarray, contexts: np.ndarray) -> np.ndarray:
        """Return the expected outcomes of examined items, zero for one that the slate has further up."""
        return self.catalogue.expected_outcomes(tastes, contexts, slate) * first_shown(slate)[..., None]

    def _draw_outcomes(self, expected: np.ndarray, streams: Streams) -> np.ndarray:
        """Return outcomes whose expectation is `expected` times the examination, [world, slot, objective]."""
        drawn = streams.uniform((self.slate_size, 2 + STARS))
        click = drawn[..., 0] < self.examination * expected[..., 0]
        given_click = expected[..., 1:] / np.maximum(expected[..., :1], np.finfo(np.float64).tiny)
        conversion = click & (drawn[..., 1] < given_click[..., 0])
        stars = (drawn[..., 2:] < given_click[..., 1:]).sum(axis=-1)
        return np.stack([click, conversion, click * stars / STARS], axis=-1)

    def observation(self, state: State) -> np.ndarray:
        """Return context, weights and outcomes."""
        outcomes = state["outcomes"].reshape(len(state["outcomes"]), -1)
        return np.concatenate([state["context"], state["weights"], outcomes], axis=-1, dtype=np.float32)

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        """Return the objectives, summed over the slate, times the weights that were shown with it."""
        return _weigh(self.objectives(after), before["weights"])

    def objectives(self, state: State) -> np.ndarray:
        """Return clicks, conversions and satisfaction of the last slate, [world, objective]."""
        return np.add.reduce(state["outcomes"], axis=1)

    def infos(self, state: State) -> Mapping[str, np.ndarray]:
        """Return `objectives`, the reward as a vector, as environments of mo-gymnasium give it."""
        return {"objectives": self.objectives(state)}

    def terminated(self, state: State, task: Values) -> np.ndarray:
        """Return whether all steps are used up."""
        return state["steps"] >= self.horizon

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """The objectives, regret, and how varied the slates are."""
        return outcomes_of(self.slate_size)

    def measure_round(self, values: Values, number: int, played: Played) -> Mapping[str, np.ndarray]:
        """Return the outcomes of a round, by the tastes in force in each step."""
        return measure_session(self, values["taste"], played)

    # What references and measures may know.

    def expected_rewards(self, observations: np.ndarray, task: Values) -> np.ndarray:
        """Return the expected reward of each item on top of a slate, float64 [..., item].

        `observations` is [..., observation], and `taste` of `task` broadcasts against [..., factor]. In place k an item
        is worth `examination[k]` times that, whatever stands in the others. So the best slate has the best items in
        descending order.
        """
        contexts, weights = self.shown(observations)
        items = np.broadcast_to(np.arange(self.num_items), (*observations.shape[:-1], self.num_items))
        tastes = np.broadcast_to(task["taste"], (*observations.shape[:-1], self.factors))
        return _weigh(self.catalogue.expected_outcomes(tastes, contexts, items), weights[..., None, :])

    def expected_slate_rewards(self, observations: np.ndarray, slates: np.ndarray, task: Values) -> np.ndarray:
        """Return the expected reward of slates, float64 [...]. `slates` is [..., slot], also for single items."""
        worth = np.take_along_axis(self.expected_rewards(observations, task), slates, axis=-1)
        return (worth * first_shown(slates) * self.examination).sum(axis=-1)

    def shown(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the context [..., context number] and the weights [..., objective] that observations show, float64."""
        numbers = observations.astype(np.float64)
        size = self.context_size
        return numbers[..., :size], numbers[..., size : size + len(OBJECTIVES)]

    def slot_rewards(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """Return what each place of a slate earned, float64 [..., slot].

        `before` and `after` [..., observation] are the observations that the slate was chosen on, and that followed.
        """
        return _weigh(self.shown_outcomes(after), self.shown(before)[1][..., None, :])

    def shown_outcomes(self, observations: np.ndarray) -> np.ndarray:
        """Return the outcome of the last slate that observations show, float64 [..., slot, objective]."""
        told = observations[..., self.context_size + len(OBJECTIVES) :].astype(np.float64)
        return told.reshape(*observations.shape[:-1], self.slate_size, len(OBJECTIVES))

    def linear_rewards(self, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the expected reward of each item as a linear function of the taste: of the best linear model.

        Means [..., item] and slopes [..., item, factor]: `means + slopes @ taste` is close to `expected_rewards`, and
        the means are what an item earns of training's population in the context shown.
        """
        model = fit_linear_model(self.catalogue, Tastes(self.factors, 0.0, USUAL))
        return model.at(*self.shown(observations))

    def draw(self, axes: Axes, state: State, task: Values, world: int) -> None:
        """Draw the shelf: what each item is worth to the user now, and what became of the slate."""
        draw_shelf(axes, self, state, task, world)


def _weigh(outcomes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted sum over objectives, [...], of [..., objective], rounded the same for any shape."""
    weighted = outcomes * weights
    return weighted[..., 0] + weighted[..., 1] + weighted[..., 2]
