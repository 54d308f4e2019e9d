"""Commands to be carried out whose primitive words mean other actions in each task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import Field

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.distributions import Choice
from metarl.families.family import register
from metarl.families.in_turn import InTurn
from metarl.families.outcomes import Outcome, Played
from metarl.families.question_batch import Questions
from metarl.families.questions import QuestionFamily
from metarl.families.spaces import Tokens
from metarl.families.task import Count, Measure, Parameter, Reveal, Values

from .commands import Commands, draw_sequences, pseudo_table, scan_table
from .meanings import NUM_USED, Borrowed, are_meanings, share_permutations, with_others
from .pictures import draw_pair, draw_pairs
from .sequences import are_equal, draw_different, mean_over, right_share, until_end

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from metarl.families.batch import Batch

Others = Annotated[int, Field(ge=0, le=1000, strict=True)]
"""Words beside SCAN's own."""
SHORT, LONG, LONGEST = 12, 22, 48
"""Protocol `length`: training shows commands of fewer actions than the first and asks others of at most the second; the
test shows commands of at most the second and asks longer ones. SCAN's longest has as many as the third."""


class Pool(NamedTuple):
    """Commands that a round draws from: neighbours in an order of all."""

    first: np.ndarray
    """Place of the first. int64 [world]"""
    size: np.ndarray
    """Their number. int64 [world]"""


@register("scan")
@dataclass(frozen=True)
class Scan(QuestionFamily):
    """Carry out commands such as `jump twice after look left`, after a few pairs that show what words mean.

    | observation | meaning | range |
    |---|---|---|
    | 0 .. 8 | words of the command, zeros behind its end | 0 to 19 |

    | action | meaning | range |
    |---|---|---|
    | 0 .. 47 | actions in order; the first zero ends them | 0 to 19 |

    Reward: 1 where the whole sequence is right, else 0; a round is measured by its mean. Words and actions share one
    table of tokens: 13 words of SCAN, then its 6 actions. Terminates with the last command of a round; then the right
    sequences are revealed. Task: `meanings`, the action of each of `walk`, `look`, `run` and `jump`: a permutation.
    SCAN's own meanings are the test; three other permutations are for validation, and 20 for training.

    `protocol: add-jump` shows `shots` of the four primitives alone, and asks for composed commands, of which there are
    20,906. The paper's test asks for those with `jump`, the outcome `with jump`.

    `protocol: mutual-exclusivity` has four pseudo-words that mean colours. It shows three of them, and asks for
    sequences of two to six words, so that what is left over tells the fourth. Observations are then 6 tokens, and
    answers too; three permutations are for tests.

    `protocol: length` shows `shots` whole commands, and asks for longer ones. Training and validation show commands of
    fewer than 12 actions and ask for 12 to 22; tests show up to 22 and ask for 24 to 48 (`longest`). In training,
    four of `4 + others` words mean four of as many actions.
    """

    source = "Lake and Baroni, Generalization without Systematicity, ICML 2018 (SCAN); Lake, Compositional "
    source += "generalization through meta sequence-to-sequence learning, NeurIPS 2019; "
    source += "github.com/facebookresearch/meta_seq2seq (protocols)"
    presets = {
        "add-jump": {},
        "mutual-exclusivity": {"protocol": "mutual-exclusivity", "shots": 3},
        "length": {"protocol": "length", "shots": 100, "others": 20},
    }
    shows_task = True  # which words a task uses is seen; what they mean is not
    draws_tasks = True
    measure = Measure("exact match", per_step=True, percent=True)
    protocol: Literal["add-jump", "mutual-exclusivity", "length"] = "add-jump"
    """Which commands are shown and asked."""
    shots: Count = NUM_USED
    """Pairs of the first round."""
    queries: Count = 20
    """Commands of each later round."""
    others: Others = 0
    """Primitive words, and as many actions, that training has beside SCAN's own, in protocol `length`."""
    reveal: Reveal = "round"
    """When the right sequences are shown."""

    def __post_init__(self) -> None:
        if self.others and self.protocol != "length":
            raise MetarlError(f"others is {self.others}, and protocol {self.protocol!r} has none; set protocol: length")
        if self.protocol != "length" and self.shots > NUM_USED:
            raise MetarlError(f"shots is {self.shots}, and there are {NUM_USED} primitive words; lower shots")
        for what, pool in (("shots", 0), ("queries", 1)):
            asked, least = getattr(self, what), min(self._pool_sizes(pool))
            if asked > least:
                raise MetarlError(f"{what} is {asked:,}, and there are {least:,} such commands; lower {what}")

    def _pool_sizes(self, number: int) -> list[int]:
        """Return how many commands a round draws from, in training and in tests."""
        if self.protocol != "length":
            return [len(self.table.sources) - NUM_USED if number else NUM_USED]
        return self._pool(number, np.array([LONG, LONGEST])).size.tolist()

    @property
    def table(self) -> Commands:
        """All commands."""
        return pseudo_table() if self.protocol == "mutual-exclusivity" else scan_table(self.others)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """Meanings, and in protocol `length` the actions of the longest command that is asked."""
        shared = share_permutations(3 if self.protocol == "mutual-exclusivity" else 1)
        train, validation, test = (InTurn(with_others(part, self.others)) for part in shared)
        usual = Borrowed(self.others) if self.others else train
        meaning = "action of each primitive word"
        found = {"meanings": Parameter(usual, None, "", meaning, validation, test)}
        if self.protocol == "length":
            told = "actions of the longest command that may be asked"
            found["longest"] = Parameter(Choice((float(LONG),)), None, "", told, None, Choice((float(LONGEST),)))
        return found

    @property
    def observation_space(self) -> Tokens:
        """The words of a command."""
        return Tokens(self.table.sources.shape[1], len(self.table.tokens))

    @property
    def action_space(self) -> Tokens:
        """A sequence of actions."""
        return Tokens(self.table.targets.shape[1], len(self.table.tokens))

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch. Raises MetarlError for meanings that are none, and another longest command."""
        if not (known := are_meanings(values["meanings"])).all():
            wrong = values["meanings"][int(np.argmin(known))].tolist()
            last = NUM_USED + self.others - 1
            raise MetarlError(
                f"meanings {wrong} are no task; give four words different numbers from 0 to {last}, and others -1"
            )
        longest = values.get("longest", np.array([LONG]))
        if not (known := np.isin(longest, (LONG, LONGEST))).all():
            raise MetarlError(f"longest is {longest[int(np.argmin(known))]:g}; it must be {LONG} or {LONGEST}")
        return super().batch(values, threads=threads, render_mode=render_mode)

    def num_questions(self, number: int) -> int:
        """Return `shots` for the first round and `queries` for others."""
        return self.queries if number else self.shots

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        """Return commands in random order: those that show meanings first, then others."""
        sources, targets = self.table.told(self._rows(task, number, streams), task["meanings"])
        return Questions(sources.astype(self.observation_space.dtype), targets.astype(self.action_space.dtype))

    def _rows(self, task: Values, number: int, streams: Streams) -> np.ndarray:
        """Return the commands of a round, int64 [world, question]."""
        size, worlds = self.num_questions(number), len(task["meanings"])
        if self.protocol == "length":
            pool = self._pool(number, task["longest"])
            return self.table.by_length[pool.first[:, None] + draw_different(pool.size, size, streams)]
        if number == 0:
            return draw_different(np.full(worlds, NUM_USED), size, streams)
        if self.protocol == "mutual-exclusivity":
            return draw_sequences(self.table.sources, size, streams)
        return NUM_USED + draw_different(np.full(worlds, len(self.table.sources) - NUM_USED), size, streams)

    def _pool(self, number: int, longest: np.ndarray) -> Pool:
        """Return the commands of protocol `length`, as places in `Commands.by_length`."""
        is_test = longest == LONGEST
        at_most = np.bincount(self.table.lengths, minlength=LONGEST + 1).cumsum()
        first, middle = (
            np.where(is_test, at_most[LONG], at_most[SHORT - 1]),
            np.where(is_test, at_most[-1], at_most[LONG]),
        )
        return Pool(first, middle - first) if number else Pool(np.zeros_like(first), first)

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return 1 for a right sequence, 0 for another; what stands behind the first zero does not count."""
        return are_equal(answers, targets).astype(np.float64)

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """Right tokens, and SCAN's commands with `jump`."""
        found = {"tokens": Outcome("Right tokens, of those of the longer sequence; higher is better.", percent=True)}
        if self.protocol != "mutual-exclusivity":
            found["with jump"] = Outcome("Exact match of commands with jump; higher is better.", percent=True)
        return found

    def measure_round(self, values: Values, number: int, played: Played) -> Mapping[str, np.ndarray]:
        """Return the outcomes of a round, float64 [task]."""
        assert played.targets is not None  # the family knows them
        found = {"tokens": mean_over(right_share(played.actions, played.targets), played.mask)}
        if "with jump" in self.outcomes:
            has_jump = (played.observations == self.table.tokens.index("jump")).any(axis=-1)
            found["with jump"] = mean_over(played.rewards, played.mask & has_jump)
        return found

    def tell(self, observation: Any) -> str:
        """Return the words of a command."""
        return " ".join(self.table.tokens[int(token)] for token in until_end(np.asarray(observation)) if token)

    def tell_answer(self, answer: np.ndarray) -> str:
        """Return actions up to their end."""
        return self.tell(answer)

    def draw(self, axes: Axes, observation: Any, answer: np.ndarray | None, target: np.ndarray) -> None:
        """Draw a command with the answer and the right actions."""
        draw_pair(axes, (self.tell, self.tell_answer), observation, answer, target)

    def draw_task(self, figure: SubFigure, task: Mapping[str, Any], support: Questions, queries: Questions) -> None:
        """Draw pairs that are shown, then commands that are asked, with the answers where there are any."""
        draw_pairs(figure, (self.tell, self.tell_answer), support, queries)
