"""A group of cloud machines that scales to zero: values for Terraform, and cloud-init for the machines.

The Terraform configuration, examples/virtual_machines/main.tf, is the same for every model. A machine runs one server,
which takes its bundle from a store; a command on the machine prints its token.
"""

from __future__ import annotations

import json
import math
import shlex
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml

from overwinter import __version__
from overwinter.deploy.deployment import LIVE_PATH, Deployment
from overwinter.deploy.interface import Orchestrator
from overwinter.deploy.kubernetes import TOKEN
from overwinter.deploy.source import Source, version_in_store
from overwinter.deploy.systemd import command_line
from overwinter.deploy.timetable import read_timetable
from overwinter.errors import ConfigError

_PORT = 8080
_MAX_NAME = 32  # maximum length of a load balancer's name
_ENVIRONMENT = "/opt/overwinter"
_KEYS = "/etc/overwinter"


@dataclass(frozen=True, kw_only=True)
class Vm(Orchestrator):
    """Renders terraform.tfvars.json and cloud-init.yaml, for use with examples/virtual_machines/main.tf.

    Attributes:
        source: The bundle's address in a store that the machines can reach.
        package: The requirement that pip installs on a machine.
        token_command: The command that prints the token, on the machine and as root.
        instance_type: The instance type of the machines.
        clients: The address ranges that may send requests, as CIDR.
        keys: The sources of the decryption keys, as a machine finds them.
    """

    summary: ClassVar[str] = "a group of AWS machines that scales to zero: values for Terraform, and cloud-init"
    bundle_help: ClassVar[str] = "STORE#NAME@ALIAS of a published bundle; its present version is pinned"

    source: str
    package: str
    token_command: str
    instance_type: str
    clients: tuple[str, ...]
    keys: tuple[str, ...] = ()

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """See `Orchestrator`."""
        parser.add_argument(
            "--token-command",
            required=True,
            metavar="WORDS",
            help="command that prints the token, on a machine and as root, such as `aws ssm get-parameter ...`",
        )
        parser.add_argument(
            "--clients",
            action="append",
            required=True,
            metavar="CIDR",
            help="address range that may send requests, such as 10.0.0.0/8",
        )
        parser.add_argument("--instance-type", default="t3.medium", help="instance type (t3.medium)")
        parser.add_argument(
            "--package",
            default=f"overwinter[s3]=={__version__}",
            help="requirement to install with pip (this version, with the extra s3)",
        )
        parser.add_argument(
            "--key",
            action="append",
            default=[],
            metavar="SOURCE",
            help="decryption key, as a machine finds it: command:...",
        )

    @classmethod
    def from_arguments(cls, arguments: Namespace) -> tuple[Self, Source]:
        """See `Orchestrator`."""
        source = version_in_store(arguments)
        found = cls(
            source=source.address,
            package=arguments.package,
            token_command=checked_command(arguments.token_command),
            instance_type=arguments.instance_type,
            clients=tuple(arguments.clients),
            keys=tuple(arguments.key),
        )
        return found, source

    def next_step(self, _deployment: Deployment, folder: Path) -> str:
        """See `Orchestrator`."""
        return (
            f"copy main.tf of examples/virtual_machines to {folder}, then terraform -chdir={folder} init && terraform "
            f"-chdir={folder} apply, which asks for the values of your account"
        )

    def render(self, deployment: Deployment) -> dict[str, str]:
        """Return the files, name to text.

        Raises:
            ConfigError: The name is too long, or a window cannot be rendered.
        """
        if len(deployment.name) > _MAX_NAME:
            raise ConfigError(f"--name {deployment.name!r} must be {_MAX_NAME} characters at most on AWS.")
        heading = deployment.heading(*deployment.rules(), *deployment.not_kept(), *deployment.asked_for())
        machine = yaml.safe_dump(self._machine(deployment), sort_keys=False, width=120)
        return {
            "terraform.tfvars.json": json.dumps(self._values(deployment), indent=2) + "\n",
            "cloud-init.yaml": "#cloud-config\n" + heading + machine,
        }

    def _values(self, deployment: Deployment) -> dict[str, Any]:
        replicas = deployment.serve.replicas
        return {
            "name": deployment.name,
            "instance_type": self.instance_type,
            "clients": list(self.clients),
            "port": _PORT,
            "live_path": LIVE_PATH,
            "min_replicas": deployment.min_replicas,
            "max_replicas": max(replicas.max, deployment.min_replicas),
            "response_s": math.ceil(deployment.serve.limits.response_s),
            "idle_minutes": max(1, math.ceil(deployment.idle[0] / 60)),
            "start_s": deployment.start_s,
            "queue_per_machine": replicas.queue_per_replica,
            "wait_s": replicas.wait_s,
            "spare_minutes": max(1, math.ceil(replicas.idle_s / 60)),
            "windows": _windows(deployment),
        }

    def _machine(self, deployment: Deployment) -> dict[str, Any]:
        name = deployment.name
        return {
            "packages": ["python3-venv"],
            "package_update": True,
            "users": ["default", {"name": name, "system": True, "shell": "/usr/sbin/nologin"}],
            "write_files": [
                {"path": f"/etc/systemd/system/{name}.service", "content": self._unit(deployment)},
                *({"path": path, "content": text} for path, text in deployment.keys_in(_KEYS).items()),
            ],
            "runcmd": [
                ["python3", "-m", "venv", _ENVIRONMENT],
                [f"{_ENVIRONMENT}/bin/pip", "install", "--no-cache-dir", self.package],
                ["systemctl", "enable", "--now", f"{name}.service"],
            ],
        }

    def _unit(self, deployment: Deployment) -> str:
        name = deployment.name
        token = f"/run/{name}/token"
        words = deployment.words(
            self.source,
            trusted=deployment.keys_in(_KEYS),
            host="0.0.0.0",  # noqa: S104 -- its own address; only the load balancer reaches it, and a token is required
            port=_PORT,
            **TOKEN | {"access__token_file": token},
            replicas__min=min(1, deployment.serve.replicas.min),
            replicas__max=1,
        )
        flags = [word for source in self.keys for word in ("--key", source)]
        fetch = f"umask 077; {self.token_command} > {token} && chown {name} {token}"
        return "\n".join(
            [
                "[Unit]",
                f"Description=Server of {name}",
                "Wants=network-online.target",
                "After=network-online.target",
                "[Service]",
                f"User={name}",
                f"RuntimeDirectory={name}",
                f"StateDirectory={name}",
                f"Environment=HOME=/var/lib/{name}",
                f"ExecStartPre=+{command_line(['/bin/sh', '-c', fetch])}",
                f"ExecStart={command_line([f'{_ENVIRONMENT}/bin/overwinter', *words, *flags])}",
                f"TimeoutStopSec={math.ceil(deployment.serve.limits.response_s) + 10}",
                "Restart=on-failure",
                "NoNewPrivileges=yes",
                "[Install]",
                "WantedBy=multi-user.target",
                "",
            ]
        )


def _windows(deployment: Deployment) -> list[dict[str, str]]:
    if len(deployment.windows) > 1:
        raise ConfigError(
            "serve.sleep.windows: a machine group supports only one window, since the end of one would close another. "
            "Join them, or choose another target."
        )
    found = []
    for window in deployment.windows:
        starts = [text for part in deployment.starts(window) for text in part.expressions()]
        ends = read_timetable(window.end).expressions()
        for place in range(max(len(starts), len(ends))):  # duplicates do no harm
            start, end = starts[min(place, len(starts) - 1)], ends[min(place, len(ends) - 1)]
            found.append({"start": start, "end": end, "time_zone": window.time_zone})
    return found


def checked_command(words: str) -> str:
    """Return a shell command, checked.

    Raises:
        ConfigError: Its quotes do not match, or it is empty.
    """
    try:
        if shlex.split(words):
            return words
    except ValueError as error:
        raise ConfigError(f"--token-command {words!r}: {error}.") from None
    raise ConfigError("--token-command must print the token, such as `aws ssm get-parameter ...`.")
