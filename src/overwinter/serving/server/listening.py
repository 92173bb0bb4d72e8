"""The sockets that the server listens on: its own, or those that systemd hands over (sd_listen_fds(3))."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from overwinter.errors import ConfigError, OverwinterError

if TYPE_CHECKING:
    from overwinter.config.groups.serve import ServeConfig

_FIRST_HANDLE = 3
_BACKLOG = 1024


def open_sockets(settings: ServeConfig) -> list[socket.socket]:
    """Return listening sockets; those of systemd come before the configured address.

    Raises:
        OverwinterError: the address cannot be listened on.
        ConfigError: it shall leave when idle, and nobody would start it again.
    """
    handed = _handed_over()
    if handed:
        return handed
    if settings.idle_exit_s is not None:
        raise ConfigError(
            f"serve.idle_exit_s={settings.idle_exit_s:g}: nobody would start the server again. Let systemd hold the "
            "port (a .socket unit), or set it to null."
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return [socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)]
    except OSError as error:
        raise OverwinterError(
            f"Nothing can listen on {settings.host}:{settings.port}: {error.strerror}.\n"
            "Name another serve.port (0 takes any free one), or end the program that holds this one."
        ) from None


def _handed_over() -> list[socket.socket]:
    meant_for, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if meant_for != str(os.getpid()) or not count.isdigit():
        return []
    handles = range(_FIRST_HANDLE, _FIRST_HANDLE + int(count))
    for handle in handles:
        os.set_inheritable(handle, False)
    return [socket.socket(fileno=handle) for handle in handles]
