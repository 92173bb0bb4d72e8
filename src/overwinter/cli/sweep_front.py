"""The front of a sweep at the end of `overwinter run -m`, and `overwinter run --from-sweep NAME --pick ...`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from overwinter.errors import ConfigError, OverwinterError

if TYPE_CHECKING:
    from rich.console import Console

    from overwinter.config import Project
    from overwinter.sweep.front import Front
    from overwinter.sweep.results import SweepRecord
    from overwinter.tasks import Measure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how a point of a sweep is picked."""
    picking = parser.add_argument_group("a point of a sweep")
    picking.add_argument("--from-sweep", metavar="NAME", help="run the configuration of a point of this sweep")
    picking.add_argument(
        "--pick",
        metavar="WHICH",
        help="knee, least-energy, least-energy:accuracy>=0.97, best-quality, or a point's name",
    )


def refuse_pick(arguments: argparse.Namespace) -> None:
    """Check that a sweep is not asked for together with a point of one.

    Raises:
        ConfigError: it is.
    """
    if arguments.from_sweep is not None or arguments.pick is not None:
        raise ConfigError("--from-sweep and --pick run one point. Leave out -m, or leave out these two.")


def picked_overrides(arguments: argparse.Namespace) -> list[str]:
    """Return the overrides to run: those of the picked point, then those given; just those without a sweep.

    Raises:
        ConfigError: only one of the two options is given, or no point is as wanted.
    """
    if arguments.from_sweep is None and arguments.pick is None:
        return list(arguments.overrides)
    if arguments.from_sweep is None:
        raise ConfigError("--pick needs a sweep: --from-sweep NAME.")
    from overwinter.config import find_project
    from overwinter.sweep.picking import PICKS, has_changed, pick_point

    if arguments.pick is None:
        raise ConfigError(f"--from-sweep {arguments.from_sweep} needs --pick: {PICKS}.")
    project = find_project()
    point = pick_point(project, arguments.from_sweep, arguments.pick)
    settings = " ".join(point.overrides) or "the configuration as it is"
    print(f"overwinter: point {point.name} of the sweep {arguments.from_sweep}: {settings}", file=sys.stderr)
    if has_changed(project, point):
        print(
            "overwinter: configs/ has changed since that point ran, so its stages may run again.",
            file=sys.stderr,
        )
    return [*point.overrides, *arguments.overrides]


def written_front(project: Project, record: SweepRecord) -> Front | None:
    """Write the front and its picture, and return it; None if the points' figures are not comparable."""
    from overwinter.sweep.drawing import draw_front
    from overwinter.sweep.front import done_points, write_front
    from overwinter.sweep.picking import front_of
    from overwinter.sweep.results import sweep_folder

    folder = sweep_folder(project, record.name)
    try:
        front = front_of(project, record)
    except OverwinterError as error:
        print(f"overwinter: no front: {error}", file=sys.stderr)
        return None
    write_front(folder, front)
    draw_front(folder, front, done_points(record.points))
    return front if front.points or front.limits else None


def print_front(console: Console, project: Project, record: SweepRecord, front: Front) -> None:
    """Print the front of a sweep, where its picture is, and how to pick a point."""
    from overwinter.report.fitting import fitted
    from overwinter.report.sweep_front import LEAST_IMPORTANT, describe_front, render_front
    from overwinter.report.sweep_summary import varied_overrides
    from overwinter.sweep.drawing import PICTURE_FILE
    from overwinter.sweep.results import sweep_folder

    headline, varied = _headline(project, record), varied_overrides(record.points)
    if front.points:
        console.print(
            fitted(console, lambda without: render_front(front, headline, without, settings=varied), LEAST_IMPORTANT)
        )
    picture = sweep_folder(project, record.name) / PICTURE_FILE
    if not front.points or len(front.objectives) < 2:
        drawn = ""
    elif picture.exists():
        drawn = f" {os.path.relpath(picture, project.root)} shows it."
    else:
        drawn = " Its picture needs overwinter[sweeps]."
    console.print(f"{describe_front(front)}{drawn}", style="dim", highlight=False)
    if front.points:
        which = "knee" if front.knee else "least-energy" if front.least_energy else "best-quality"
        console.print(
            f"To use a point: overwinter run --from-sweep {record.name} --pick {which}", style="dim", highlight=False
        )


def _headline(project: Project, record: SweepRecord) -> Measure | None:
    """Return the headline measure of the points' task; None if it cannot be found."""
    from overwinter.config import compose, validate
    from overwinter.tasks import find_headline

    try:
        config = validate(compose(project, record.points[0].overrides))
        return find_headline(config.task, trusted=config.trusted_targets)
    except OverwinterError:
        return None
