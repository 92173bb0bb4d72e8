"""Killing, truncating, starving: afterwards `dvc repro` ends as if nothing had happened, or says what is wrong."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from overwinter.cli import main

VICTIMS = ("stage", "dvc", "run") * 2


def _stages(space):
    """Processes at work in the project, by what they are."""
    found = {}
    for process in psutil.process_iter(["cmdline", "cwd"]):
        words = process.info["cmdline"] or []
        if process.info["cwd"] != str(space.root):
            continue
        name = next((word for word in words if word.startswith("stages/") or word in ("repro", "run")), None)
        if name and "-c" not in words[:2]:
            found.setdefault(name, process)
    return found


def _wait_for(condition, timeout_s=60.0):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if response := condition():
            return response
        time.sleep(0.05)  # looking through all processes takes a few milliseconds itself
    raise AssertionError("it never happened")


def _kill(space, victim):
    """Kill -9 the running stage, dvc or `overwinter run`."""
    names = {"dvc": "repro", "run": "run"}
    if victim == "stage":
        process = _wait_for(lambda: next((p for name, p in _stages(space).items() if name.startswith("stages/")), None))
    else:
        process = _wait_for(lambda: _stages(space).get(names[victim]))
    process.kill()


@pytest.mark.slow
def test_after_kill_9_dvc_repro_ends_with_the_same_bytes_and_no_orphan(space, fresh):
    """Each is killed twice, wherever the work has come to by then."""
    random.seed(0)
    for victim in VICTIMS:
        runner = fresh.start("overwinter", "run")
        _wait_for(lambda: any(name.startswith("stages/") for name in _stages(fresh)))
        time.sleep(random.uniform(0.0, 4.0))
        if runner.poll() is None:
            _kill(fresh, victim)
        runner.wait(timeout=60)
        _wait_for(lambda: not _stages(fresh), timeout_s=10)
    fresh("dvc", "repro")
    assert fresh.models() == space.models()
    assert not list((fresh.root / "outputs").rglob(".part-*"))
    statuses = {record["status"] for record in json.loads(fresh("overwinter", "ledger", "--json").stdout)["executions"]}
    assert "running" not in statuses


def test_ctrl_c_ends_a_run_with_a_checkpoint_and_the_next_one_goes_on_from_it(space):
    overrides = ("train.epochs=12", "train.patience_epochs=0")
    events = space.root / ".overwinter" / "runs"
    before = set(events.glob("*.events"))
    said = space.root / "said.txt"
    with said.open("w") as errors:
        runner = space.start("overwinter", "run", *overrides, errors=errors)
    log = _wait_for(lambda: next(iter(set(events.glob("*.events")) - before), None))
    _wait_for(lambda: '"progress"' in log.read_text())
    os.killpg(runner.pid, signal.SIGINT)  # to all of the terminal's foreground, as Ctrl-C does
    assert runner.wait(timeout=60) == 130
    assert re.search(
        r"overwinter: train was interrupted at \d+ of \d+ steps\. The next run resumes from there; finished stages",
        said.read_text(),
    )
    assert "train: interrupted (" in said.read_text()
    assert not _stages(space)
    assert not list((space.root / "outputs").rglob(".part-*"))
    record = json.loads(space("overwinter", "ledger", "--json", "--status", "interrupted").stdout)["executions"][-1]
    assert record["stage"] == "train"
    space("dvc", "repro", "train")
    assert space.json("train/energy.json")["resumed_j"] > 0


def _model(space, stage="train"):
    return space.root / "outputs" / stage / "model" / "weights.safetensors"


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_a_damaged_artifact_is_refused(space, damage):
    path = _model(space)
    content = bytearray(path.read_bytes())
    path.unlink()  # DVC may have linked it to its cache
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        content[-1] ^= 1
        path.write_bytes(content)
    done = space("python", "stages/sparsify.py", check=False)
    assert done.returncode == 4
    assert "weights.safetensors" in done.stderr
    assert json.loads((space.root / "outputs/sparsify/gate.json").read_text())["pass"]  # what was there stays


def test_a_diverging_loss_is_reported_with_step_and_remedy(space):
    done = space(
        "python",
        "stages/train.py",
        "threads=1",
        "train.epochs=1",
        "train.learning_rate=1e30",
        "train.gradient_clip_norm=1e30",
        check=False,
    )
    assert done.returncode == 1
    assert "Lower the learning rate" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 4


BAD = [
    ("train.epohcs=3", "Did you mean 'train.epochs'"),
    ("train.epochs=abc", "abc"),
    ("train.epochs=0", "train.epochs=0"),
    ("sparsify=foo", "channels"),
    ("sparsify.amount=1.5", "sparsify.amount=1.5"),
    ("budget.total='3 kj'", "Did you mean 'kJ'"),
    ("budget.total=30", "budget.total"),
    ("model._target_=os.system", "os is part of Python"),
    ("model._target_=elsewhere.Net", "trusted_targets=[elsewhere]"),
    ("device=gpu", "device='gpu'"),
    ("no_such_group=1", "no_such_group"),
    ("train", "key=value"),
]


@pytest.mark.parametrize(("override", "message"), BAD)
def test_a_wrong_setting_is_refused_before_anything_runs(finished, monkeypatch, capsys, override, message):
    monkeypatch.chdir(finished)
    assert main(["run", override]) == 2
    output = capsys.readouterr().err.strip()
    assert message in output
    assert len(output.splitlines()) <= 3


def test_edited_parameters_are_refused_by_the_check(space):
    params = space.root / "params.yaml"
    params.write_text(params.read_text().replace("  epochs: 2\n", "  epochs: many\n"))
    done = space("dvc", "repro", check=False)
    assert done.returncode == 255
    assert "train.epochs" in done.stderr + done.stdout
    assert "Running stage 'train'" not in done.stdout


def test_a_method_that_no_one_offers_is_refused_before_training(space):
    done = space("overwinter", "run", "seed=5", "quantize.methods=[int9]", check=False)
    assert done.returncode == 2
    assert "quantize.methods='int9' is unknown" in done.stderr
    assert "check" not in done.stderr  # nothing was started


def test_data_that_is_not_there_is_reported_with_how_to_get_it(space):
    done = space("overwinter", "run", "data=fashion", "data.root=/nowhere", "model=fashion_cnn", check=False)
    assert done.returncode == 2
    assert "dataset-fashion-mnist" in done.stderr


@pytest.mark.special
def test_a_full_disk_leaves_nothing_half_written(space, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder = space.root / "outputs" / "train"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        done = space("python", "stages/train.py", check=False)
        assert done.returncode == 1
        assert "No space left" in done.stderr
        assert os.listdir(folder) == []
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_the_default_case_opens_no_socket(finished, no_network):
    """`finished` was made where none can be had."""
    script = "import socket; socket.socket()"
    blocked = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **no_network}, capture_output=True, text=True, check=False
    )
    assert "a socket was opened" in blocked.stderr
    assert (finished / "outputs/hibernate/bundle/bundle.json").exists()
