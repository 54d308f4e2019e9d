"""`metarl report`: one page on several evaluated runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ..base.errors import MetarlError
from .arguments import add_quiet_option, finite
from .parser import add_command


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "report",
        run,
        "write a page on evaluated runs: the seeds of a setting together, settings side by side",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folder of an evaluated run, or of several runs")
    parser.add_argument(
        "-o",
        "--output",
        metavar="PAGE",
        help="the page: .md with three pictures beside it, .html in one file, or .tex with the tables alone; without "
        "it the summary is printed and nothing written",
    )
    parser.add_argument("--title", metavar="TEXT", help="title of the page")
    parser.add_argument(
        "--threshold",
        type=finite,
        metavar="R",
        help="show how many tasks reach return R, or accuracy R in percent, and how soon",
    )
    parser.add_argument(
        "--normalize",
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="show scores on a scale with row LOW of the page at 0 and row HIGH at 1, such as random and an oracle",
    )
    parser.add_argument(
        "--note",
        action="append",
        default=[],
        metavar="TEXT",
        help="paragraph below the title, which may link to other pages; may be repeated",
    )
    add_quiet_option(parser)


def run(arguments: argparse.Namespace) -> None:
    """Write the page, if one is asked for, and print its summary."""
    from ..base.files import require_writable
    from ..base.meter import meter
    from ..base.progress import say, warn
    from ..base.text import align_columns
    from ..report.about import About
    from ..report.groups import group_runs
    from ..report.runs import find_runs, read_runs
    from ..report.summary import summary_table
    from ..report.tables import Asked
    from ..report.write import page_path, write_results

    if arguments.normalize and arguments.normalize[0] == arguments.normalize[1]:
        raise MetarlError(f"--normalize is {arguments.normalize[0]!r} twice; name one row for 0 and another for 1")
    output = page_path(arguments.output) if arguments.output else None
    if output:
        require_writable(output)
    paths = find_runs(arguments.runs)
    with meter("report", shown=not arguments.quiet) as report:
        runs, left_out = read_runs(paths, report)
        report(0, 0)  # how long the page takes is not known
        for each in left_out:
            warn(f"left out: {each.why}")
        groups = group_runs(runs)
        tables = Asked(arguments.threshold, tuple(arguments.normalize) if arguments.normalize else None)
        if output:
            again = _command(arguments, paths)
            write_results(groups, output, About(again, arguments.title, arguments.note, tables, left_out))
    written = f"page: {output}" if output else "for the page with every task, curves and commands add: -o page.html"
    say(f"{align_columns(summary_table(groups).plain_rows())}\n\n{written}")


def _command(arguments: argparse.Namespace, paths: Sequence[str]) -> str:
    """Return the command that writes the page again. Title and notes stand on the page itself."""
    from ..base.terminal import shell_line
    from ..report.commands import portable

    asked = [] if arguments.threshold is None else ["--threshold", f"{arguments.threshold:g}"]
    asked += ["--normalize", *arguments.normalize] if arguments.normalize else []
    words = [portable(run) for run in paths]
    return shell_line(["metarl", "report", *words, "-o", portable(arguments.output), *asked])
