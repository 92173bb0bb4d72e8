"""Publishing and fetching, killed (SIGKILL) before and after every write to the disk."""

import json
import os
import subprocess
import sys

import pytest

# Forks one process after the other, which is killed at the first, second, third ... flush to the disk or look into the
# store, until one lives to the end. What a kill left is described as JSON, a line each.
KILLER = """
import json, os, signal, sys
from pathlib import Path
from overwinter import files
from overwinter.bundle import read_bundle
from overwinter.bundle.store import Pins, open_store, transfer
from overwinter.bundle.store.local import LocalStorage

action, folder, bundle = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
transfer.PART_BYTES = 64
store = open_store(str(folder / "store"), pins=Pins(folder / "pins.json"))


def act():
    if action == "publish":
        store.publish(bundle, "digits", alias="champion")
    else:
        store.fetch(store.resolve("digits", "champion")[1], folder / "fetched")


def killed_at(place):
    left = place

    def count(step):
        def counting(*arguments):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*arguments)

        return counting

    files.sync, os.fsync, LocalStorage.read = map(count, (files.sync, os.fsync, LocalStorage.read))
    act()
    os._exit(0)


for place in range(1, 400):
    if (pid := os.fork()) == 0:
        killed_at(place)
    _, status = os.waitpid(pid, 0)
    serial = store.catalog("digits").serial
    seen = None
    if action == "publish" and serial:  # anyone who sees it sees all of it
        store.fetch(store.resolve("digits", "champion")[1], folder / f"seen-{place}")
        seen = read_bundle(folder / f"seen-{place}").digest
    whole = (folder / "fetched").exists() and read_bundle(folder / "fetched").digest
    parts = len(list((folder / "store" / "parts").glob("*/*")))
    killed = os.WIFSIGNALED(status)
    print(json.dumps({"killed": killed, "serial": serial, "seen": seen, "whole": whole, "parts": parts}))
    if not killed:
        sys.exit(os.waitstatus_to_exitcode(status))
"""


def kill_again_and_again(action, tmp_path, bundle):
    command = [sys.executable, "-c", KILLER, action, str(tmp_path), str(bundle)]
    done = subprocess.run(
        command, env={"PYTHONPATH": os.pathsep.join(sys.path)}, check=True, capture_output=True, text=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr("overwinter.bundle.store.transfer.PART_BYTES", 64)


@pytest.fixture
def bundle(make):
    return make("a", bytes(range(256)) * 2)


def test_a_killed_publisher_leaves_nothing_or_all_and_the_next_goes_on(store, tmp_path, bundle):
    from overwinter.bundle import read_bundle

    digest = read_bundle(bundle).digest
    states = kill_again_and_again("publish", tmp_path, bundle)
    assert len(states) > 10
    assert [state["killed"] for state in states] == [True] * (len(states) - 1) + [False]
    assert states[0]["serial"] == 0
    assert states[-1]["serial"] >= 1
    assert {state["seen"] for state in states if state["serial"]} == {digest}
    parts = [state["parts"] for state in states]
    assert parts == sorted(parts)  # each goes on from where the one before was killed
    assert parts[0] < parts[-1]
    leftovers = [path for path in (tmp_path / "store").rglob(".*") if path.is_file()]
    assert leftovers
    assert store.collect(keep=9, grace_s=0.0) == (0, len(leftovers))
    store.fetch(store.resolve("digits", "champion")[1], tmp_path / "after")
    assert read_bundle(tmp_path / "after").digest == digest


def test_a_killed_fetch_leaves_nothing_at_its_place_and_the_next_goes_on(store, tmp_path, bundle):
    _, version = store.publish(bundle, "digits", alias="champion")
    states = kill_again_and_again("fetch", tmp_path, bundle)
    assert len(states) > 10
    assert states[-1] == states[-1] | {"killed": False, "whole": version.digest}
    assert {state["whole"] for state in states} == {False, version.digest}
    assert states[0]["whole"] is False
    assert not (tmp_path / "fetched.partial").exists()
