"""N-way K-shot classification of texts."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from gymnasium import spaces
from pydantic import Field

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.batch import State
from metarl.families.data_files import adopt_data, same_digest
from metarl.families.examples import (
    Ways,
    classes_parameter,
    draw_answer,
    draw_examples,
    require_classes,
    require_examples,
    share_out,
    shuffle_places,
)
from metarl.families.family import register, required_package
from metarl.families.model_files import located
from metarl.families.question_batch import Questions
from metarl.families.questions import QuestionFamily
from metarl.families.spaces import Tokens
from metarl.families.task import Count, Measure, Parameter, Reveal, Values

from .files import KINDS, read_texts
from .glosses import find_nouns, noun_glosses
from .names import language_names
from .text_set import TextSet, decode_text, encode_texts, make_text_set

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from metarl.families.batch import Batch

Length = Annotated[int, Field(ge=1, le=10**4, strict=True)]
"""Bytes of a text."""
LEAST_NAMES, LEAST_GLOSSES = 30, 20
"""Fewest texts of a class that is not of a file."""
MOST_ROWS = 10
"""Most texts in a column of a picture."""
MOST_DRAWN = 24
"""Most letters of a text in a picture."""


@register("text-classes")
@dataclass(frozen=True)
class TextClasses(QuestionFamily):
    """Tell texts of a few new classes apart, after `shots` examples of each.

    | observation | meaning | range |
    |---|---|---|
    | 0 .. length - 1 | bytes of the text in UTF-8, zeros behind its end | 0 to 255 |

    | action | meaning | range |
    |---|---|---|
    | 0 | label of the text | 0 to ways - 1 |

    Reward: 1 for the right label, else 0; a round is measured by its mean, the accuracy. The first round of a trial
    has `shots` texts of each class, each later one `queries` others; the order is random. A third round and those
    after it may repeat texts of the second. A round terminates with its last text; then the labels are revealed.
    Task: `classes`, `ways` of the split's classes in random order; the place of a class is its label. Classes of
    validation and test are never trained on.

    The default texts are names of territories and languages, and their classes are the languages that the names are
    written in: those of Unicode's CLDR with Latin letters. Names that English has too are left out. `texts: glosses`
    takes definitions of WordNet's nouns, by the kind of thing that they define; `file` takes texts of your own. Needs
    `pip install babel`.
    """

    source = "Unicode CLDR, by babel.pocoo.org; Fellbaum, WordNet, 1998; Bao et al., Few-shot Text Classification with "
    source += "Distributional Signatures, ICLR 2020 (protocol); Santoro et al., ICML 2016 (stream)"
    requires = "babel"
    presets = {
        "5-way-1-shot": {},
        "5-way-5-shot": {"shots": 5},
        "stream": {"shots": 10, "queries": 10, "reveal": "step"},
    }
    shows_task = True  # to read the texts is the task
    draws_tasks = True
    measure = Measure("accuracy", per_step=True, percent=True)
    texts: Literal["names", "glosses"] = "names"
    """Texts where no `file` is given: names in many languages, or glosses of WordNet."""
    file: str = ""
    """Texts of your own, '' for `texts`: a CSV file with columns text and label, or JSON lines with these keys. A
    column `split` may say train, validation or test."""
    ways: Ways = 5
    """Classes of a task."""
    shots: Count = 1
    """Texts of each class in the first round."""
    queries: Count = 15
    """Texts of each class in each later round."""
    length: Length = 32
    """Bytes of a text that are shown."""
    reveal: Reveal = "round"
    """When the labels are shown."""
    digest: str = ""
    """Digest of the texts, '' for those that are there. A run keeps it, so that no test class becomes another."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "file", adopt_data(self.file, KINDS, "texts"))
        found = self.text_set
        digest = same_digest(self.digest, found.digest, f"the texts of {found.origin}", "install the version of before")
        object.__setattr__(self, "digest", digest)
        require_examples(found, self._shared, self.ways, self.shots + self.queries, "text")

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings: texts are found again."""
        return {name: value for name, value in self.__dict__.items() if name not in ("text_set", "_shared")}

    @functools.cached_property
    def text_set(self) -> TextSet:
        """The texts of all splits."""
        if self.file:
            return _texts_of_file(Path(located(self.file)), self.length)
        if self.texts == "glosses":
            return _glosses(find_nouns(), self.length)
        required_package(type(self))
        return _names(self.length)

    @functools.cached_property
    def _shared(self) -> Mapping[str, tuple[int, ...]]:
        return share_out(self.text_set)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The classes of a task, by their places among all."""
        return classes_parameter(self._shared, self.ways)

    @property
    def observation_space(self) -> Tokens:
        """A text."""
        return Tokens(self.length, 256)

    @property
    def action_space(self) -> spaces.Discrete:
        """The labels."""
        return spaces.Discrete(self.ways)

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch. Raises MetarlError for classes that are not there, or twice in a task."""
        require_classes(values["classes"], len(self.text_set.classes))
        return super().batch(values, threads=threads, render_mode=render_mode)

    def num_questions(self, number: int) -> int:
        """Return `ways` times `shots` for the first round, and `ways` times `queries` for others."""
        return self.ways * (self.queries if number else self.shots)

    def prepare(self, task: Values, streams: Streams) -> State:
        """Return an order of each class's texts. Its first ones are the examples."""
        counts = self.text_set.counts
        return {"order": shuffle_places(counts[task["classes"].astype(np.int64)], int(counts.max()), streams)}

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        """Return the examples of each class, or texts that are none, in random order."""
        classes, found = task["classes"].astype(np.int64), self.text_set
        drawn = draw_examples(trial["order"], found.counts[classes], number, self.shots, self.queries, streams)
        rows = np.take_along_axis(found.firsts[classes], drawn.labels, axis=1) + drawn.places
        return Questions(found.tokens[rows].astype(self.observation_space.dtype), drawn.labels)

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return 1 for a right label, 0 for a wrong one."""
        return (answers == targets).astype(np.float64)

    def observe(self, texts: Sequence[str]) -> np.ndarray:
        """Return texts of your own as observations, [text, length], for `Policy.learn` and `answer`.

        What is beyond `length` bytes of UTF-8 is cut off. Raises MetarlError for an empty text.
        """
        if "" in texts:
            raise MetarlError(f"text {list(texts).index('') + 1} of {len(texts)} is empty; leave it out")
        return encode_texts(texts, self.length).astype(self.observation_space.dtype)

    def tell(self, observation: Any) -> str:
        """Return the text."""
        return decode_text(observation)

    def tell_answer(self, answer: np.ndarray) -> str:
        """Return the label."""
        return f"label {int(answer)}"

    def draw(self, axes: Axes, observation: Any, answer: np.ndarray | None, target: np.ndarray) -> None:
        """Draw the text with its label, and the answer."""
        axes.text(0.5, 0.5, decode_text(observation), ha="center", va="center", transform=axes.transAxes, wrap=True)
        draw_answer(axes, answer, target)

    def draw_task(self, figure: SubFigure, task: Mapping[str, Any], support: Questions, queries: Questions) -> None:
        """Draw the examples of each label, then texts that are asked, with the answers where there are any."""
        for axes, asked, told in zip(figure.subplots(1, 2), (support, queries), ("examples", "asked"), strict=True):
            lines = _lines(asked, max(1, MOST_ROWS // self.ways))[:MOST_ROWS]
            axes.set_title(told, size=10)
            axes.set_axis_off()
            axes.set(xlim=(0, 1), ylim=(MOST_ROWS, 0))
            for row, (line, color) in enumerate(lines):
                axes.text(0.0, row + 0.5, line, size=10, va="center", color=color)


def _lines(asked: Questions, most: int) -> list[tuple[str, str]]:
    """Return the first texts of each label, each behind its label, and their colours; of a wrong answer, its label."""
    lines = []
    for label in np.unique(asked.targets):
        for place in np.flatnonzero(asked.targets == label)[:most]:
            text = decode_text(asked.observations[place])
            line = f"{label}  {text[: MOST_DRAWN - 1] + '…' if len(text) > MOST_DRAWN else text}"
            if asked.answers is None:
                lines.append((line, "black"))
            elif asked.answers[place] == label:
                lines.append((line, "tab:green"))
            else:
                lines.append((f"{line}  (answer {asked.answers[place]})", "tab:red"))
    return lines


# A family is made anew for every command, check and worker; its texts are read once in a process.
_texts_of_file = functools.lru_cache(maxsize=4)(read_texts)


@functools.lru_cache(maxsize=4)
def _names(length: int) -> TextSet:
    return make_text_set("the names of babel", language_names(), length, least=LEAST_NAMES)


@functools.lru_cache(maxsize=4)
def _glosses(path: Path, length: int) -> TextSet:
    return make_text_set(f"WordNet's {path}", noun_glosses(path), length, least=LEAST_GLOSSES)
