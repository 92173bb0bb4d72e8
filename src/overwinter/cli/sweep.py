"""`overwinter run -m [overrides]`: run a sweep through Hydra with Overwinter's launcher, and print a summary table."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from overwinter.errors import EXIT_DONE, EXIT_FAILED, EXIT_REFUSED, ConfigError
from overwinter.programs import EXIT_INTERRUPTED

if TYPE_CHECKING:
    from overwinter.config import Project
    from overwinter.sweep.results import SweepRecord

OPTIONS = ("workers", "until", "budget", "name")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of a sweep."""
    sweep = parser.add_argument_group("sweeps (-m)")
    sweep.add_argument("--workers", type=int, metavar="N", help="points that run at once")
    sweep.add_argument("--until", metavar="STAGE", help="last stage to run; in a sweep, evaluate by default")
    sweep.add_argument("--budget", metavar="ENERGY", help="limit on the joules of the whole sweep, such as 20kJ")
    sweep.add_argument("--name", metavar="NAME", help="the sweep's name; the same one resumes it")


def refuse_stray(arguments: argparse.Namespace, *, but: Collection[str] = ()) -> None:
    """Raise ConfigError if an option of a sweep is given without -m, besides those that a single run has too."""
    if stray := [option for option in OPTIONS if option not in but and getattr(arguments, option) is not None]:
        raise ConfigError(f"--{stray[0]} belongs to a sweep. Add -m and several values, or leave it out.")


def run(arguments: argparse.Namespace) -> int:
    """Run the sweep; return 0, 1 if a point failed, 3 if the budget ended it or no point was allowed."""
    from overwinter.config import find_project
    from overwinter.sweep.batches import sweep_name, without_hydra
    from overwinter.sweep.front import forget_front
    from overwinter.sweep.results import read_sweep, refuse_links, sweep_folder

    project = find_project()
    name = arguments.name = arguments.name or sweep_name(project, arguments.overrides)
    folder = sweep_folder(project, name)
    refuse_links(*folder.glob("*"))
    interrupted = False
    if (earlier := read_sweep(project, name)) is not None:
        earlier.check_same(without_hydra(arguments.overrides))  # before anything of the earlier one is replaced
    forget_front(folder)
    try:
        _multirun(project, [*arguments.overrides, *settings(arguments)], folder)
    except KeyboardInterrupt:
        interrupted = True
    record = read_sweep(project, name)
    if record is None:
        return EXIT_INTERRUPTED
    _print(project, record, as_json=arguments.json)
    return EXIT_INTERRUPTED if interrupted else _exit_code(record)


def settings(arguments: argparse.Namespace) -> list[str]:
    """Return the options of a sweep as overrides of the launcher."""
    given = {name: getattr(arguments, name) for name in OPTIONS}
    return [f"hydra.launcher.{name}={_quoted(value)}" for name, value in given.items() if value is not None]


def _quoted(value: object) -> str:
    """Return a value in Hydra's grammar."""
    if isinstance(value, int):
        return str(value)
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _multirun(project: Project, overrides: Sequence[str], folder: Any) -> None:
    """Let Hydra run the sweep, as `hydra.main` does for `--multirun`.

    Raises:
        ConfigError: Hydra does not accept the overrides, or a file of configs/ is not YAML.
    """
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra

    from overwinter.config.composition import explained_composition
    from overwinter.sweep.expanding import sweep_words

    words = [*sweep_words(overrides), f"hydra.sweep.dir={_quoted(folder)}"]
    try:
        GlobalHydra.instance().clear()
        with explained_composition(project):
            hydra = Hydra.create_main_hydra2("overwinter", create_config_search_path(str(project.configs)))
            hydra.multirun(project.config_name, lambda _: None, words, with_log_configuration=False)
    finally:
        GlobalHydra.instance().clear()


def _exit_code(record: SweepRecord) -> int:
    statuses = [point.status for point in record.points]
    if "failed" in statuses:
        return EXIT_FAILED
    if "skipped" in statuses or (statuses and all(status == "refused" for status in statuses)):
        return EXIT_REFUSED
    return EXIT_DONE


def _print(project: Project, record: SweepRecord, *, as_json: bool) -> None:
    from overwinter.cli.sweep_front import print_front, written_front
    from overwinter.records import to_json
    from overwinter.report.sweep_summary import LEAST_IMPORTANT, render_sweep, sharing

    shared, front = sharing(record.points), written_front(project, record)
    if as_json:
        content = {**to_json(record), "sharing": to_json(shared), "front": None if front is None else to_json(front)}
        print(json.dumps(content, indent=2))
    else:
        from rich.console import Console

        from overwinter.report.fitting import fitted

        console = Console(width=None if sys.stdout.isatty() else 140)
        console.print(fitted(console, lambda without: render_sweep(record.points, without), LEAST_IMPORTANT))
        console.print(f"Sweep {record.name}. {shared.describe()}", style="dim", highlight=False)
        if front is not None:
            print_front(console, project, record, front)
    for point in record.points:
        if point.message and point.status != "done":
            print(f"overwinter: {point.name} {point.status}: {point.message}", file=sys.stderr)
