"""Sweeps through the real commands: each distinct stage runs once, whatever ends the sweep in between."""

import json
import os
import random
import signal
import time
from collections import Counter

import psutil
import pytest

GRID = ("train.learning_rate=0.003,0.002", "sparsify.amount=0.5,0.6", "quantize=int8_static,none")
DISTINCT = {"train": 2, "sparsify": 4, "quantize": 8, "evaluate": 8}


def _sweep(space, *words, check=True):
    done = space("overwinter", "run", "-m", "--json", *words, check=check)
    return done, (json.loads(done.stdout) if done.stdout else None)


def _executions(space, status="done"):
    """Return how often each stage was executed, and assert that none was executed twice on the same configuration."""
    records = json.loads(space("overwinter", "ledger", "--json", "--status", status).stdout)["executions"]
    each = Counter((record["stage"], record["configuration_key"]) for record in records)
    if status == "done":
        assert set(each.values()) <= {1}, each
    return Counter(stage for stage, _ in each)


def _kill_all(runner):
    family = [*psutil.Process(runner.pid).children(recursive=True), psutil.Process(runner.pid)]
    for process in family:
        process.kill()
    psutil.wait_procs(family, timeout=10)
    runner.wait(timeout=10)


def _killed(space, *words):
    """Start a sweep, and kill all of it up to eight seconds after a stage has begun."""
    runner = space.start("overwinter", "run", "-m", *words)
    _wait_for(lambda: runner.poll() is not None or _executions(space, "running"))
    time.sleep(random.uniform(0.0, 8.0))
    if runner.poll() is None:
        _kill_all(runner)


def _wait_for(condition, timeout_s=120.0):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it never happened")


@pytest.mark.slow
@pytest.mark.timeout(1800)  # two minutes on a quiet machine
def test_each_distinct_stage_runs_once_with_two_workers_kills_and_a_second_sweep(fresh):
    random.seed(0)
    for _ in range(2):
        _killed(fresh, *GRID, "--workers", "2")
    _, swept = _sweep(fresh, *GRID, "--workers", "2")
    assert _executions(fresh) == DISTINCT
    assert {point["status"] for point in swept["points"]} == {"done"}
    assert swept["sharing"]["stages"] == 32
    assert swept["sharing"]["distinct"] == sum(DISTINCT.values())
    assert not (fresh.root / "multirun").exists()

    _, again = _sweep(fresh, *reversed(GRID))
    assert again["name"] == swept["name"]
    assert all(point["ran"] == [] for point in again["points"])

    _, other = _sweep(fresh, "sparsify.amount=0.5,0.7", "quantize=none", "train.learning_rate=0.003")
    assert [point["ran"] for point in other["points"]] == [[], ["sparsify", "quantize", "evaluate"]]
    assert _executions(fresh) == Counter(DISTINCT) + Counter(sparsify=1, quantize=1, evaluate=1)

    listed = json.loads(fresh("dvc", "exp", "show", "--json").stdout)
    saved = {each["revs"][0]["name"] for each in listed[1]["experiments"]}
    assert saved == {f"point-{point['name']}" for point in [*swept["points"], *other["points"]]}
    fresh("dvc", "exp", "apply", f"point-{other['points'][1]['name']}", check=False)  # 255: hibernate has not run
    assert "amount: 0.7" in (fresh.root / "params.yaml").read_text()
    before = _executions(fresh)
    fresh("dvc", "repro", "gate-evaluate")
    assert _executions(fresh) == before
    assert fresh.json("sparsify/gate.json")["pass"]


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(space):
    words = ("train.epochs=3,40", "train.patience_epochs=0", "--until", "train", "--name", "trained")
    runner = space.start("overwinter", "run", "-m", *words)
    logs = space.root / ".overwinter" / "sweeps" / "trained" / "logs"
    _wait_for(lambda: any(_steps(events) > 1000 for events in logs.glob("*.events")))  # only 40 epochs have as many
    os.kill(runner.pid, signal.SIGINT)
    assert runner.wait(timeout=60) == 130
    record = json.loads((logs.parent / "points.json").read_text())
    assert [point["status"] for point in record["points"]] == ["done", "interrupted"]
    assert _executions(space, "interrupted") == {"train": 1}

    before = _executions(space)
    _, swept = _sweep(space, *words)
    assert [point["ran"] for point in swept["points"]] == [[], ["train"]]
    assert _executions(space) - before == {"train": 1}
    tree = space.root / ".overwinter" / "sweeps" / "trees" / "0"
    assert json.loads((tree / "outputs/train/energy.json").read_text())["resumed_j"] > 0


def _steps(events):
    """Return the number of steps that a point's stage has to take, once it has taken the first."""
    known = (json.loads(line) for line in events.read_text().splitlines() if line.endswith("}"))
    return max((event["total"] for event in known if event["event"] == "progress"), default=0)


def test_a_point_that_fails_leaves_the_others_and_is_not_tried_by_those_that_share_it(space):
    words = ("train.learning_rate=1e30,0.002", "train.gradient_clip_norm=1e30", "sparsify.amount=0.5,0.6")
    done, swept = _sweep(space, *words, "--until", "sparsify", check=False)
    assert done.returncode == 1
    assert [point["status"] for point in swept["points"]] == ["failed", "failed", "done", "done"]
    assert "Lower the learning rate" in done.stderr
    assert "train failed in point" in swept["points"][1]["message"]
    assert _executions(space, "failed") == {"train": 1}


def test_a_sweep_stops_before_the_point_that_would_exceed_its_budget_and_goes_on_with_a_higher_one(space):
    words = ("train.learning_rate=0.0031,0.0032", "--until", "train")
    before = _executions(space)
    done, swept = _sweep(space, *words, "--budget", "1 mJ", check=False)
    assert done.returncode == 3
    assert [point["status"] for point in swept["points"]] == ["skipped", "skipped"]
    assert "budget of 1.00 mJ does not hold this point" in done.stderr
    assert _executions(space) == before
    done, swept = _sweep(space, *words, "--budget", "1 MJ")
    assert [point["status"] for point in swept["points"]] == ["done", "done"]


def test_a_point_that_its_gate_refuses_has_that_status(space):
    words = ("budget.quality.min_quality=0.99999,null", "--until", "train")
    done, swept = _sweep(space, *words, check=False)
    assert [point["status"] for point in swept["points"]] == ["refused", "done"]
    assert done.returncode == 0
    assert swept["points"][0]["message"]
    assert not _executions(space, "failed")


def test_a_killed_search_goes_on_and_its_pick_becomes_the_configuration(fresh):
    pytest.importorskip("optuna", reason="the extra sweeps is not installed")
    words = ("+sweep=tpe", "sparsify.amount=interval(0.3,0.9)", "quantize=int8_static,none", "hydra.sweeper.trials=3")
    named = ("--name", "searched")
    random.seed(1)
    _killed(fresh, *words, *named)
    _, swept = _sweep(fresh, *words, *named)
    points = swept["points"]
    assert [point["status"] for point in points] == ["done"] * 3
    executed = _executions(fresh)  # none twice
    assert executed["train"] == 1
    assert executed["evaluate"] == len({point["name"] for point in points})

    front = json.loads((fresh.root / ".overwinter/sweeps/searched/front.json").read_text())
    assert front["points"]
    best = max(points, key=lambda point: point["quality"])
    fresh("overwinter", "run", "--from-sweep", "searched", "--pick", "best-quality")
    assert fresh.json("evaluate/metrics.json")["chosen"]["accuracy"] == best["quality"]
    assert _executions(fresh) == executed + Counter(hibernate=1), "all but the last stage had run"


BAD = [
    (("seed=1",), "Nothing is swept"),
    ((), "Nothing is swept"),
    (("seed=1,2", "seed=3"), "both set seed"),
    (("train.learning_rate=interval(0.001,0.01)",), "+sweep="),
    (("quantize=glob(nothing*)",), "no values"),
    (("seed=1,2", "--workers", "0"), "workers=0 must be at least 1"),
    (("seed=1,2", "--until", "evaluat"), "Did you mean 'evaluate'"),
    (("seed=1,2", "--budget", "20 kg"), "hydra.launcher.budget"),
    (("seed=1,2", "--name", "../x"), "cannot be a sweep's name"),
    (("train.epochs=1,0",), "train.epochs=0"),
    (("quantize=none,nothing",), "quantize=nothing: there is no such option"),
    (("train.epohcs=1,2",), "Did you mean 'train.epochs'"),
    (("seed=1,2", "train.epohcs=3"), "Did you mean 'train.epochs'"),
    (("seed=1,2", "sparsify=foo"), "sparsify=foo: there is no such option"),
]


@pytest.mark.parametrize(("words", "message"), BAD)
def test_a_wrong_sweep_is_refused_before_any_work(finished, monkeypatch, capsys, words, message):
    from overwinter.cli import main

    monkeypatch.chdir(finished)
    assert main(["run", "-m", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) <= 6
