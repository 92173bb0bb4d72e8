"""Telling systemd that the server answers now, where it waits for that (`Type=notify`): sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket


def notify_ready() -> None:
    """Tell anyone who waits, once; nothing else that this process starts shall tell it."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if not address:
        return
    abstract = address.startswith("@")
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waiting:
        waiting.sendto(b"READY=1", f"\0{address[1:]}" if abstract else address)
