"""The real server with what goes wrong around it: clients that leave, a full disk, an end without warning."""

import contextlib
import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

QUESTION = json.dumps({"inputs": [{"name": "raw", "datatype": "UINT8", "shape": [1, 8, 8], "data": [8] * 64}]}).encode()
INFER = "/v2/models/digits/infer"
LATER = {"Overwinter-Deadline": "28800", "Prefer": "respond-async"}


@pytest.fixture
def serve(hibernate, tmp_path):
    """Start a server with a folder for its state, and more settings; give its process and address."""
    bundle = hibernate().folder

    @contextlib.contextmanager
    def serve(*settings, state=tmp_path / "state"):
        words = ["--model", f"digits={bundle}", "serve.port=0", f"serve.log={tmp_path / 'log'}", f"serve.state={state}"]
        command = [sys.executable, "-m", "overwinter.cli", "serve", *words, *settings]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, cwd=tmp_path, text=True, **pipes) as process:
            try:
                yield process, process.stdout.readline().rpartition(" ")[2].strip()
            finally:
                process.terminate()

    return serve


@pytest.fixture
def green_later(tmp_path):
    """Settings of a grid that will be green in three hours."""
    now = dt.datetime.now(dt.UTC).replace(minute=0, second=0, microsecond=0)
    hours = [now + dt.timedelta(hours=hour) for hour in range(-48, 24)]
    rows = [f"{hour:%Y-%m-%dT%H:%M:%SZ},{50 if hour.hour == (now.hour + 3) % 24 else 400}\n" for hour in hours]
    (tmp_path / "trace.csv").write_text("time_utc,g_per_kwh\n" + "".join(rows))
    return "carbon=trace", f"carbon.path={tmp_path / 'trace.csv'}"


def fetch(address, path, body=None, headers=None):
    request = urllib.request.Request(address + path, body, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def metric(address, beginning):
    lines = fetch(address, "/metrics")[1].decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(beginning))


def test_what_waits_outlives_a_kill_and_what_was_damaged_is_reported(serve, green_later, tmp_path):
    with serve(*green_later) as (process, address):
        places = [json.loads(fetch(address, INFER, QUESTION, LATER)[1])["location"] for _ in range(3)]
        assert metric(address, "overwinter_deferred ") == 3
        process.send_signal(signal.SIGKILL)
        process.wait()
    damaged = tmp_path / "state" / "deferred" / f"{places[0].rpartition('/')[2]}.request"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    (tmp_path / "state" / "deferred" / ".x.request.y.part").write_bytes(b"half")
    with serve() as (process, address):  # no forecast: what waits is asked at once
        deadline_s = time.monotonic() + 30
        while (answered := fetch(address, places[1]))[0] == 202 and time.monotonic() < deadline_s:
            time.sleep(0.1)
        assert (answered[0], fetch(address, places[0])[0]) == (200, 500)
        process.terminate()
        assert process.wait(20) == 0
        assert "Traceback" not in process.stderr.read()
    assert "quarantined" in (tmp_path / "log").read_text()


def test_a_second_server_is_refused_and_the_first_goes_on(serve):
    with serve() as (first, address):
        with serve() as (second, message):
            assert (second.wait(30), message) == (1, "")
            assert f"process {first.pid}" in second.stderr.read()
        assert fetch(address, "/v2/health/live")[0] == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_reported_and_loses_no_response(serve, tmp_path):
    state = tmp_path / "small"
    state.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(state)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        with serve(state=state) as (process, address):
            accepted = fetch(address, INFER, QUESTION, {**LATER, "Overwinter-Deadline": "1"})
            with (state / "fill").open("wb") as stream, contextlib.suppress(OSError):
                stream.write(bytes(1 << 17))
            place, deadline_s = json.loads(accepted[1])["location"], time.monotonic() + 30
            while (answered := fetch(address, place))[0] == 202 and time.monotonic() < deadline_s:
                time.sleep(0.1)
            assert answered[0] == 200
            refused = fetch(address, INFER, QUESTION, LATER)
            assert (refused[0], b"disk is full" in refused[1]) == (507, True)
            (state / "fill").unlink()
            assert fetch(address, INFER, QUESTION, LATER)[0] == 202
            process.terminate()
            assert process.wait(30) == 0
            assert "Traceback" not in process.stderr.read()
    finally:
        subprocess.run(["umount", "--lazy", str(state)], check=True)


def test_clients_that_leave_are_not_computed_for(serve):
    count = 20_000
    tensor = {"name": "raw", "datatype": "UINT8", "shape": [count, 8, 8]}
    head = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": count * 64}}]}).encode()
    with serve() as (_, address):
        host, port = address.removeprefix("http://").split(":")
        lines = f"POST {INFER} HTTP/1.1\r\nHost: {host}\r\nInference-Header-Content-Length: {len(head)}\r\n"
        content = f"{lines}Content-Length: {len(head) + count * 64}\r\n\r\n".encode() + head + bytes(count * 64)
        leaving = [socket.create_connection((host, int(port))) for _ in range(5)]
        for client in leaving:
            client.sendall(content)
        time.sleep(0.1)
        for client in leaving:
            client.close()
        assert fetch(address, INFER, QUESTION)[0] == 200
        deadline_s = time.monotonic() + 10
        while metric(address, "overwinter_requests_total") < 6 and time.monotonic() < deadline_s:
            time.sleep(0.1)
        left = metric(address, 'overwinter_requests_total{model="digits",status="499"}')
        done = metric(address, 'overwinter_requests_total{model="digits",status="200"}')
        assert left + done == 6
        assert done <= 2


def test_half_a_connection_gets_its_response(serve):
    with serve() as (_, address):
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(f"POST {INFER} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(QUESTION)}\r\n\r\n".encode())
            client.sendall(QUESTION)
            client.shutdown(socket.SHUT_WR)
            response = b"".join(iter(lambda: client.recv(1 << 16), b""))
    assert b"HTTP/1.1 200" in response
    assert b'"probability"' in response
