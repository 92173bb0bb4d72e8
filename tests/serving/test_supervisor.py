"""The real supervisor, without models: its sockets, its TLS, and when it leaves."""

import contextlib
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

from overwinter.bundle import Keys
from overwinter.serving import make_plan

TAKE_OVER = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.set_inheritable(4, True); "
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); "
    "os.execv(sys.executable, [sys.executable, '-m', 'overwinter.serving', '4'])"
)


@pytest.fixture
def supervisor(service):
    """Run it on the configuration as changed, on its own socket or on one handed over; give address and process."""

    @contextlib.contextmanager
    def supervisor(change=lambda serve: None, *, handed=None):
        plan = json.loads(make_plan(service, {}, keys=Keys()).to_json())
        change(plan["serve"])
        with tempfile.TemporaryFile() as file:
            file.write(json.dumps(plan).encode())
            file.seek(0)
            command, handles = ["-m", "overwinter.serving", str(file.fileno())], [file.fileno()]
            if handed is not None:
                handles.append(handed.fileno())
                command = ["-c", TAKE_OVER, str(handed.fileno()), str(file.fileno())]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            process = subprocess.Popen([sys.executable, *command], pass_fds=handles, text=True, **pipes)
        with process:
            try:
                yield process.stdout.readline().rpartition(" ")[2].strip(), process
            finally:
                process.terminate()

    return supervisor


def overwinter(*words):
    command = [sys.executable, "-m", "overwinter.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_tls_asks_for_certificates_on_both_sides(supervisor, certificates):
    def change(serve):
        names = {"tls_cert": "server.pem", "tls_key": "server.key", "client_ca": "ca.pem"}
        serve["access"] |= {key: str(certificates / name) for key, name in names.items()}

    with supervisor(change) as (address, _):
        assert address.startswith("https://127.0.0.1:")
        words = ["status", "--url", address, "--ca", str(certificates / "ca.pem")]
        assert "supervisor" in overwinter(*words, "--cert", str(certificates / "client-both.pem")).stdout
        assert overwinter(*words).returncode == 1
        stranger = overwinter("status", "--url", address, "--cert", str(certificates / "client-both.pem"))
        assert (stranger.returncode, "certificate" in stranger.stderr.lower()) == (1, True)


def test_it_has_one_thread_since_it_forks(supervisor):
    with supervisor() as (address, process):
        with urllib.request.urlopen(f"{address}/v2/health/live", timeout=10) as reply:
            assert reply.status == 200
        assert len(os.listdir(f"/proc/{process.pid}/task")) == 1


def test_a_second_server_on_one_state_is_refused_before_it_opens_its_port(supervisor, tmp_path):
    def change(serve):
        serve["state"] = str(tmp_path / "state")

    with supervisor(change) as (address, first):
        with supervisor(change) as (message, second):
            assert (second.wait(20), message) == (1, "")
            assert f"process {first.pid}" in second.stderr.read()
        with urllib.request.urlopen(f"{address}/v2/health/live", timeout=10) as reply:
            assert reply.status == 200
    first.wait(20)
    with supervisor(change) as (address, _):
        assert address.startswith("http://")


def test_a_page_that_calls_itself_otherwise_is_refused(supervisor):
    with supervisor() as (address, _):
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(
                b"POST /overwinter/models/m/level HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n"
            )
            assert client.recv(1000).startswith(b"HTTP/1.1 403")


def test_on_systemds_socket_it_leaves_when_idle(supervisor):
    with (
        socket.create_server(("127.0.0.1", 0)) as handed,
        supervisor(lambda serve: serve.update(idle_exit_s=1.0), handed=handed) as (address, process),
    ):
        assert address.endswith(f":{handed.getsockname()[1]}")
        with urllib.request.urlopen(f"{address}/v2", timeout=10) as reply:
            assert reply.status == 200
        assert process.wait(20) == 0


def curl(*words):
    command = ["curl", "--silent", "--show-error", "--max-time", "20", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_finds_what_monitors_and_pages_ask(supervisor):
    with supervisor() as (address, _):
        for path in ("/health", "/v2/health/live", "/v2/health/ready", "/metrics", "/v2/models/stats"):
            head = curl("--head", address + path)
            assert head.startswith("HTTP/1.1 200")
            whole = curl(address + path)
            assert path == "/metrics" or f"Content-Length: {len(whole)}\n" in head.replace("\r", "")
        assert json.loads(curl("--request", "POST", f"{address}/v2/repository/index")) == []
        asked = ["--header", "Origin: http://localhost:3000", "--header", "Access-Control-Request-Method: POST"]
        signalled = curl("--include", "--request", "OPTIONS", *asked, f"{address}/v1/completions")
        assert "Access-Control-Allow-Origin: http://localhost:3000" in signalled
        refused = curl("--header", "Origin: null", "--data", "{}", f"{address}/v1/completions")
        assert json.loads(refused)["error"]["type"] == "permission_error"


def test_with_few_descriptors_silent_clients_keep_no_one_out(supervisor):
    """Neither are others refused, nor does the server spin."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        address, process = stack.enter_context(supervisor())
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (60, 60))  # as if another had taken the rest
        host, port = address.removeprefix("http://").split(":")
        if soft < 400:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(400, hard), hard))
        for _ in range(150):
            stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
        with urllib.request.urlopen(f"{address}/health", timeout=20) as reply:
            assert reply.status == 200
        before_s = _cpu_s(process.pid)
        time.sleep(1)
        assert _cpu_s(process.pid) - before_s < 0.3


def _cpu_s(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
