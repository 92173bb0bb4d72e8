"""The rendered server in a container of podman, with the rights that the compose file gives it, asked over HTTP.

The image is this machine's own files, since none can be built in a test's time: docs/deploy.md says what was built.
"""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest
import yaml
from onnx import TensorProto, helper

from overwinter.deploy import Container
from tests.support.bundles import two_inputs

USER = 65532
TOKEN = "/run/secrets/overwinter/token"
ASKING = f"""
import json, os, pathlib, subprocess, sys, urllib.request

def asked(path, body=None):
    headers = {{"Authorization": "Bearer " + pathlib.Path("{TOKEN}").read_text().strip()}}
    request = urllib.request.Request("http://127.0.0.1:8080" + path, body, headers)
    with urllib.request.urlopen(request, timeout=30) as reply:
        return reply.read().decode()

def writable(path):
    try:
        pathlib.Path(path, "note").touch()
    except OSError:
        return False
    return True

def state():
    return json.loads(asked("/overwinter/status"))["models"]["bundle"]["state"]

question = {{"inputs": [{{"name": "input", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 2.5]}}]}}
states, responses = [state()], []
for level in ("parked", "off"):
    responses.append(json.loads(asked("/v2/models/bundle/infer", json.dumps(question).encode()))["outputs"][0]["data"])
    states.append(state())
    words = [sys.executable, "-m", "overwinter.cli", "sleep", "bundle", "--level", level, "--token-file", "{TOKEN}"]
    subprocess.run(words, check=True, stdout=sys.stderr)
    states.append(state())
status = dict(line.split(":\t", 1) for line in pathlib.Path("/proc/1/status").read_text().splitlines() if ":\t" in line)
rights = {{key: status[key].split()[0] for key in ("Uid", "CapEff", "CapBnd", "NoNewPrivs")}}
places = [place for place in ("/", "/srv/bundle", "/usr", "/tmp") if writable(place)]
print(json.dumps({{"responses": responses, "states": states, "rights": rights, "writable": places}}))
"""


@pytest.fixture
def bundle(tmp_path):
    """One that answers twice what it is asked; it belongs to the image's user."""
    value, two = helper.make_tensor_value_info, helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
    ends = [[value(name, TensorProto.FLOAT, ["batch", 2])] for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Mul", ["x", "two"], ["y"])], "twice", *ends, [two])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    written = two_inputs(tmp_path / "bundle", content=model.SerializeToString(), responses=2.0)
    for path in (written.folder, *written.folder.rglob("*")):
        os.chown(path, USER, USER)
    return written


def options_of(server):
    """What `podman run` is reported of a service."""
    flags = {"cap-drop": "cap_drop", "security-opt": "security_opt", "tmpfs": "tmpfs", "volume": "volumes"}
    many = [f"--{flag}={value}" for flag, key in flags.items() for value in server[key]]
    limits = {"read-only": "read_only", "memory": "mem_limit", "cpus": "cpus", "pids-limit": "pids_limit"}
    return [*many, *(f"--{flag}={server[key]}" for flag, key in limits.items())]


@pytest.mark.special
def test_it_answers_sleeps_and_wakes_with_no_right_that_it_does_not_need(podman, bundle, deployed, tmp_path):
    words, run = podman
    token = tmp_path / "token"
    token.write_text("ab" * 32)
    token.chmod(0o400)
    os.chown(token, USER, USER)
    deployment = deployed(bundle=bundle.folder, digest=bundle.digest)
    rendered = Container(package="overwinter", needed=(), token=str(token)).render(deployment)
    (server,) = yaml.safe_load(rendered["compose.yaml"])["services"].values()
    lines = dict(line.split(" ", 1) for line in rendered["Containerfile"].splitlines() if line[:4] in ("USER", "CMD "))
    place = [f"--user={lines['USER']}", "--env=HOME=/tmp", f"--volume={bundle.folder}:/srv/bundle:ro", "--name=server"]
    program = ["python", "-m", "overwinter.cli", *json.loads(lines["CMD"])]
    with subprocess.Popen([*run, *options_of(server), *place, "empty", *program], stdout=subprocess.PIPE) as process:
        try:
            assert b"bundle: http://0.0.0.0:8080" in process.stdout.readline()
            asking = [*words, "exec", "server", "python", "-c", ASKING]
            done = subprocess.run(asking, capture_output=True, text=True, check=False, timeout=60)
        finally:
            begin_s = time.monotonic()
            subprocess.run([*words, "stop", "--time=30", "server"], check=True, capture_output=True)
            stopped_s = time.monotonic() - begin_s
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["responses"] == [[3.0, 5.0]] * 2
    assert seen["states"] == ["off", "ready", "parked", "ready", "off"]
    nothing = "0" * 16
    assert seen["rights"] == {"Uid": str(USER), "CapEff": nothing, "CapBnd": nothing, "NoNewPrivs": "1"}
    assert seen["writable"] == ["/tmp"]
    assert stopped_s < 20  # by itself, on request
