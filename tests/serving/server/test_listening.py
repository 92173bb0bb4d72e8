"""Sockets of our own and of systemd."""

import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from overwinter.errors import ConfigError, OverwinterError
from overwinter.serving.server.listening import open_sockets

TAKES_OVER = """
import os, socket, sys
from types import SimpleNamespace
handle = int(sys.argv[1])
os.dup2(handle, 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
from overwinter.serving.server.listening import open_sockets
(found,) = open_sockets(SimpleNamespace(host="0.0.0.0", port=1, idle_exit_s=5.0))
print(found.getsockname()[1], found.get_inheritable(), "LISTEN_FDS" in os.environ)
"""


def settings(**changes):
    return SimpleNamespace(**{"host": "127.0.0.1", "port": 0, "idle_exit_s": None} | changes)


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_it_listens_where_it_is_told(host, family):
    try:
        (found,) = open_sockets(settings(host=host))
    except OverwinterError:
        pytest.skip(f"this machine has no {host}")
    with found, socket.create_connection(found.getsockname()[:2], timeout=5):
        assert found.family == family


def test_an_address_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OverwinterError, match="Nothing can listen on"):
        open_sockets(settings(port=taken.getsockname()[1]))


def test_systemds_sockets_are_taken_over():
    with socket.create_server(("127.0.0.1", 0)) as ours:
        command = [sys.executable, "-c", TAKES_OVER, str(ours.fileno())]
        done = subprocess.run(command, pass_fds=[ours.fileno()], capture_output=True, text=True, check=True)
        assert done.stdout.split() == [str(ours.getsockname()[1]), "False", "False"]


def test_sockets_for_another_process_are_not(monkeypatch):
    monkeypatch.setenv("LISTEN_PID", "1")
    monkeypatch.setenv("LISTEN_FDS", "1")
    (found,) = open_sockets(settings())
    with found:
        assert found.fileno() != 3


def test_nobody_leaves_who_is_not_called_back():
    with pytest.raises(ConfigError, match="idle_exit_s=5"):
        open_sockets(settings(idle_exit_s=5.0))
