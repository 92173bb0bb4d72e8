"""Sockets of our own and of systemd."""

import asyncio
import errno
import resource
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from overwinter.errors import ConfigError, OverwinterError
from overwinter.serving.listening import accept_all, open_sockets, refuse

TAKES_OVER = """
import os, socket, sys
from types import SimpleNamespace
handle = int(sys.argv[1])
os.dup2(handle, 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
from overwinter.serving.listening import accept_all, open_sockets, refuse
(found,) = open_sockets(SimpleNamespace(host="0.0.0.0", port=1, idle_exit_s=5.0))
print(found.getsockname()[1], found.get_inheritable(), "LISTEN_FDS" in os.environ)
"""


def settings(**changes):
    return SimpleNamespace(**{"host": "127.0.0.1", "port": 0, "idle_exit_s": None} | changes)


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
def test_it_listens_where_it_is_reported(host, family):
    try:
        (found,) = open_sockets(settings(host=host))
    except OverwinterError:
        pytest.skip(f"this machine has no {host}")
    with found, socket.create_connection(found.getsockname()[:2], timeout=5):
        assert found.family == family


def test_an_address_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OverwinterError, match="Cannot listen on"):
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


def test_no_one_leaves_who_is_not_called_back():
    with pytest.raises(ConfigError, match="idle_exit_s=5"):
        open_sockets(settings(idle_exit_s=5.0))


ALLOWS = """
import resource, sys
from overwinter.serving.listening import allow_connections
soft, hard, wanted, spare = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(allow_connections(wanted, spare=spare), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "allowed", "soft_then"),
    [
        (500, 900, 100, 100, 500),
        (500, 900, 800, 800, 832),
        (500, 900, 5000, 868, 900),
        (20, 20, 100, 1, 20),
    ],
)
def test_descriptors_are_there_for_the_connections_and_no_more(soft, hard, wanted, allowed, soft_then):
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < hard:
        pytest.skip("this machine allows fewer descriptors")
    command = [sys.executable, "-c", ALLOWS, *map(str, (soft, hard, wanted, 32))]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(allowed), str(soft_then), str(hard)]


def test_a_system_without_descriptors_is_not_asked_all_the_time(monkeypatch):
    """It makes room, tells once, and goes on when there are some again."""
    calls, log, taken = [], [], []

    async def scenario():
        loop = asyncio.get_running_loop()

        async def sock_accept(_listener):
            calls.append(loop.time())
            if len(calls) < 4:
                raise OSError(errno.EMFILE, "Too many open files")
            if len(calls) > 4:
                await asyncio.Event().wait()
            return "client", "peer"

        monkeypatch.setattr(loop, "sock_accept", sock_accept)
        with socket.socket() as listener:
            freed = []
            work = accept_all(
                listener,
                lambda *who: taken.append(who),
                free=lambda: freed.append(True),
                log=lambda event, **_: log.append(event),
            )
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(work, 0.5)
            assert listener.fileno() == -1
        return freed

    assert len(asyncio.run(scenario())) == 3
    assert calls[3] - calls[0] > 0.1
    assert log == ["cannot accept"]
    assert taken == [("client", "peer")]


def test_who_is_sent_away_is_reported_why():
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.send(b"GET / HTTP/1.1\r\n")
        refuse(ours, plain=True)
        head, _, body = theirs.recv(1000).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert f"Content-Length: {len(body)}".encode() in head
    assert ours.fileno() == -1


def test_who_speaks_tls_is_not():
    ours, theirs = socket.socketpair()
    with theirs:
        refuse(ours, plain=False)
        assert theirs.recv(1000) == b""
