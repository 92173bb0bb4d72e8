"""systemd: a socket that starts the server at the first connection, and timers that hold it up in windows.

systemd itself holds the port. At a connection it starts `systemd-socket-proxyd`, which needs the server; idle for
the time-out, the proxy leaves, and nobody needs the server any more (`StopWhenUnneeded=`). A window is a unit that
needs the server too: one timer starts it, another stops it. See systemd.socket(5), systemd-socket-proxyd(8).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from overwinter.serving.deploy.deployment import Deployment
from overwinter.serving.deploy.timetable import read_timetable
from overwinter.serving.sleep.windows import Window

_PROXY = "/usr/lib/systemd/systemd-socket-proxyd"
_Section = tuple[str, Sequence[tuple[str, object]]]


@dataclass(frozen=True, kw_only=True)
class Systemd:
    """Renders units.

    Attributes:
        program: absolute path of `overwinter`.
        backend_port: where the server listens on the loopback address, behind systemd's socket.
        run_as: the server's user, who owns the bundle; None leaves it to the manager (`systemctl --user`).
    """

    program: str
    backend_port: int = 18080
    run_as: str | None = None

    def render(self, deployment: Deployment) -> dict[str, str]:
        """Return the units, name to text.

        Raises:
            ConfigError: a window cannot be rendered.
        """
        units = self._stopping(deployment) if deployment.may_stop else self._staying(deployment)
        heading = deployment.heading(*deployment.rules())
        return {name: heading + _text(sections) for name, sections in units.items()}

    def _staying(self, deployment: Deployment) -> dict[str, list[_Section]]:
        serve = deployment.serve
        service = self._server(deployment, serve.host, serve.port)
        return {f"{deployment.name}.service": [*service, ("Install", [("WantedBy", "default.target")])]}

    def _stopping(self, deployment: Deployment) -> dict[str, list[_Section]]:
        name, serve = deployment.name, deployment.serve
        server = f"{name}-server.service"
        unit, service = self._server(deployment, "127.0.0.1", self.backend_port)
        unit = ("Unit", [*unit[1], ("StopWhenUnneeded", "yes")])
        idle_s = math.ceil(deployment.idle[0])
        proxy = f"{_PROXY} --exit-idle-time={idle_s}s 127.0.0.1:{self.backend_port}"
        units: dict[str, list[_Section]] = {
            f"{name}.socket": [
                _described(f"Port of {name}"),
                ("Socket", [("ListenStream", f"{serve.host}:{serve.port}")]),
                ("Install", [("WantedBy", "sockets.target")]),
            ],
            f"{name}.service": [
                _described(f"Proxy of {name}", ("Requires", server), ("After", f"{server} {name}.socket")),
                ("Service", [("ExecStart", proxy), ("PrivateTmp", "yes")]),
            ],
            server: [unit, service],
        }
        for place, window in enumerate(deployment.windows):
            units |= _window(deployment, window, f"{name}-window-{place}", server)
        return units

    def _server(self, deployment: Deployment, host: str, port: int) -> list[_Section]:
        state = "${oc.env:STATE_DIRECTORY}" if deployment.keeps else None  # systemd says where StateDirectory is
        words = deployment.words(str(deployment.bundle), host=host, port=port, state=state)
        near = "127.0.0.1" if host == "0.0.0.0" else host  # noqa: S104 -- a comparison
        wait = f"until (: < /dev/tcp/{near}/{port}) 2>/dev/null; do sleep 0.05; done"
        settings: list[tuple[str, object]] = [
            ("ExecStart", command_line([self.program, *words])),
            ("ExecStartPost", "/bin/bash -c " + command_line([wait])),  # the proxy must find it listening
            *([("User", self.run_as)] if self.run_as else []),
            ("WorkingDirectory", "/"),
            ("StateDirectory", f"overwinter/{deployment.name}"),
            *([("PassEnvironment", " ".join(deployment.variables))] if deployment.variables else []),
            ("TimeoutStopSec", math.ceil(deployment.serve.limits.answer_s) + 10),
            ("Restart", "on-failure"),
            ("NoNewPrivileges", "yes"),
            ("UMask", "0077"),
        ]
        return [_described(f"Server of {deployment.name}"), ("Service", settings)]


def _window(deployment: Deployment, window: Window, name: str, server: str) -> dict[str, list[_Section]]:
    """Return a unit that needs the server while the window is open, one that ends it, and their timers."""
    zone = window.time_zone
    starts = [text for part in deployment.starts(window) for text in part.calendars(zone)]
    oneshot = [("Type", "oneshot"), ("ExecStart", "/bin/true")]
    return {
        f"{name}.service": [
            _described(f"{deployment.name} is kept ready", ("Requires", server), ("After", server)),
            ("Service", [*oneshot, ("RemainAfterExit", "yes")]),
        ],
        f"{name}.timer": _timer(f"Opens {name}", starts),
        f"{name}-end.service": [
            _described(f"Ends {name}", ("Conflicts", f"{name}.service")),
            ("Service", oneshot),
        ],
        f"{name}-end.timer": _timer(f"Closes {name}", read_timetable(window.end).calendars(zone)),
    }


def _timer(description: str, calendars: Sequence[str]) -> list[_Section]:
    ticks = [("OnCalendar", calendar) for calendar in calendars]
    return [
        _described(description),
        ("Timer", [*ticks, ("AccuracySec", "1s")]),
        ("Install", [("WantedBy", "timers.target")]),
    ]


def _described(description: str, *settings: tuple[str, object]) -> _Section:
    return ("Unit", [("Description", description), *settings])


def _text(sections: Sequence[_Section]) -> str:
    parts = ["\n".join([f"[{name}]", *(f"{key}={value}" for key, value in settings)]) for name, settings in sections]
    return "\n" + "\n\n".join(parts) + "\n"


def command_line(words: Sequence[str]) -> str:
    """Return a command as systemd.service(5) reads it, every word quoted."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    for plain, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(plain, written)
    return f'"{word}"'
