"""The seats of connections: so many in all, so many per address, and who must leave when none is free.

A connection that nothing is computed for can be closed without harm: one that waits for a request (silent, slow, or
kept alive), and after these one whose body is still on its way; the longest there goes first. So neither many silent
clients nor slow ones keep others out.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import Counter
from collections.abc import Iterable
from typing import Any


class Seat:
    """The seat of one connection.

    Attributes:
        address: who shares a limit with it; None: nobody.
        task: that serves it.
    """

    def __init__(self, client: socket.socket, address: str | None) -> None:
        self._client, self.address = client, address
        self.task: asyncio.Task[None] | None = None

    def speaks(self) -> bool:
        """Return whether something has come of the client that nobody has read yet."""
        try:
            return bool(self._client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False


class Seats:
    """The seats of a server.

    Args:
        most: in all.
        most_per_address: of one address.
    """

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most, self._most_per_address = most, most_per_address
        self._all: set[Seat] = set()
        self._by_address: Counter[str] = Counter()
        # The longest there come first, since a dict keeps its order.
        self._waiting: dict[Seat, None] = {}
        self._receiving: dict[Seat, None] = {}

    def take(self, client: socket.socket, address: str | None) -> Seat | None:
        """Return a seat, if need be one that another connection has to leave; None: all are at work."""
        if address is not None and self._by_address[address] >= self._most_per_address and not self.free(address):
            return None
        if len(self._all) >= self._most and not self.free():
            return None
        seat = Seat(client, address)
        self._all.add(seat)
        if address is not None:
            self._by_address[address] += 1
        self.wait(seat)
        return seat

    def free(self, address: str | None = None) -> bool:
        """Close the connection that has waited longest, of an address or of all; return whether there was one."""
        waiting = (seat for seat in self._waiting if not seat.speaks())
        seat = _first(waiting, address) or _first(self._receiving, address)
        if seat is None:
            return False
        self.leave(seat)
        if seat.task is not None:
            seat.task.cancel()
        return True

    def leave(self, seat: Seat) -> None:
        """Give a seat back."""
        if seat not in self._all:
            return
        self._all.discard(seat)
        self.work(seat)
        if seat.address is not None:
            self._by_address[seat.address] -= 1
            if not self._by_address[seat.address]:
                del self._by_address[seat.address]

    def wait(self, seat: Seat) -> None:
        """Note that it waits for a request."""
        self._move(seat, self._waiting)

    def receive(self, seat: Seat) -> None:
        """Note that its request is on its way."""
        self._move(seat, self._receiving)

    def work(self, seat: Seat) -> None:
        """Note that it is answered: it cannot be closed without harm now."""
        self._waiting.pop(seat, None)
        self._receiving.pop(seat, None)

    def resting(self) -> list[asyncio.Task[None]]:
        """Return the tasks of those that wait for a request."""
        return [seat.task for seat in self._waiting if seat.task is not None]

    def tasks(self) -> list[asyncio.Task[None]]:
        """Return the tasks of all."""
        return [seat.task for seat in self._all if seat.task is not None]

    def _move(self, seat: Seat, stage: dict[Seat, None]) -> None:
        self.work(seat)
        if seat in self._all:
            stage[seat] = None


def _first(seats: Iterable[Seat], address: str | None) -> Seat | None:
    return next((seat for seat in seats if address is None or seat.address == address), None)


def counted_address(peer: Any) -> str | None:
    """Return the address that a client's connections are counted by: of IPv6, the /64 that one site has.

    None for this machine's own, where a proxy may speak for everybody, and for a Unix socket.
    """
    if not isinstance(peer, tuple):
        return None
    address = ipaddress.ip_address(peer[0].partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Address(int(address) >> 64 << 64))
    return str(address)
