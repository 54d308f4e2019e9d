"""The page of a study holds its figures, loads nothing, and shows hostile names as they are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from matplotlib import rcParams
from optuna.study import Study
from plotly.offline import get_plotlyjs

from metarl.search.page import write_page, write_pictures
from metarl.search.plan import Plan
from tests.search.small_studies import plan, played

SPACE = {"agent.inner_lr": [0.01, 0.1, 10.0], "agent.adapts": ["all", "last-layer"]}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Study]:
    place, asked = tmp_path_factory.mktemp("page"), {"sampler": "grid", "trials": 6, "seeds": 1}
    return plan(place, SPACE, **asked), played(place, SPACE, **asked)


def test_the_page_has_every_figure_and_loads_nothing(study: tuple[Plan, Study]) -> None:
    asked, found = study
    write_page(asked, found, None, "metarl tune 'a & b' </script> --storage x://me:secret@host/d")
    text = (asked.folder / "page.html").read_text()
    figures = json.loads(re.search(r'id="figures">(.*)</script>', text)[1])  # type: ignore[index]
    assert set(figures) == {"history", "curves", "importances", "parallel", "slices"}
    assert all(f'id="{key}"' in text for key in figures)
    assert text.count(get_plotlyjs()) == 1
    own = text.replace(get_plotlyjs(), "")
    assert "default-src 'none'" in own and not re.search(r"(src|href)=|https?:", own)
    assert "<b>4</b> finished" in text and "<b>2</b> failed" in text and "agent/loss is nan" in text
    assert "metarl tune &#x27;a &amp; b&#x27; &lt;/script&gt; --storage x://me:***@host/d" in text


def test_pictures_leave_the_style_of_other_figures_alone(study: tuple[Plan, Study]) -> None:
    before = dict(rcParams)
    write_pictures(*study)
    assert dict(rcParams) == before
    assert {path.name for path in study[0].folder.glob("*.png")} == {"history.png", "slices.png"}


def test_a_study_with_one_finished_trial_has_a_page_without_figures(tmp_path: Path) -> None:
    space = {"agent.inner_lr": [0.1]}
    asked = plan(tmp_path, space, trials=1)
    write_page(asked, played(tmp_path, space, trials=1), None, "metarl tune")
    text = (asked.folder / "page.html").read_text()
    assert 'id="figures">{}</script>' in text and "0.1" in text
