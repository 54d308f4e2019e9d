"""Small languages of own making: roots that all share, vowels and an ending of each, and words that some lack."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
from metarl.envs.language.phrases import Phrases

from metarl.families.load import load
from metarl.families.questions import require_questions
from metarl.trials.episodes import Episodes

CODES = [f"{letter}{other}" for letter in "bdfgk" for other in "ao"]
WORDS = [f"word {number}" for number in range(40)]


def translations(code: str) -> dict[str, str]:
    """Return a language."""
    roots, own = random.Random(0), random.Random(code)
    table, ending = str.maketrans("aeiou", "".join(own.sample("aeiou", 5))), own.choice(["", "sh", "lo", "ik"])
    words = {
        word: "".join(roots.choice("kmnprst") + roots.choice("aeiou") for _ in range(3)).translate(table) + ending
        for word in WORDS
    }
    return {word: words[word] for word in WORDS if own.random() < 0.8}


LANGUAGES = {code: translations(code) for code in CODES}


def make_phrases(folder: Path, languages: dict[str, dict[str, str]] = LANGUAGES, **settings: Any) -> Phrases:
    """Return the family of languages that are written to a folder."""
    folder.mkdir(exist_ok=True)
    for code, pairs in languages.items():
        lines = (f"{word}\t{translation}" for word, translation in pairs.items())
        (folder / f"{code}.tsv").write_text("\n".join(lines), encoding="utf-8")
    found = require_questions(load("phrases", folder=str(folder), **{"shots": 8, "queries": 4, **settings}))
    assert isinstance(found, Phrases)
    return found


def split(family: Phrases, name: str) -> list[str]:
    """Return the codes of the languages of a split."""
    return [family.pairs.languages[place] for place in family.pairs.shared[name]]


def shown(family: Phrases, pairs: list[tuple[str, str]]) -> Episodes:
    """Return a round of one task that shows pairs."""
    asked, right = (family.observe(side)[:, None, None] for side in zip(*pairs, strict=True))
    shape = asked.shape[:3]
    never = np.zeros(shape, dtype=bool)
    return Episodes(
        observations=asked,
        actions=right,
        rewards=np.zeros(shape),
        terminations=never,
        truncations=never,
        mask=np.ones(shape, dtype=bool),
        final_observations=asked[-1],
        successes=None,
        targets=right,
    )
