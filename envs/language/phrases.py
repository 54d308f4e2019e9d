"""Phrases to be translated into a language, or from it, of which few pairs are known."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from metarl.base.errors import MetarlError
from metarl.base.settings import shorten
from metarl.base.streams import Streams
from metarl.base.text import with_noun
from metarl.families.batch import State
from metarl.families.family import register, required_package
from metarl.families.in_turn import InTurn
from metarl.families.outcomes import Outcome, Played
from metarl.families.question_batch import Questions
from metarl.families.questions import QuestionFamily
from metarl.families.spaces import Tokens
from metarl.families.task import SPLITS, Count, Measure, Parameter, Reveal, Values

from .folders import read_folder
from .installed import Scripts, messages_in_languages, names_in_languages
from .likeness import corpus_bleu, corpus_chrf, sentence_chrf
from .pair_set import Direction, PairSet, Rule, make_pair_set
from .pictures import draw_pair, draw_pairs
from .sequences import are_equal, draw_different, draw_others, mean_over, until_end
from .vocabularies import Kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import SubFigure

    from metarl.families.batch import Batch

Length = Annotated[int, Field(ge=1, le=10**4, strict=True)]
"""Tokens of a phrase."""
Size = Annotated[int, Field(ge=8, le=30_000, strict=True)]
"""Tokens of a vocabulary."""


@register("phrases")
@dataclass(frozen=True)
class Phrases(QuestionFamily):
    """Translate phrases into a language that is new, after `shots` pairs of English and that language.

    | observation | meaning | range |
    |---|---|---|
    | 0 .. length - 1 | tokens of the phrase, zeros behind its end | 0 to 255, or the vocabulary's last |

    | action | meaning | range |
    |---|---|---|
    | 0 .. length - 1 | tokens of the translation; the first zero ends it | the same |

    Reward: chrF of the answer, from 0 to 1: how far its pieces of one to six letters are those of the right
    translation. A round is measured by its mean. The first round of a trial has `shots` pairs, each later one `queries`
    phrases of the others; it terminates with its last one, and then the right translations are revealed. Task:
    `language`. A tenth of the languages is for tests and a tenth for validation, by a hash of their codes; related
    ones, such as pt and pt_BR, stay together. Pairs with a side of more than `length` tokens are left out.

    The default phrases are the names of territories, languages, scripts and currencies in the languages of Unicode's
    CLDR that write Latin letters. `phrases: messages` takes the messages of an installed Django, and `folder` phrases
    of your own. Needs `pip install sacrebleu babel`; messages need Django and polib, and subwords sentencepiece.
    """

    source = "Unicode CLDR, by babel.pocoo.org; Django's catalogues; Gu et al., Meta-Learning for Low-Resource Neural "
    source += "Machine Translation, EMNLP 2018 (languages as tasks); Post, A Call for Clarity, WMT 2018 (sacrebleu)"
    requires = "sacrebleu"
    presets = {
        "50-shot": {},
        "10-shot": {"shots": 10},
        "to-english": {"direction": "to-english"},
    }
    shows_task = True  # phrases of a language are the task
    draws_tasks = True
    measure = Measure("chrF", per_step=True, percent=True)
    phrases: Literal["names", "messages"] = "names"
    """Phrases where no `folder` is given: names in languages, or messages of Django."""
    folder: str = ""
    """Folder of your own phrases, '' for `phrases`. Each language is a catalogue xx.po, catalogues xx/LC_MESSAGES/*.po,
    or a table xx.tsv of lines with an English text, a tab, and its translation."""
    scripts: Scripts = "latin"
    """Languages of `names`: those that write Latin letters, or all."""
    direction: Direction = "from-english"
    """Whether English is given or asked for."""
    vocabulary: Kind = "bytes"
    """Tokens: bytes of UTF-8, characters, or subwords. The last two are learned from training languages."""
    vocabulary_size: Size = 1000
    """Most tokens of a vocabulary that is learned."""
    length: Length = 32
    """Most tokens of a phrase."""
    shots: Count = 50
    """Pairs of the first round."""
    queries: Count = 20
    """Phrases of each later round."""
    reveal: Reveal = "round"
    """When the right translations are shown."""
    digest: str = ""
    """Digest of the phrases, '' for those that are there. A run keeps it, so that no test language becomes another."""

    def __post_init__(self) -> None:
        if self.folder:  # a run is used from other folders too
            object.__setattr__(self, "folder", str(Path(self.folder).expanduser().absolute()))
        required_package(type(self))
        found = self.pairs
        if self.digest not in ("", found.digest):
            raise MetarlError(
                f"digest is {self.digest!r}, and the phrases of {found.origin} have {found.digest!r}; restore those of "
                "before, or leave digest out to take the phrases that are there"
            )
        object.__setattr__(self, "digest", found.digest)
        few, needed = int(np.argmin(found.counts)), self.shots + self.queries
        if found.counts[few] < needed:
            count = with_noun(int(found.counts[few]), "pair")
            raise MetarlError(
                f"language {found.languages[few]!r} of {found.origin} has {count} of at most {self.length} tokens, and "
                f"shots + queries is {needed}; raise length, add pairs, or lower shots or queries"
            )

    def __getstate__(self) -> dict[str, Any]:
        """Return the settings: phrases are found again."""
        return {name: value for name, value in self.__dict__.items() if name != "pairs"}

    @functools.cached_property
    def pairs(self) -> PairSet:
        """The pairs of all languages."""
        rule = Rule(self.direction, self.length, self.vocabulary, self.vocabulary_size)
        if self.folder:
            return _pairs_of_folder(self.folder, _fingerprint(Path(self.folder)), rule)
        return _messages(rule) if self.phrases == "messages" else _names(self.scripts, rule)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The language of a task."""
        train, validation, test = (InTurn(tuple(map(float, self.pairs.shared[split]))) for split in SPLITS[:-1])
        return {"language": Parameter(train, None, "", "place of the language among all", validation, test)}

    @property
    def observation_space(self) -> Tokens:
        """A phrase."""
        return Tokens(self.length, self.pairs.vocabulary.size)

    @property
    def action_space(self) -> Tokens:
        """A translation."""
        return Tokens(self.length, self.pairs.vocabulary.size)

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch. Raises MetarlError for languages that are not there."""
        known = np.isin(values["language"], np.arange(len(self.pairs.languages)))
        if not known.all():
            wrong, last = values["language"][int(np.argmin(known))], len(self.pairs.languages) - 1
            raise MetarlError(f"language {wrong:g} is no task; it must be a whole number from 0 to {last}")
        return super().batch(values, threads=threads, render_mode=render_mode)

    def num_questions(self, number: int) -> int:
        """Return `shots` for the first round and `queries` for others."""
        return self.queries if number else self.shots

    def prepare(self, task: Values, streams: Streams) -> State:
        """Return which of the language's pairs are the support, int64 [world, shots]."""
        return {"support": draw_different(self.pairs.counts[task["language"].astype(np.int64)], self.shots, streams)}

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        """Return the support, or phrases that are not in it, in random order."""
        languages, found = task["language"].astype(np.int64), self.pairs
        counts, places = found.counts[languages], trial["support"]
        if number:
            places = draw_others(counts, places, self.queries, streams)
        rows = found.firsts[languages][:, None] + places
        dtype = self.observation_space.dtype
        return Questions(found.sources[rows].astype(dtype), found.targets[rows].astype(dtype))

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the chrF of each answer, from 0 to 1; what stands behind the first zero does not count."""
        answers, targets = until_end(answers), until_end(targets)
        scores = are_equal(answers, targets).astype(np.float64)
        for at in zip(*np.nonzero((scores == 0) & (answers != 0).any(axis=-1)), strict=True):
            scores[at] = sentence_chrf(self._text(answers[at]), self._text(targets[at]))
        return scores

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """Measures of a language's answers together, and exact match."""
        return {
            "corpus chrF": Outcome("chrF of all answers in a language together, 0 to 100; higher is better."),
            "BLEU": Outcome("BLEU of all answers in a language together, 0 to 100; higher is better."),
            "exact match": Outcome("Answers that are wholly right; higher is better.", percent=True),
        }

    def measure_round(self, values: Values, number: int, played: Played) -> Mapping[str, np.ndarray]:
        """Return the outcomes of a round, float64 [task]: means over replicas."""
        assert played.targets is not None  # the family knows them
        found: dict[str, np.ndarray] = {
            "exact match": mean_over(are_equal(played.actions, played.targets), played.mask)
        }
        answers, right = until_end(played.actions), until_end(played.targets)
        chrf, bleu = np.zeros((2, *played.mask.shape[1:]))
        for at in np.ndindex(chrf.shape):
            steps = played.mask[(slice(None), *at)]
            texts = [[self._text(row) for row in side[(steps, *at)]] for side in (answers, right)]
            chrf[at], bleu[at] = corpus_chrf(*texts), corpus_bleu(*texts)
        return found | {"corpus chrF": chrf.mean(axis=1), "BLEU": bleu.mean(axis=1)}

    def observe(self, texts: Sequence[str]) -> np.ndarray:
        """Return texts as tokens, zeros behind them, [text, length]: phrases or translations of your own.

        For `Policy.learn`, which takes both, and `answer`. `tell_answer` is the way back. Raises MetarlError for a text
        that has no token, or more than `length`.
        """
        composed = [unicodedata.normalize("NFC", text) for text in texts]
        found = np.zeros((len(composed), self.length), dtype=self.observation_space.dtype)
        for number, tokens in enumerate(self.pairs.vocabulary.encode(composed)):
            if not 0 < len(tokens) <= self.length:
                raise MetarlError(
                    f"text {shorten(texts[number])} has {with_noun(len(tokens), 'token')}; it must have from 1 to "
                    f"{self.length}, the family's length"
                )
            found[number, : len(tokens)] = tokens
        return found

    def _text(self, tokens: np.ndarray) -> str:
        """Return the text of tokens [length] up to their end."""
        return self.pairs.vocabulary.decode([int(token) for token in tokens if token])

    def tell(self, observation: Any) -> str:
        """Return the phrase."""
        return self._text(until_end(np.asarray(observation)))

    def tell_answer(self, answer: np.ndarray) -> str:
        """Return the translation up to its end."""
        return self.tell(answer)

    def draw(self, axes: Axes, observation: Any, answer: np.ndarray | None, target: np.ndarray) -> None:
        """Draw a phrase with the answer and the right translation."""
        draw_pair(axes, (self.tell, self.tell_answer), observation, answer, target)

    def draw_task(self, figure: SubFigure, task: Mapping[str, Any], support: Questions, queries: Questions) -> None:
        """Draw pairs that are shown, then phrases that are asked, with the answers where there are any."""
        language = self.pairs.languages[int(task["language"])]
        draw_pairs(figure, (self.tell, self.tell_answer), support, queries, f" of {language}")


def _fingerprint(folder: Path) -> str:
    """Return a word that changes with the files of a folder."""
    files = sorted(path for path in folder.glob("**/*") if path.suffix in (".po", ".tsv"))
    return repr([(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files])


# A family is made anew for every command, check and worker; its phrases are read once in a process.
@functools.lru_cache(maxsize=4)
def _pairs_of_folder(folder: str, fingerprint: str, rule: Rule) -> PairSet:
    return make_pair_set(f"folder {folder!r}", read_folder(Path(folder)), rule)


@functools.lru_cache(maxsize=4)
def _names(scripts: Scripts, rule: Rule) -> PairSet:
    return make_pair_set("the names of babel", names_in_languages(scripts), rule)


@functools.lru_cache(maxsize=4)
def _messages(rule: Rule) -> PairSet:
    return make_pair_set("the messages of Django", messages_in_languages(), rule)
