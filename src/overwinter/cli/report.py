"""`overwinter report`: a page that shows where the joules went; of ledgers, what was spent by whom and when."""

from __future__ import annotations

import argparse
import json
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.cli.server_client import add_server_arguments, ask_metrics, ask_server
from overwinter.errors import EXIT_DONE, ConfigError
from overwinter.files import write_error
from overwinter.outputs import check_output, check_output_folder, output_path, write_output

if TYPE_CHECKING:
    from datetime import datetime

    from overwinter.report.page.content import ServedModel
    from overwinter.report.page.ledger_report import GroupCosts, LedgerReport

_PAGE = "report.html"
_TITLES = ("executions", "kWh", "kgCO2e", "cost", "measured", "wasted", "served kWh", "measure kWh", "watch kWh")
_OF_LEDGERS = ("by", "since", "until", "file")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files to write, and the period and the groups of a ledger's report."""
    parser.add_argument("-o", "--output", type=output_path, metavar="FILE", help=f"page to write; {_PAGE} by default")
    parser.add_argument("--open", action="store_true", help="open the page in a browser")
    parser.add_argument("--json", action="store_true", help="print what the page shows as JSON, and write no page")
    parser.add_argument(
        "--figures", type=Path, metavar="DIR", help="also write the charts as SVG and PNG into a folder"
    )
    parser.add_argument("--sweep", metavar="NAME", help="sweep to show; by default the latest")
    serving = parser.add_argument_group("of a running server")
    serving.add_argument("--served", action="store_true", help="also show its models: time asleep, wakes, joules saved")
    add_server_arguments(serving)
    ledgers = parser.add_argument_group("of a ledger instead of the pipeline's results")
    ledgers.add_argument("--ledger", action="store_true", help="print what was spent; with -o or --open, as a page")
    ledgers.add_argument("--by", metavar="KEYS", help="groups, such as project,person,month")
    ledgers.add_argument("--since", metavar="WHEN", help="from 2026-10-01, 2026-10-01T12:00 (UTC), or 30d (ago)")
    ledgers.add_argument("--until", metavar="WHEN", help="to before 2026-11-01")
    ledgers.add_argument(
        "--file", type=Path, action="append", metavar="PATH", help="ledger to read instead of the project's; repeatable"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write the page; return 0."""
    if arguments.ledger:
        return _report_ledgers(arguments)
    for name in _OF_LEDGERS:
        if getattr(arguments, name) is not None:
            raise ConfigError(f"--{name} is of a ledger's report. Add --ledger.")
    return _report_pipeline(arguments)


def _report_pipeline(arguments: argparse.Namespace) -> int:
    from overwinter.config import find_project
    from overwinter.report.page import read_content, render_page, write_figures
    from overwinter.report.page.drawing import require_available

    page = arguments.output or Path(_PAGE)
    if arguments.figures is not None:
        require_available()
        check_output_folder(arguments.figures)
    if not arguments.json:
        check_output(page)
    content = read_content(find_project(), sweep=arguments.sweep, served=_served(arguments))
    if arguments.figures is not None:
        try:
            write_figures(content, arguments.figures)
        except OSError as error:
            raise write_error(arguments.figures, error) from error
    if arguments.json:
        print(json.dumps(content.to_json(), indent=2))
    else:
        _write(page, render_page(content), opened=arguments.open)
    return EXIT_DONE


def _served(arguments: argparse.Namespace) -> tuple[ServedModel, ...]:
    if not arguments.served:
        return ()
    from overwinter.report.page.served import served_models

    return served_models(ask_server(arguments, "/overwinter/status"), ask_metrics(arguments))


def _report_ledgers(arguments: argparse.Namespace) -> int:
    from overwinter.ledger import Ledger, ledger_path
    from overwinter.report.page.ledger_report import group_keys, report_ledgers
    from overwinter.report.page.rendering import render_ledger

    if arguments.figures is not None or arguments.sweep is not None or arguments.served:
        raise ConfigError("--figures, --sweep and --served are of the pipeline's report. Leave out --ledger.")
    since, until = _period(arguments)
    page = arguments.output or (Path(_PAGE) if arguments.open else None)
    if page is not None and not arguments.json:
        check_output(page)
    paths = arguments.file
    if paths is None:
        paths = [ledger_path()]
        if not paths[0].exists():
            print(f"{paths[0]} is empty: nothing has run yet.")
            return EXIT_DONE
        with Ledger.open(paths[0]) as ledger:
            ledger.reap()
    report = report_ledgers(paths, by=group_keys(arguments.by or ""), since=since, until=until)
    if arguments.json:
        print(json.dumps(report.to_json(), indent=2))
        return EXIT_DONE
    _print_report(report)
    if page is not None:
        _write(page, render_ledger(report), opened=arguments.open)
    return EXIT_DONE


def _period(arguments: argparse.Namespace) -> tuple[datetime | None, datetime | None]:
    from overwinter.cli.ledger import moment

    since = moment(arguments.since, key="--since") if arguments.since else None
    until = moment(arguments.until, key="--until") if arguments.until else None
    if since is not None and until is not None and since >= until:
        raise ConfigError(f"--since {arguments.since} is not before --until {arguments.until}: nothing lies between.")
    return since, until


def _write(page: Path, content: str, *, opened: bool) -> None:
    write_output(page, content)
    print(page)
    if opened:
        webbrowser.open(page.absolute().as_uri())


def _print_report(report: LedgerReport) -> None:
    from overwinter.cli.ledger import print_table

    keys = report.by or ("",)
    rows = [[*each.keys, *_cells(each)] for each in report.groups if report.by]
    rows.append(["total", *[""] * (len(keys) - 1), *_cells(report.total)])
    print_table((*keys, *_TITLES), rows, right=_TITLES)
    if report.total.unknown:
        print(f"The energy of {report.total.unknown} of them is unknown; the sums leave them out.")


def _cells(each: GroupCosts) -> Sequence[str]:
    from overwinter.report.page.rendering import amount

    return [
        str(each.executions),
        f"{amount(each.energy_kwh)} ± {amount(each.uncertainty_kwh)}",
        amount(each.carbon_kg),
        ", ".join(f"{money:.4g} {currency}" for currency, money in sorted(each.cost.items())),
        f"{each.measured_share:.0%}",
        f"{each.wasted_share:.0%}",
        amount(each.served_kwh) if each.served_kwh else "",
        amount(each.commands_kwh) if each.commands_kwh else "",
        amount(each.scripts_kwh) if each.scripts_kwh else "",
    ]
