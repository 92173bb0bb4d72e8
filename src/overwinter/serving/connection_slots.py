"""Slots for connections: limits in total and per address, and the choice of a connection to close at the limit.

A connection without a running request can be closed without harm: first one that waits for a request (silent, slow or
kept alive), then one whose body is still arriving; the oldest first. So neither silent nor slow clients keep others
out.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import Counter
from collections.abc import Iterable
from typing import Any


class ConnectionSlot:
    """The slot of one connection.

    Attributes:
        address: The address by which connections share a limit; None: no limit.
        task: The task that serves the connection.
    """

    def __init__(self, client: socket.socket, address: str | None) -> None:
        self._client, self.address = client, address
        self.task: asyncio.Task[None] | None = None

    def speaks(self) -> bool:
        """Return whether the client has sent data that is not read yet."""
        try:
            return bool(self._client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except OSError:
            return False


class ConnectionSlots:
    """The slots of a server.

    Args:
        most: The maximum number in total.
        max_per_address: The maximum number for one address.
    """

    def __init__(self, most: int, max_per_address: int) -> None:
        self._most, self._max_per_address = most, max_per_address
        self._all: set[ConnectionSlot] = set()
        self._by_address: Counter[str] = Counter()
        # The oldest come first, since a dict keeps its order.
        self._waiting: dict[ConnectionSlot, None] = {}
        self._receiving: dict[ConnectionSlot, None] = {}

    def take(self, client: socket.socket, address: str | None) -> ConnectionSlot | None:
        """Return a slot, if necessary that of a closed connection; None if all have running requests."""
        if address is not None and self._by_address[address] >= self._max_per_address and not self.free(address):
            return None
        if len(self._all) >= self._most and not self.free():
            return None
        slot = ConnectionSlot(client, address)
        self._all.add(slot)
        if address is not None:
            self._by_address[address] += 1
        self.wait(slot)
        return slot

    def free(self, address: str | None = None) -> bool:
        """Close the connection that has been idle longest, of an address or of all; return whether there was one."""
        waiting = (slot for slot in self._waiting if not slot.speaks())
        slot = _first(waiting, address) or _first(self._receiving, address)
        if slot is None:
            return False
        self.leave(slot)
        if slot.task is not None:
            slot.task.cancel()
        return True

    def leave(self, slot: ConnectionSlot) -> None:
        """Release a slot."""
        if slot not in self._all:
            return
        self._all.discard(slot)
        self.work(slot)
        if slot.address is not None:
            self._by_address[slot.address] -= 1
            if not self._by_address[slot.address]:
                del self._by_address[slot.address]

    def wait(self, slot: ConnectionSlot) -> None:
        """Record that the connection waits for a request."""
        self._move(slot, self._waiting)

    def receive(self, slot: ConnectionSlot) -> None:
        """Record that a request is arriving."""
        self._move(slot, self._receiving)

    def work(self, slot: ConnectionSlot) -> None:
        """Record that a request is running, so that the connection must stay open."""
        self._waiting.pop(slot, None)
        self._receiving.pop(slot, None)

    def idle(self) -> list[asyncio.Task[None]]:
        """Return the tasks of connections that wait for a request."""
        return [slot.task for slot in self._waiting if slot.task is not None]

    def tasks(self) -> list[asyncio.Task[None]]:
        """Return the tasks of all connections."""
        return [slot.task for slot in self._all if slot.task is not None]

    def _move(self, slot: ConnectionSlot, stage: dict[ConnectionSlot, None]) -> None:
        self.work(slot)
        if slot in self._all:
            stage[slot] = None


def _first(slots: Iterable[ConnectionSlot], address: str | None) -> ConnectionSlot | None:
    return next((slot for slot in slots if address is None or slot.address == address), None)


def counted_address(peer: Any) -> str | None:
    """Return the address by which a client's connections are counted; for IPv6 its /64, which one site has.

    None for this machine's own addresses, which a proxy may use for all clients, and for a Unix socket.
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
