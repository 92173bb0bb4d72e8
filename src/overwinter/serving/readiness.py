"""Notification of systemd that the server is ready (`Type=notify`): sd_notify(3)."""

from __future__ import annotations

import contextlib
import os
import socket


def notify_ready() -> None:
    """Notify systemd once; child processes do not inherit the address."""
    address = os.environ.pop("NOTIFY_SOCKET", "")
    if not address:
        return
    abstract = address.startswith("@")
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waiting:
        waiting.sendto(b"READY=1", f"\0{address[1:]}" if abstract else address)
