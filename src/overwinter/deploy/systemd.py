"""systemd: a socket that starts the server at the first connection, and timers that keep it running in windows.

systemd itself holds the port. At a connection it starts `systemd-socket-proxyd`, which requires the server. After the
idle time the proxy exits, and systemd stops the server (`StopWhenUnneeded=`). A window is a unit that requires the
server, too: one timer starts it, another stops it. See systemd.socket(5), systemd-socket-proxyd(8).

No unit runs as root (`sandbox`). The server's user exists only while it runs. Files that only root may read reach it
otherwise: the token and the TLS keys as systemd credentials, the bundle as a copy in the service's cache.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from overwinter.deploy.deployment import Deployment
from overwinter.deploy.flags import add_program, memory_limit, own_program
from overwinter.deploy.interface import Orchestrator
from overwinter.deploy.requirements import declared
from overwinter.deploy.sandbox import bound, hidden, sandbox, world_readable
from overwinter.deploy.source import Source, bundle_folder, bundle_in_folder
from overwinter.deploy.timetable import read_timetable
from overwinter.serving.sleep.windows import Window
from overwinter.template import template_folder

_PROXY = "/usr/lib/systemd/systemd-socket-proxyd"
_CREDENTIALS = "/credentials-of-the-service"  # protects specifiers while words are quoted
_TASKS, _FILES = 512, 512
_FINAL = "2 4"  # wrong configuration, integrity: a restart would not help
_DEFERS = (
    "a request may wait in serve.state for an hour of lower carbon intensity, when no connection starts the server"
)
_USER = re.compile(r"[A-Za-z0-9_][\w.-]*", re.ASCII)
_Section = tuple[str, Sequence[tuple[str, object]]]


@dataclass(frozen=True, kw_only=True)
class Systemd(Orchestrator):
    """Renders systemd units.

    Attributes:
        program: The absolute path of `overwinter`.
        backend_port: The server's port on the loopback address, behind systemd's socket.
        run_as: The server's user, who may read the bundle; None: one that exists only while it runs.
        runtime: The runtime that loads the bundle.
        device: The device of the model: ``cuda``; None: the CPU.
        private: Whether only root and its owner may read the bundle.
        environment: The folders that the program needs besides /usr.
        memory: The memory limit, in systemd's syntax.
    """

    summary: ClassVar[str] = "socket activation, idle exit, and timers for windows"

    program: str
    backend_port: int = 18080
    run_as: str | None = None
    runtime: str = "onnxruntime"
    device: str | None = None
    private: bool = False
    environment: Sequence[Path] = ()
    memory: str = "1G"

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """See `Orchestrator`."""
        add_program(parser)
        parser.add_argument("--backend-port", type=int, default=18080, help="port of the server on 127.0.0.1 (18080)")
        parser.add_argument(
            "--run-as",
            type=_user,
            metavar="USER",
            help="user of the server, who may read the bundle (a user that exists only while the server runs)",
        )
        parser.add_argument(
            "--memory", type=memory_limit, default="1G", help="memory limit of the server and its workers (1G)"
        )

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> tuple[Self, Source]:
        """See `Orchestrator`."""
        bundle, source = bundle_in_folder(arguments)
        found = cls(
            program=arguments.program,
            backend_port=arguments.backend_port,
            run_as=arguments.run_as,
            runtime=bundle.runtime,
            device=bundle.device,
            private=not world_readable(bundle_folder(arguments)),
            environment=_environment(arguments.program),
            memory=arguments.memory,
        )
        return found, source

    def next_step(self, _deployment: Deployment, folder: Path) -> str:
        """See `Orchestrator`."""
        return f"systemd-analyze verify {folder}/*.service, then copy them to /etc/systemd/system"

    def render(self, deployment: Deployment) -> dict[str, str]:
        """Return the units, name to text.

        Raises:
            ConfigError: A window cannot be rendered.
        """
        stays = _DEFERS if deployment.may_stop and deployment.may_defer else None
        stopping = deployment.may_stop and stays is None
        units = self._stopping(deployment) if stopping else self._staying(deployment)
        heading = deployment.heading(*deployment.rules(stays=stays), *self._opened(deployment))
        return {name: heading + _text(sections) for name, sections in units.items()}

    def _staying(self, deployment: Deployment) -> dict[str, list[_Section]]:
        serve = deployment.serve
        service = self._server(deployment, serve.host, serve.port)
        return {f"{deployment.name}.service": [*service, ("Install", [("WantedBy", "multi-user.target")])]}

    def _stopping(self, deployment: Deployment) -> dict[str, list[_Section]]:
        name, serve = deployment.name, deployment.serve
        server = f"{name}-server.service"
        unit, service = self._server(deployment, "127.0.0.1", self.backend_port)
        unit = ("Unit", [*unit[1], ("StopWhenUnneeded", "yes")])
        idle_s, files = math.ceil(deployment.idle[0]), _files(deployment)
        proxy = f"{_PROXY} --exit-idle-time={idle_s}s 127.0.0.1:{self.backend_port}"
        units: dict[str, list[_Section]] = {
            f"{name}.socket": [
                _described(f"Port of {name}"),
                ("Socket", [("ListenStream", f"{serve.host}:{serve.port}")]),
                ("Install", [("WantedBy", "sockets.target")]),
            ],
            f"{name}.service": [
                _described(f"Proxy of {name}", ("Requires", server), ("After", f"{server} {name}.socket")),
                (
                    "Service",
                    [("ExecStart", proxy), *sandbox(None, near=_is_near(serve.host)), *_bounds("64M", 256, files)],
                ),
            ],
            server: [unit, service],
        }
        for place, window in enumerate(deployment.windows):
            units |= _window(deployment, window, f"{name}-window-{place}", server)
        return units

    def _server(self, deployment: Deployment, host: str, port: int) -> list[_Section]:
        settings: list[tuple[str, object]] = [
            ("Type", "notify"),  # it must listen before the proxy connects
            *self._copying(deployment),
            (
                "ExecStart",
                command_line([self.program, *self._words(deployment, host, port)]).replace(_CREDENTIALS, "%d"),
            ),
            ("WorkingDirectory", "/"),
            ("StateDirectory", f"overwinter/{deployment.name}"),
            *[("LoadCredential", f"{name}:{_escaped(path)}") for name, path in _credentials(deployment).items()],
            *([("PassEnvironment", " ".join(deployment.variables))] if deployment.variables else []),
            ("TimeoutStopSec", math.ceil(deployment.serve.limits.response_s) + 10),
            ("KillMode", "mixed"),  # the server stops its workers itself, after their requests
            ("Restart", "on-failure"),
            ("RestartPreventExitStatus", _FINAL),
            ("OOMPolicy", "continue"),  # the server restarts a worker that was killed for memory
            *_bounds(self.memory, _TASKS, _files(deployment)),
            *self._sandbox(deployment, host),
        ]
        return [_described(f"Server of {deployment.name}"), ("Service", settings)]

    def _words(self, deployment: Deployment, host: str, port: int) -> list[str]:
        state = "${oc.env:STATE_DIRECTORY}" if deployment.keeps else None  # systemd sets the path of StateDirectory
        secrets: dict[str, Any] = {f"access__{name}": f"{_CREDENTIALS}/{name}" for name in _secrets(deployment)}
        bundle = f"/var/cache/{self._cache(deployment)}" if self._copies else str(deployment.bundle)
        trusted = [f"{_CREDENTIALS}/{name}" for name in _trusted(deployment)]
        return deployment.words(bundle, trusted=trusted, host=host, port=port, state=state, **secrets)

    @property
    def _copies(self) -> bool:
        return self.private and self.run_as is None

    def _cache(self, deployment: Deployment) -> str:
        return f"overwinter/{deployment.name}/{deployment.bundle.name}"

    def _copying(self, deployment: Deployment) -> list[tuple[str, object]]:
        """Return the settings that copy the bundle, as root, to where only the server's user may read it."""
        if not self._copies:
            return []
        own = f"/var/cache/{self._cache(deployment)}"
        copy = 'rm -rf "$2" && cp -R --reflink=auto "$1" "$2" && chown -R --reference="$CACHE_DIRECTORY" "$2"'
        return [
            ("CacheDirectory", f"overwinter/{deployment.name}"),
            ("CacheDirectoryMode", "0700"),
            ("ExecStartPre", "+/bin/sh -c " + command_line([copy, "sh", str(deployment.bundle), own])),
        ]

    @property
    def _compiles(self) -> bool:
        return bool(declared(self.runtime, "compiles", default=False))

    def _sandbox(self, deployment: Deployment, host: str) -> list[tuple[str, object]]:
        needed = [*self.environment, *([] if self._copies else [deployment.bundle])]
        return [
            *sandbox(
                self.run_as,
                gpu=self.device is not None,
                compiles=self._compiles,
                near=_is_near(host) and not _asks_others(deployment),
            ),
            *bound(hidden(needed)),
        ]

    def _opened(self, deployment: Deployment) -> list[str]:
        """Return heading lines: what the sandbox leaves open, and why."""
        comments = ["The server reads no energy counter (serve.power_draw gives the watts), so none is opened to it."]
        if self.device is not None:
            comments.append(f"Open to the server: NVIDIA's devices, since the bundle runs on {self.device}.")
        if self._compiles:
            comments.append(f"Open to the server: writable and executable memory, since {self.runtime} compiles.")
        if _asks_others(deployment):
            comments.append("Open to the server: the network, for the carbon intensity source.")
        if self._copies:
            comments.append("Only its owner may read the bundle: each start copies it into the service's cache.")
        return comments


def _user(text: str) -> str:
    if not _USER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a user name")
    return text


def _environment(program: str) -> tuple[Path, ...]:
    """Return the folders of a program; in a checkout, also those of the sources and the template."""
    folders = (Path(program).parents[1],)
    if program != own_program():
        return folders
    interpreter = Path(sys.executable).resolve().parents[1]
    package = Path(__file__).parents[2]
    own = (Path(sys.prefix), Path(sys.base_prefix), interpreter, package, template_folder() / "configs")
    return folders + own


def _secrets(deployment: Deployment) -> dict[str, str]:
    """Return the files that the server's user may not read: name below `serve.access` -> path."""
    access = deployment.serve.access
    names = ("token_file", "tls_cert", "tls_key", "client_ca")
    found = {name: getattr(access, name) for name in names}
    return {name: str(Path(path).resolve()) for name, path in found.items() if path is not None}


def _trusted(deployment: Deployment) -> dict[str, str]:
    return {f"trusted-{place}.pem": path for place, path in enumerate(deployment.trusted)}


def _credentials(deployment: Deployment) -> dict[str, str]:
    """Return the server's systemd credentials: name -> path."""
    return _secrets(deployment) | _trusted(deployment)


def _escaped(path: str) -> str:
    return path.replace("%", "%%")


def _is_near(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _asks_others(deployment: Deployment) -> bool:
    return bool(deployment.variables or deployment.others)


def _files(deployment: Deployment) -> int:
    """Return the limit on open files: per connection, the proxy has two sockets and the two ends of a pipe."""
    return _FILES + 4 * deployment.serve.limits.connections


def _bounds(memory: str, tasks: int, files: int) -> list[tuple[str, object]]:
    return [("MemoryMax", memory), ("TasksMax", tasks), ("LimitNOFILE", files)]


def _window(deployment: Deployment, window: Window, name: str, server: str) -> dict[str, list[_Section]]:
    """Return a unit that requires the server while the window is open, one that stops it, and their timers."""
    zone = window.time_zone
    starts = [text for part in deployment.starts(window) for text in part.calendars(zone)]
    oneshot = [("Type", "oneshot"), ("ExecStart", "/bin/true"), *sandbox(None, alone=True), *_bounds("16M", 8, 64)]
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
    """Return a command in the syntax of systemd.service(5), with every word quoted."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    for plain, written in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(plain, written)
    return f'"{word}"'
