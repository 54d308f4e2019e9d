"""`metarl report`: one page on several evaluated runs."""

from __future__ import annotations

import argparse
from typing import Any

from .arguments import finite
from .parser import add_command


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "report",
        run,
        "write a page on evaluated runs: the seeds of a setting together, settings side by side",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of an evaluated run")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="PAGE",
        help="the page: .md with three pictures beside it, .html in one file, or .tex with the tables alone",
    )
    parser.add_argument("--title", metavar="TEXT", help="title of the page")
    parser.add_argument(
        "--threshold", type=finite, metavar="R", help="show how many tasks reach return R, and how soon"
    )
    parser.add_argument(
        "--normalize",
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="show scores on a scale with row LOW of the page at 0 and row HIGH at 1, such as random and an oracle",
    )
    parser.add_argument(
        "--note", action="append", default=[], metavar="TEXT", help="paragraph below the title; may be repeated"
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the page."""
    import shlex

    from ..base.files import require_writable
    from ..base.progress import say, warn
    from ..base.text import align_columns
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
    say(f"{align_columns(summary_table(groups).plain_rows())}\n\npage: {output}")
