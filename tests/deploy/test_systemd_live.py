"""The rendered units under a real user manager, in namespaces of its own, with a stand-in for the server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from overwinter.deploy import Systemd

MANAGER = Path("/lib/systemd/systemd")
SERVER = f"""#!{sys.executable}
import http.server, sys
from overwinter.serving.readiness import notify_ready
port = next(int(word.partition("=")[2]) for word in sys.argv if word.startswith("serve.port="))
server = http.server.HTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler)
notify_ready()
server.serve_forever()
"""
SCRIPT = """
mount -t tmpfs tmpfs /run
mkdir -p -m 700 /run/systemd/system /run/user/0
export XDG_RUNTIME_DIR=/run/user/0 HOME={home} SYSTEMD_UNIT_PATH={units} SYSTEMD_GENERATOR_PATH={home}/none
{manager} --user > {home}/manager.log 2>&1 &
until systemctl --user start model.socket 2> /dev/null; do sleep 0.1; done
state() {{ echo "$1" $(systemctl --user is-active model.socket model.service model-server.service); }}
state before
curl -s -o /dev/null -m 20 -w '%{{http_code}}\\n' http://127.0.0.1:{port}/
state during
while systemctl --user is-active -q model-server.service; do sleep 0.2; done
state after
curl -s -o /dev/null -m 20 -w '%{{http_code}}\\n' http://127.0.0.1:{port}/
"""

# All that the manager may load beside the rendered units: none of the machine's own, some of which clean folders.
TARGETS = ("default", "basic", "sockets", "shutdown")
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")  # all of it ends with the test
SYSTEMS_OWN = ("DynamicUser", "Private", "Protect", "Restrict", "IPAddress", "Device", "SystemCall", "Capability")
LIMITS = ("Ambient", "RemoveIPC", "Keyring", "LockPersonality", "MemoryDeny", "MemoryMax", "TasksMax", "Bind", "OOM")


def without_sandbox(text):
    """Leave out what a user's manager may not do, here without control groups: only the system's shuts a service in."""
    return "".join(line for line in text.splitlines(True) if not line.startswith((*SYSTEMS_OWN, *LIMITS)))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def missing():
    """Return why no manager can be started here: only where none runs, and a namespace keeps it apart."""
    if os.geteuid() or Path("/run/systemd/system").exists() or not MANAGER.exists():
        return "needs root, systemd installed, and a machine that it does not run"
    if not (shutil.which("unshare") and shutil.which("curl")):
        return "needs unshare and curl"
    probe = [*NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/run"]
    return "mounting is not allowed" if subprocess.run(probe, check=False, capture_output=True).returncode else ""


@pytest.mark.special
def test_a_request_starts_the_server_and_idleness_ends_it(deployed, tmp_path):
    if reason := missing():
        pytest.skip(reason)
    program = tmp_path / "overwinter"
    program.write_text(SERVER)
    program.chmod(0o755)
    port, backend_port = free_port(), free_port()
    units = tmp_path / "units"
    units.mkdir()
    for name in TARGETS:
        (units / f"{name}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    deployment = deployed(f"serve.port={port}", fixed_idle_s=1.0)
    for name, text in Systemd(program=str(program), backend_port=backend_port).render(deployment).items():
        (units / name).write_text(without_sandbox(text))
    script = SCRIPT.format(home=tmp_path, units=units, manager=MANAGER, port=port)
    done = subprocess.run([*NAMESPACES, "sh", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines() == [
        "before active inactive inactive",
        "200",
        "during active active active",
        "after active inactive inactive",
        "200",
    ], (done.stderr, (tmp_path / "manager.log").read_text())
