"""The sockets that the server listens on, its own or systemd's (sd_listen_fds(3)), and taking connections from them."""

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
_PAUSE_S = 0.05  # after a failure to accept: the system may be out of descriptors
_TOO_MANY = b'{"error": "Too many connections. Try again."}'
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_TOO_MANY), _TOO_MANY)
)


def open_sockets(settings: ServeConfig) -> list[socket.socket]:
    """Return listening sockets; those of systemd come before the configured address.

    Raises:
        OverwinterError: the address cannot be listened on.
        ConfigError: it shall leave when idle, and no one would start it again.
    """
    handed = _handed_over()
    if handed:
        return handed
    if settings.idle_exit_s is not None:
        raise ConfigError(
            f"serve.idle_exit_s={settings.idle_exit_s:g}: no one would start the server again. Let systemd hold the "
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


def allow_connections(wanted: int, *, spare: int) -> int:
    """Raise the limit of open files (RLIMIT_NOFILE) as far as connections need it, and return how many it allows.

    No further: a worker inherits it, and some programs walk through all descriptors that there could be.

    Args:
        wanted: how many connections.
        spare: descriptors for everything else.
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
        listener: listening.
        take: is given each connection, and its address.
        free: closes a connection that can be spared, for when the system is out of descriptors.
        log: receives once when that begins.
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
            await asyncio.sleep(0)  # others have their turn, however many come


def refuse(client: socket.socket, *, plain: bool) -> None:
    """Send a client away at once; only a plain one can be known why."""
    with client, contextlib.suppress(OSError):
        client.setblocking(False)
        if plain:
            client.send(_FULL)
            client.recv(1 << 16)  # closing with it unread would reset the connection, and the response be lost
