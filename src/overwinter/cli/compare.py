"""`overwinter compare A [B]`: what changed between two runs, and whether it is beyond the noise."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from overwinter.errors import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, OverwinterError

if TYPE_CHECKING:
    from overwinter.comparison import RunComparison
    from overwinter.config import Config, Project


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the sides, the limits and the output format."""
    side = "a revision, a DVC experiment, a point of a sweep, a run of the ledger (its first characters), `workspace`"
    parser.add_argument("a", metavar="A", help=f"the reference: {side}")
    parser.add_argument("b", metavar="B", nargs="?", default="workspace", help="the same; default: workspace")
    parser.add_argument(
        "--fail-if",
        action="append",
        default=[],
        metavar="EXPR",
        help="exit with 3 if this holds beyond the noise, such as 'energy_per_response > +5 %%' or 'accuracy < 0.97'",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="print JSON")
    output.add_argument("--markdown", action="store_true", help="print Markdown, for a pull request")


def run(arguments: argparse.Namespace) -> int:
    """Print the comparison; return 3 if a limit fails, 1 if one cannot be judged."""
    from overwinter.comparison import check_names, compare, judge, open_side, parse_limit, read_noises
    from overwinter.config import find_project
    from overwinter.ledger import Ledger, ledger_path

    limits = tuple(parse_limit(text) for text in arguments.fail_if)
    project = find_project()
    with Ledger.open(ledger_path(project.root)) as ledger:
        a, b = (open_side(project, name, ledger) for name in (arguments.a, arguments.b))
        noises = read_noises(ledger, evaluation=b.evaluation_stage or a.evaluation_stage)
    comparison = compare(a, b, noises=noises, workspace=_workspace(project))
    check_names(limits, comparison)
    if limits and b.stale:
        raise OverwinterError(f"limits cannot be judged on old outputs.\n{b.stale[0]}")
    comparison = replace(comparison, limits=tuple(judge(limit, comparison) for limit in limits))
    _print(comparison, arguments)
    return _exit_code(comparison)


def _workspace(project: Project) -> Config | None:
    from overwinter.config import load_config

    try:
        return load_config(project)
    except OverwinterError:
        return None  # it is only needed for a task of one's own


def _print(comparison: RunComparison, arguments: argparse.Namespace) -> None:
    from overwinter.records import to_json

    if arguments.json:
        print(json.dumps(to_json(comparison), indent=2))
    elif arguments.markdown:
        from overwinter.report import render_markdown

        print(render_markdown(comparison))
    else:
        from rich.console import Console

        from overwinter.report import print_comparison

        print_comparison(Console(), comparison)


def _exit_code(comparison: RunComparison) -> int:
    from overwinter.comparison.records import FAILS, NOT_JUDGED

    found = {limit.status for limit in comparison.limits}
    return EXIT_REFUSED if FAILS in found else EXIT_FAILED if NOT_JUDGED in found else EXIT_DONE
