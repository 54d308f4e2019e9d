"""`metarl report`: one page on several evaluated runs."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import finite
from .parser import _add


def _add_report(commands: Any) -> None:
    parser = _add(
        commands, "report", _report, "write a page on evaluated runs: all seeds of a setting, settings side by side"
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder, evaluated before")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="PAGE",
        help="the page: .md, beside which three pictures go, .html, which holds everything in one file, or .tex: tables",
    )
    parser.add_argument("--title", metavar="TEXT", help="title of the page")
    parser.add_argument(
        "--threshold", type=finite, metavar="R", help="a return: show how many tasks reach it, and how soon"
    )
    parser.add_argument(
        "--normalize",
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="two rows of the page: show scores on the scale from the one, 0, to the other, 1, such as random and an oracle",
    )
    parser.add_argument(
        "--note", action="append", default=[], metavar="TEXT", help="a paragraph under it; may be repeated"
    )


def _report(arguments: argparse.Namespace) -> None:
    import shlex

    from ..base.files import require_writable
    from ..base.progress import say, warn
    from ..base.text import aligned
    from ..report.about import About
    from ..report.commands import portable
    from ..report.groups import group_runs
    from ..report.runs import read_runs
    from ..report.summary import summary_table
    from ..report.tables import Asked
    from ..report.write import page_path, write_results

    output = page_path(arguments.output)
    require_writable(output)
    runs, left_out = read_runs(arguments.runs)
    for each in left_out:
        warn(f"left out: {' '.join(each.why.split())}")
    groups = group_runs(runs)
    words = [portable(run) for run in arguments.runs]
    # Title and notes stand on the page itself.
    asked = [] if arguments.threshold is None else ["--threshold", f"{arguments.threshold:g}"]
    asked += ["--normalize", *arguments.normalize] if arguments.normalize else []
    again = shlex.join(["metarl", "report", *words, "-o", portable(arguments.output), *asked])
    tables = Asked(arguments.threshold, tuple(arguments.normalize) if arguments.normalize else None)
    write_results(groups, output, About(again, arguments.title, arguments.note, tables, left_out))
    say(f"{aligned(summary_table(groups).plain_rows())}\n\npage: {output}")
