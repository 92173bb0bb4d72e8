"""cron: the server runs in its windows, and nothing runs outside them.

Debian's cron supports only the machine's time zone. A line therefore names every time that the machine's clock may
show at a start or an end, and checks the clock of the window's zone before it acts.
"""

from __future__ import annotations

import math
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from overwinter.deploy.deployment import Deployment
from overwinter.deploy.flags import add_program
from overwinter.deploy.interface import Orchestrator
from overwinter.deploy.source import Source, bundle_in_folder
from overwinter.deploy.timetable import Timetable, clock_times, read_timetable

_SCRIPT = """\
set -eu
umask 077
state={state}
mkdir -p "$state"
cd /
case "${{1:-}}" in
    start)
        exec 9> "$state/lock"
        flock -n 9 || exit 0 # already running
        echo $$ > "$state/pid"
        exec {command}
        ;;
    stop)
        flock -n "$state/lock" true && exit 0 # not running
        pid=$(cat "$state/pid")
        kill -TERM "$pid"
        timeout {stop_s} tail --pid="$pid" -f /dev/null || kill -KILL "$pid"
        ;;
    *)
        echo "usage: $0 start | stop" >&2
        exit 2
        ;;
esac
"""


@dataclass(frozen=True, kw_only=True)
class Cron(Orchestrator):
    """Renders a crontab and the script that it calls.

    Attributes:
        program: The absolute path of `overwinter`.
        script: The absolute path at which the script will be installed.
        state: The absolute path of a folder for its lock.
        machine_zone: The IANA name of the machine's time zone.
    """

    summary: ClassVar[str] = "a crontab for windows, and its script"

    program: str
    script: str
    state: str
    machine_zone: str = "UTC"

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """See `Orchestrator`."""
        add_program(parser)
        parser.add_argument(
            "--machine-zone", default="UTC", metavar="ZONE", help="time zone of the machine's clock (UTC)"
        )

    @classmethod
    def from_arguments(cls, arguments: Namespace) -> tuple[Self, Source]:
        """See `Orchestrator`."""
        _, source = bundle_in_folder(arguments)
        folder = arguments.output.resolve()
        found = cls(
            program=arguments.program,
            script=str(folder / f"{arguments.name}.sh"),
            state=str(folder / f"{arguments.name}.state"),
            machine_zone=arguments.machine_zone,
        )
        return found, source

    def next_step(self, deployment: Deployment, folder: Path) -> str:
        """See `Orchestrator`."""
        return f"crontab {folder}/{deployment.name}.crontab"

    def render(self, deployment: Deployment) -> dict[str, str]:
        """Return the files, name to text.

        Raises:
            ConfigError: A window cannot be rendered.
        """
        serve = deployment.serve
        state = f"{self.state}/kept" if deployment.keeps else None
        words = deployment.words(str(deployment.bundle), host=serve.host, port=serve.port, state=state)
        script = _SCRIPT.format(
            state=shlex.quote(self.state),
            command=shlex.join([self.program, *words]),
            stop_s=math.ceil(serve.limits.response_s) + 10,
        )
        heading = deployment.heading(
            f"Runs in its windows, started {deployment.start_s:g} s early; cron cannot start it at a request."
            if self._in_windows(deployment)
            else "Runs from boot on; the server itself puts its worker to sleep.",
            *deployment.asked_for(),
        )
        return {
            f"{deployment.name}.crontab": heading + "SHELL=/bin/sh\n" + "\n".join(self._lines(deployment)) + "\n",
            f"{deployment.name}.sh": "#!/bin/sh\n" + heading + script,
        }

    def _in_windows(self, deployment: Deployment) -> bool:
        return bool(deployment.windows) and deployment.may_stop

    def _lines(self, deployment: Deployment) -> list[str]:
        if not self._in_windows(deployment):
            return [f"@reboot {self._call('start')}"]
        lines = []
        for window in deployment.windows:
            lines += self._guarded(deployment.starts(window), window.time_zone, "start")
            lines += self._guarded([read_timetable(window.end)], window.time_zone, "stop")
        return lines

    def _guarded(self, timetables: Sequence[Timetable], zone: str, action: str) -> list[str]:
        lines = []
        for timetable in timetables:
            times = "|".join(clock_times(timetable))
            guard = rf'case "$(TZ={zone} date +\%H\%M)" in {times}) {self._call(action)};; esac'
            moved = timetable.moved_between(zone, self.machine_zone)
            lines += [f"{expression} {guard}" for each in moved for expression in each.expressions()]
        return lines

    def _call(self, action: str) -> str:
        return f"{shlex.quote(self.script)} {action}".replace("%", r"\%")
