"""`overwinter ledger`: list, sum and export all past executions; merge the ledgers of several machines."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.errors import EXIT_DONE, ConfigError
from overwinter.units import format_duration, format_si, parse_quantity

if TYPE_CHECKING:
    from overwinter.ledger import ExecutionRecord, Filter, Ledger, Total

_DOCUMENTS = ("energy", "metrics", "inputs")  # nested: only in JSON
_TITLES = (
    "begun (UTC)",
    "stage",
    "status",
    "time",
    "energy",
    "measured",
    "carbon",
    "cost",
    "experiment",
    "run",
    "message",
)
_RIGHT = ("time", "energy", "measured", "carbon", "cost", "executions")
_LEAST_IMPORTANT = ("message", "run", "experiment", "measured", "cost", "carbon")  # left out on a narrow terminal
_MESSAGE_WIDTH = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the filters, the sums and the output format."""
    from overwinter.ledger import SUM_KEYS

    parser.add_argument(
        "words", nargs="*", metavar="merge FILE", help="copy the executions of these ledgers into the one of --into"
    )
    parser.add_argument("--into", type=Path, metavar="FILE", help="ledger to merge into, apart from any project's own")
    add_filters(parser)
    parser.add_argument("--by", choices=SUM_KEYS, help="print totals instead of single executions")
    parser.add_argument(
        "--wasted", action="store_true", help="only executions that no result in use and no checkpoint depends on"
    )
    parser.add_argument(
        "--to-target",
        action="store_true",
        help="only trainings with a target (train.to): the joules until it, least first",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--csv", action="store_true", help="comma-separated values on standard output")
    output.add_argument(
        "--json", action="store_true", help="JSON on standard output, with energy.json and metrics.json"
    )


def add_filters(parser: argparse.ArgumentParser) -> None:
    """Declare which executions of which ledger are meant."""
    from overwinter.ledger import STATUSES

    parser.add_argument("--stage", help="only this stage")
    parser.add_argument("--status", choices=STATUSES, help="only executions with this state")
    parser.add_argument(
        "--since", metavar="WHEN", help="only executions begun since 2026-07-01, 2026-07-01T12:00 (UTC), or 7d (ago)"
    )
    parser.add_argument("--experiment", metavar="NAME", help="only this DVC experiment")
    parser.add_argument("--run", dest="run_id", metavar="ID", help="only this run: its id, or the beginning of it")
    parser.add_argument("--project", metavar="NAME", help="only this project")
    parser.add_argument("--person", metavar="TEXT", help="only users whose name or address contains this")
    parser.add_argument("--host", metavar="NAME", help="only this machine")
    parser.add_argument("--file", metavar="PATH", help="ledger to read instead of the project's")


def run(args: argparse.Namespace) -> int:
    """Print the executions or their totals; return 0."""
    from overwinter.ledger import Ledger, totals, wasted_in

    if args.words or args.into is not None:
        return _merge(args.words, args.into)
    path = _ledger_file(args.file)
    with Ledger.open(path) as ledger:
        ledger.reap()
        everything = ledger.executions()
        records = selected(ledger, args, documents=args.json or args.to_target)
    vain = {record.id for record in wasted_in(path.absolute().parent, everything)}
    if args.wasted:
        records = [record for record in records if record.id in vain]
    sums = totals(records, args.by) if args.by else None
    if args.to_target:
        from overwinter.cli.ledger_targets import print_targets

        print_targets(records, path, as_json=args.json)
    elif args.json:
        print(json.dumps(_document(records, sums, vain), indent=2))
    elif args.csv:
        _write_csv(records, sums, vain)
    elif not records:
        print(f"{path} holds no such execution." if everything else f"{path} is empty: nothing has run yet.")
    else:
        _print_tables(records, sums, vain)
    return EXIT_DONE


def selected(ledger: Ledger, args: argparse.Namespace, *, documents: bool) -> list[ExecutionRecord]:
    """Return the executions that the filters select, oldest first."""
    records = ledger.executions(_filter(args), documents=documents)
    if args.run_id:
        records = [record for record in records if record.run_id.startswith(args.run_id)]
    if args.person:
        records = [record for record in records if args.person.casefold() in (record.person or "").casefold()]
    return records


def open_ledger(args: argparse.Namespace) -> Ledger:
    """Open the ledger that the filters name, after closing the executions of killed processes."""
    from overwinter.ledger import Ledger

    ledger = Ledger.open(_ledger_file(args.file))
    ledger.reap()
    return ledger


def _merge(words: Sequence[str], into: Path | None) -> int:
    from overwinter.ledger import merge_ledgers

    if not words or words[0] != "merge":
        raise ConfigError(f"{(words or ['--into'])[0]!r}: write `overwinter ledger merge FILE ... --into FILE`.")
    if len(words) < 2 or into is None:
        raise ConfigError("name the ledgers and the file to merge them into: `overwinter ledger merge A B --into C`.")
    for each in merge_ledgers([Path(word) for word in words[1:]], into):
        print(f"{each.source}: {each.added} added, {each.updated} updated, {each.known} known")
        if each.newer:
            print(f"{each.source} is of a newer version of Overwinter; what only that version records is left out.")
    return EXIT_DONE


def _ledger_file(given: str | None) -> Path:
    from overwinter.ledger import ledger_path

    if given is None:
        return ledger_path()
    if not Path(given).is_file():
        raise ConfigError(f"--file {given} does not exist. Name a ledger, such as .overwinter/ledger.sqlite.")
    return Path(given)


def _filter(args: argparse.Namespace) -> Filter:
    from overwinter.ledger import Filter

    return Filter(
        stage=args.stage,
        status=args.status,
        experiment=args.experiment,
        project=args.project,
        host=args.host,
        since_utc=moment(args.since, key="--since") if args.since else None,
    )


def moment(text: str, *, key: str) -> datetime:
    """Return the time that a date, a time or an age means.

    Args:
        text: `2026-07-01`, `2026-07-01T12:00` (UTC), or `7d` (ago).
        key: The option, for error messages.

    Raises:
        ConfigError: it is none of these.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            age = parse_quantity(text, key=key, dimensions=("time",))
            return datetime.now(UTC) - timedelta(seconds=age.value)
        except (ConfigError, OverflowError):
            ways = "a date (2026-07-01), a time (2026-07-01T12:00), or an age (7d)"
            raise ConfigError(f"{key} {text!r} is not a time. Write {ways}.") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _document(records: Sequence[ExecutionRecord], sums: Sequence[Total] | None, vain: set[str]) -> dict[str, Any]:
    from overwinter.ledger import total

    listed = {"executions": [_flat(record, vain) for record in records]}
    if sums is not None:
        listed = {"sums": [asdict(each) for each in sums]}
    lost = [record for record in records if record.id in vain]
    stages, commands = _by_kind(records)
    return {
        **listed,
        "total": asdict(total("all", stages)),
        "commands": asdict(total("measured commands", commands)),
        "wasted": asdict(total("wasted", lost)),
    }


def _flat(record: ExecutionRecord, vain: set[str]) -> dict[str, Any]:
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    plain = {name: each.isoformat() if isinstance(each, datetime) else each for name, each in values.items()}
    return {**plain, "wasted": record.id in vain}


def _write_csv(records: Sequence[ExecutionRecord], sums: Sequence[Total] | None, vain: set[str]) -> None:
    if sums is not None:
        rows = [{**asdict(each), "cost": _money(each.cost)} for each in sums]
        names = [field.name for field in fields(sums[0])] if sums else []
    else:
        from overwinter.ledger import ExecutionRecord

        names = [field.name for field in fields(ExecutionRecord) if field.name not in _DOCUMENTS] + ["wasted"]
        rows = [_flat(record, vain) for record in records]
    writer = csv.DictWriter(sys.stdout, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _print_tables(records: Sequence[ExecutionRecord], sums: Sequence[Total] | None, vain: set[str]) -> None:
    from overwinter.ledger import total

    lost = [record for record in records if record.id in vain]
    if sums is None:
        print_table(_TITLES, [_row(record) for record in records])
        sums = []
    stages, commands = _by_kind(records)
    ends = [total("all", stages), total("later wasted", lost)]
    ends += [total("measured commands", commands)] if commands else []
    print_table(
        ("", "executions", "time", "energy", "measured", "carbon", "cost"),
        [_sum(each) for each in [*sums, *ends]],
    )
    if unknown := sum(each.unknown for each in ends if each is not ends[1]):
        print(f"The energy of {unknown} of them is unknown; the sums leave them out.")


def _by_kind(records: Sequence[ExecutionRecord]) -> tuple[list[ExecutionRecord], list[ExecutionRecord]]:
    """Separate the pipeline's executions from measured commands."""
    commands = [record for record in records if record.is_command]
    return [record for record in records if not record.is_command], commands


def print_table(titles: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[str] = _RIGHT) -> None:
    """Print a table without its empty columns: fitted to a terminal, or plain.

    Args:
        titles: The titles of the columns; the first column is always printed.
        rows: The cells; what a terminal would obey instead of show, such as a line break in a name, is escaped.
        right: The titles of columns that are aligned to the right.
    """
    kept = [place for place, title in enumerate(titles) if place == 0 or any(row[place] for row in rows)]
    titles, rows = [titles[place] for place in kept], [[_shown(row[place]) for place in kept] for row in rows]
    printed = _print_rich if sys.stdout.isatty() else _print_plain
    printed(titles, rows, right)


def _shown(cell: str) -> str:
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in cell)


def _print_rich(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from overwinter.report.fitting import fitted

    def build(without: Collection[str]) -> Table:
        table = Table(box=SIMPLE_HEAD)
        kept = [place for place, title in enumerate(titles) if title not in without]
        for title in (titles[place] for place in kept):
            table.add_column(title, justify="right" if title in right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(row[place]) for place in kept))
        return table

    console = Console()
    console.print(fitted(console, build, _LEAST_IMPORTANT))


def _print_plain(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str]) -> None:
    widths = [max(len(row[place]) for row in [titles, *rows]) for place in range(len(titles))]
    for row in [titles, *rows]:
        cells = [
            cell.rjust(width) if title in right else cell.ljust(width)
            for cell, width, title in zip(row, widths, titles, strict=True)
        ]
        print("  ".join(cells).rstrip())
    print()


def _row(record: ExecutionRecord) -> list[str]:
    message = " ".join((record.message or "").split())
    return [
        f"{record.started_utc:%Y-%m-%d %H:%M:%S}",
        record.stage,
        record.status,
        "" if record.duration_s is None else format_duration(record.duration_s),
        "unknown" if record.energy_j is None else _energy(record.energy_j, record.uncertainty_j or 0.0),
        "" if record.measured_fraction is None else f"{record.measured_fraction:.0%}",
        "" if record.carbon_g is None else format_si(record.carbon_g, "gCO2e"),
        "" if record.cost is None else f"{record.cost:.4g} {record.currency or ''}".strip(),
        record.experiment or "",
        record.run_id[:24],
        message if len(message) <= _MESSAGE_WIDTH else message[: _MESSAGE_WIDTH - 1] + "…",
    ]


def _sum(each: Total) -> list[str]:
    return [
        each.name,
        str(each.executions),
        format_duration(each.duration_s),
        _energy(each.energy_j, each.uncertainty_j),
        f"{each.measured_fraction:.0%}",
        format_si(each.carbon_g, "gCO2e"),
        _money(each.cost),
    ]


def _energy(energy_j: float, uncertainty_j: float) -> str:
    return f"{format_si(energy_j, 'J')} ± {format_si(uncertainty_j, 'J')}"


def _money(cost: dict[str, float]) -> str:
    return ", ".join(f"{amount:.4g} {currency}" for currency, amount in sorted(cost.items()))
