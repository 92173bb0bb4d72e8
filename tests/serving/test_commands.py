"""The real commands: `overwinter serve`, `status`, `sleep`, `wake`, with a real bundle and real workers."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from overwinter.bundle import protect
from overwinter.bundle.sealed import create_signing_key

OVERWINTER = [sys.executable, "-m", "overwinter.cli"]
TOKEN = "a-token-of-the-test-suite"
QUESTION = {"inputs": [{"name": "raw", "datatype": "UINT8", "shape": [1, 8, 8], "data": [8] * 64}]}


def overwinter(*words, **settings):
    return subprocess.run([*OVERWINTER, *words], capture_output=True, text=True, check=False, timeout=60, **settings)


@pytest.fixture
def server(hibernate, tmp_path):
    """Address, process and log of a server with a token, stopped at the end."""
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    words = ["--model", f"digits={hibernate().folder}", "serve.port=0", f"serve.access.token_file={token}"]
    words.append(f"serve.log={tmp_path / 'log'}")
    with subprocess.Popen([*OVERWINTER, "serve", *words], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        assert line.startswith("digits: http://127.0.0.1:"), line
        try:
            yield line.split()[1], process, tmp_path
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0


def fetch(address, path, content=None, *, token=TOKEN):
    body = None if content is None else json.dumps(content).encode()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib.request.urlopen(urllib.request.Request(address + path, body, headers), timeout=30) as reply:
        return reply.read()


def test_a_model_sleeps_wakes_dies_and_answers(server):
    address, process, folder = server
    flags = ["--url", address, "--token-file", str(folder / "token")]

    status = json.loads(overwinter("status", "--json", *flags).stdout)
    assert status["models"]["digits"]["state"] == "off"
    assert status["supervisor"]["pid"] == process.pid
    assert status["supervisor"]["resident_bytes"] < 40e6

    first = fetch(address, "/v2/models/digits/infer", QUESTION)
    assert json.loads(first)["outputs"][1]["name"] == "label"
    predicted = json.loads(fetch(address, "/v2/models/digits/predict", {"instances": [[[8] * 8] * 8]}))["predictions"]
    assert predicted[0]["label"] == json.loads(first)["outputs"][1]["data"][0]
    for level in ("parked", "preforked", "off"):
        assert overwinter("sleep", "digits", "--level", level, *flags).stdout == f"digits: {level}\n"
        assert fetch(address, "/v2/models/digits/infer", QUESTION) == first
    worker = json.loads(fetch(address, "/overwinter/status"))["models"]["digits"]["workers"][0]
    os.kill(worker, signal.SIGKILL)
    assert fetch(address, "/v2/models/digits/infer", QUESTION) == first

    overwinter("sleep", *flags)
    for probe in (
        "/v2/health/live",
        "/v2/health/ready",
        "/v2",
        "/v2/models/digits",
        "/v2/models/digits/ready",
        "/metrics",
    ):
        fetch(address, probe)
    measured = fetch(address, "/metrics").decode()
    assert 'overwinter_requests_total{model="digits",status="200"} 6.0' in measured
    assert "_created" not in measured
    shown = overwinter("status", *flags).stdout
    assert "digits: off (by hand)" in shown
    assert "no saving is reported" in shown
    assert overwinter("wake", *flags).stdout == "digits: ready\n"
    events = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    assert {"serving", "state", "woke"} <= {event["event"] for event in events}
    assert "crash" in {event.get("reason") for event in events}  # whether or not a request was the first to notice


def test_a_store_is_asked_once_and_an_alias_may_move(hibernate, tmp_path):
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XDG_STATE_HOME": str(tmp_path / "state")}
    bundle = hibernate().folder
    assert overwinter("bundle", "publish", str(bundle), "models#digits", cwd=tmp_path, env=environment).returncode == 0
    words = [*OVERWINTER, "serve", "models#digits", "serve.port=0", f"serve.log={tmp_path / 'log'}"]
    with subprocess.Popen(words, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().split()[1]
        shutil.rmtree(tmp_path / "models")
        response = json.loads(fetch(address, "/v2/models/digits/infer", QUESTION))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert response["outputs"][1]["name"] == "label"


def test_who_has_no_token_gets_health_alone(server):
    address, _, _ = server
    assert fetch(address, "/v2/health/live", token=None)
    for path in ("/v2", "/metrics", "/overwinter/status"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            fetch(address, path, token=None)
    refused = overwinter("status", "--url", address)
    assert (refused.returncode, "needs a token" in refused.stderr) == (1, True)


def test_an_exchanged_bundle_is_not_served(server):
    address, _, folder = server
    payload = folder / "bundle" / "payload" / "model.onnx"
    payload.write_bytes(payload.read_bytes()[:-1] + b"x")
    with pytest.raises(urllib.error.HTTPError) as refusal:
        fetch(address, "/v2/models/digits/infer", QUESTION)
    assert refusal.value.code == 503
    assert b"model.onnx" in refusal.value.read()
    with pytest.raises(urllib.error.HTTPError, match="503"):
        fetch(address, "/v2/models/digits/ready")


def test_an_altered_bundle_does_not_start(hibernate, tmp_path):
    bundle = hibernate().folder
    (bundle / "payload" / "model.onnx").write_bytes(b"other")
    done = overwinter("serve", str(bundle), cwd=tmp_path)
    assert done.returncode == 4
    assert "model.onnx" in done.stderr


def test_another_bundle_than_expected_does_not_start(hibernate, tmp_path):
    words = ["serve", str(hibernate().folder), "--lineage", "stage=train"]
    assert overwinter(*words, cwd=tmp_path).returncode == 4
    two = ["serve", "--model", "a=bundle", "--model", "b=bundle", "--digest", "0" * 8]
    assert "--digest needs a single bundle" in overwinter(*two, cwd=tmp_path).stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Name at least one bundle"),
        (["--model", "x"], "must be NAME=BUNDLE"),
        (["bundle", "serve.port=70000"], "serve.port=70000"),
        (["bundle", "serve.host=0.0.0.0"], "serve.access.token_file"),
        (["bundle", "carbon=trace", "carbon.path=bundle/bundle.json"], "bundle.json has no column time_utc"),
        (["bundle", "--model", "bundle=bundle"], "Two bundles have the name 'bundle'"),
        (["bundle", "--config", "nowhere"], "nowhere.yaml is missing"),
    ],
)
def test_wrong_words_are_refused(hibernate, tmp_path, words, message):
    hibernate()
    done = overwinter("serve", *words, cwd=tmp_path)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_a_token_that_others_can_read_is_refused(hibernate, tmp_path):
    hibernate()
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o644)
    done = overwinter("serve", "bundle", "serve.port=0", "serve.access.token_file=token", cwd=tmp_path)
    assert (done.returncode, "chmod 600" in done.stderr) == (2, True)


def test_a_port_that_is_taken_is_named(server, tmp_path):
    port = server[0].rsplit(":", 1)[1]
    done = overwinter("serve", "bundle", f"serve.port={port}", cwd=tmp_path)
    assert (done.returncode, f"127.0.0.1:{port}" in done.stderr) == (1, True)


def test_no_server_is_reported_so():
    done = overwinter("status", "--url", "http://127.0.0.1:9")
    assert (done.returncode, "No server responds" in done.stderr) == (1, True)


def test_the_supervisor_imports_nothing_heavy():
    heavy = ("torch", "numpy", "hydra", "omegaconf", "onnxruntime", "yaml", "cryptography")
    check = f"sys.exit(' '.join(set({heavy!r}) & set(sys.modules)))"
    program = f"import sys, overwinter.serving.supervisor; {check}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_a_signed_and_sealed_bundle_is_served_to_anyone_who_has_the_keys(hibernate, tmp_path):
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_text("ab" * 32)
    secret = f"file:{tmp_path / 'secret'}"
    create_signing_key(tmp_path / "key", tmp_path / "key.pub")
    sealed = protect(hibernate().folder, sign_key=f"file:{tmp_path / 'key'}", encryption_keys=[secret]).source
    words = ["serve", str(sealed), "serve.port=0", "--trusted", "key.pub"]
    assert overwinter(*words, cwd=tmp_path).returncode != 0
    command = [*OVERWINTER, *words, "--key", secret]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().split()[1]
        response = json.loads(fetch(address, "/v2/models/bundle/infer", QUESTION))
        process.terminate()
    assert (response["outputs"][1]["name"], process.returncode) == ("label", 0)
