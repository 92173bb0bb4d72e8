"""Listening sockets, the server's own or systemd's (sd_listen_fds(3)), and accepting connections on them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from overwinter.errors import ConfigError, OverwinterError

if TYPE_CHECKING:
    from overwinter.config.groups.serve import ServeConfig

_FIRST_HANDLE = 3
_BACKLOG = 1024
_PAUSE_S = 0.05  # pause after a failed accept: the system may be out of descriptors
_TOO_MANY = b'{"error": "Too many connections. Try again."}'
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_TOO_MANY), _TOO_MANY)
)


def open_sockets(settings: ServeConfig) -> list[socket.socket]:
    """Return listening sockets: systemd's if there are any, or one on the configured address.

    Raises:
        OverwinterError: The address cannot be listened on.
        ConfigError: The server should exit when idle, but systemd does not hold the port and start it again.
    """
    handed = _handed_over()
    if handed:
        return handed
    if settings.idle_exit_s is not None:
        raise ConfigError(
            f"serve.idle_exit_s={settings.idle_exit_s:g}: nothing would start the server again. Let systemd hold the "
            "port (a .socket unit), or set it to null."
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return [socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)]
    except OSError as error:
        raise OverwinterError(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror}.\n"
            "Set another serve.port (0: any free one), or stop the program that uses this one."
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


def allow_connections(wanted: int, *, spare: int) -> int:
    """Raise the limit of open files (RLIMIT_NOFILE) for this many connections; return how many it allows.

    It is raised no further: a worker inherits it, and some programs iterate over all possible descriptors.

    Args:
        wanted: The number of connections.
        spare: The number of descriptors for everything else.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + spare
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    reached = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (reached, hard))
    return max(1, min(wanted, reached - spare))


async def accept_all(
    listener: socket.socket,
    take: Callable[[socket.socket, Any], None],
    *,
    free: Callable[[], bool],
    log: Callable[..., None],
) -> None:
    """Accept connections until cancelled, and close the listener.

    Args:
        listener: The listening socket.
        take: Receives each connection and its address.
        free: Closes an idle connection, for when the system is out of descriptors.
        log: Receives one entry when that begins.
    """
    loop, failing = asyncio.get_running_loop(), False
    listener.setblocking(False)
    with listener:
        while True:
            try:
                client, peer = await loop.sock_accept(listener)
            except OSError as error:
                if not failing:
                    log("cannot accept", message=str(error))
                failing = True
                free()
                await asyncio.sleep(_PAUSE_S)
                continue
            failing = False
            take(client, peer)
            await asyncio.sleep(0)  # other tasks get a turn, however many clients connect


def refuse(client: socket.socket, *, plain: bool) -> None:
    """Refuse a client at once; only one with plain HTTP gets a reason."""
    with client, contextlib.suppress(OSError):
        client.setblocking(False)
        if plain:
            client.send(_FULL)
            client.recv(1 << 16)  # closing with unread data would reset the connection and lose the response
