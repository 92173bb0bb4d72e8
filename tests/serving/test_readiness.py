from __future__ import annotations

import os
import socket

import pytest

from overwinter.serving.readiness import notify_ready


@pytest.mark.parametrize("abstract", [False, True])
def test_anyone_who_waits_is_reported_once_and_no_child_can_tell_it(tmp_path, monkeypatch, abstract):
    address = f"@overwinter-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as waiting:
        waiting.bind(f"\0{address[1:]}" if abstract else address)
        notify_ready()
        notify_ready()
        waiting.setblocking(False)
        assert waiting.recv(100) == b"READY=1"
        with pytest.raises(BlockingIOError):
            waiting.recv(100)
    assert "NOTIFY_SOCKET" not in os.environ


def test_no_one_who_listens_any_more_stops_no_server(tmp_path, monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify_ready()
    assert "NOTIFY_SOCKET" not in os.environ
