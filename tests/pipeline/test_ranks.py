"""A stage and its ranks: where only messages matter, torchrun is a stand-in; a rank is killed under the real one."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from safetensors.torch import load_file

from overwinter.cli import main
from overwinter.config.groups import TorchrunConfig
from overwinter.errors import ConfigError, OverwinterError, RefusedError
from overwinter.pipeline.ranks import _RankService, distributed_work

TORCHRUN = """
import os, sys, time
from overwinter.pipeline.rank_link import LinkAddress, RankLink
link = RankLink(LinkAddress.from_environment())
"""


class Stage:
    """The part of the stage that its ranks need."""

    name = "train"

    def __init__(self, folder: Path, **torchrun) -> None:
        self.folder, self.lines, self.steps, self.metrics = folder, [], [], None
        self.config = SimpleNamespace(threads=None, torchrun=TorchrunConfig(**torchrun))
        self.limit = None

    def configuration_key(self) -> str:
        return "key"

    def rank_logs(self) -> Path:
        return self.folder

    def log(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, done, total, **figures) -> None:
        self.steps.append((done, total, figures))
        if done == self.limit:
            raise RefusedError("over budget")

    def spent_j(self) -> float:
        return 5.0

    def out(self, name: str) -> Path:
        return self.folder / name

    def save_metrics(self, metrics) -> None:
        self.metrics = metrics


@pytest.fixture
def stage(tmp_path):
    return Stage(tmp_path)


@pytest.fixture
def run(monkeypatch):
    """Runs a stage whose torchrun is a program that speaks for its ranks."""

    def run(stage, program, **changes):
        command = [sys.executable, "-c", TORCHRUN + program]
        monkeypatch.setattr(_RankService, "_torchrun", lambda _: command)
        with _RankService(stage, changes.get("processes", 1), changes.get("nodes", 1), ["python", "x.py"]) as service:
            service.run()

    return run


def test_what_the_main_rank_reports_is_the_stages(stage, run):
    run(
        stage,
        "link.tell('joined', rank=0, restarts=0)\n"
        "assert link.ask('progress', done=1, total=2, figures={'loss': 0.5}, kept=True) == "
        "{'stop': False, 'spent_j': 5.0}\n"
        "link.tell('log', text='fitted')\n"
        "assert link.ask('out', name='model')['path'].endswith('/model')\n"
        "link.tell('metrics', metrics={'accuracy': 0.5})\n"
        "link.tell('done')\n",
    )
    assert stage.steps == [(1, 2, {"loss": 0.5})]
    assert stage.lines == ["fitted"]
    assert stage.metrics == {"accuracy": 0.5}


def test_what_stops_the_stage_stops_the_ranks_first(stage, run, tmp_path):
    """They keep their work, and then the stage ends with what stopped it."""
    stage.limit = 3
    with pytest.raises(RefusedError, match="over budget"):
        run(
            stage,
            "done = 0\n"
            "while not link.ask('progress', done=done, total=9, figures={}, kept=True)['stop']:\n    done += 1\n"
            f"open({str(tmp_path / 'checkpoint')!r}, 'w').write(str(done))\n",
        )
    assert (tmp_path / "checkpoint").read_text() == "3"


def test_an_error_that_a_new_start_would_not_cure_ends_all_ranks_with_its_code(stage, run):
    begin_s = time.monotonic()
    with pytest.raises(OverwinterError, match="no such layer") as caught:
        run(stage, "link.tell('failed', text='no such layer', code=2, rank='1')\ntime.sleep(60)\n")
    assert caught.value.exit_code == 2
    assert time.monotonic() - begin_s < 30


def test_ranks_that_die_too_often_are_reported_with_the_last_error(stage, run, tmp_path):
    with pytest.raises(OverwinterError) as caught:
        run(
            stage,
            "for restarts in range(3):\n    link.tell('joined', rank=0, restarts=restarts)\n"
            "link.tell('raised', text='CUDA is out of memory', code=1, rank='1')\nsys.exit(1)\n",
        )
    assert "died 3 times (rank 1: CUDA is out of memory)" in str(caught.value)
    assert "resumes from the last checkpoint" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert stage.lines == [f"a process died; all start again from the last checkpoint ({n} of 3 times)" for n in (1, 2)]


def test_ranks_that_end_without_a_result_are_no_success(stage, run):
    with pytest.raises(OverwinterError):
        run(stage, "link.tell('joined', rank=0, restarts=0)\n")


def test_more_processes_than_cores_are_refused(stage):
    settings = SimpleNamespace(distributed="ddp", processes=10_000, nodes=1)
    work = distributed_work(SimpleNamespace(config=SimpleNamespace(train=settings), stage="train"), [])
    with pytest.raises(ConfigError, match=r"train\.processes=10000, and this machine has \d+ CPU cores"):
        work(stage)


def test_a_stage_of_one_process_is_done_in_its_own():
    for settings in (SimpleNamespace(distributed="none"), SimpleNamespace()):
        assert distributed_work(SimpleNamespace(config=SimpleNamespace(train=settings), stage="train"), []) is None


@pytest.mark.slow
def test_machines_that_do_not_meet_are_reported_with_the_address(tmp_path):
    stage = Stage(tmp_path, rendezvous="127.0.0.1:29453", rendezvous_timeout_s=1)
    with (
        pytest.raises(
            OverwinterError, match=r"The 2 machines did not meet at torchrun.rendezvous=127.0.0.1:29453 in 1"
        ),
        _RankService(stage, 1, 2, [sys.executable, "never.py"]) as service,
    ):
        service.run()


MODEL = """
import time
from torch import nn

class Net(nn.Module):
    def __init__(self, pause_s):
        super().__init__()
        self.pause_s = pause_s
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 10))

    def forward(self, images):
        if self.training:
            time.sleep(self.pause_s)
        return self.layers(images)
"""
OVERRIDES = [
    "model=own",
    "trusted_targets=[own]",
    "evaluate.runtimes=[torch]",
    "train.epochs=2",
    "train.batch_size=63",
    "train.checkpoint_interval_s=0",
    "train.distributed=ddp",
]


@pytest.fixture
def train():
    """Starts the stage in a project; whatever is left of it is killed, and its ranks end with it."""
    started = []

    def train(project, *overrides):
        command = [sys.executable, "stages/train.py", *OVERRIDES, *overrides]
        started.append(
            subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield train
    for each in started:
        with each:
            each.kill()


def ranks_of(stage):
    """Return the processes that torchrun started."""
    (torchrun,) = psutil.Process(stage.pid).children()
    return torchrun.children()


@pytest.mark.slow
def test_a_killed_rank_costs_nothing_but_time_and_all_is_counted_once(train, tmp_path, monkeypatch, capsys):
    """The ranks start again from the checkpoint, and end with the weights of one process that nothing disturbed."""
    monkeypatch.chdir(tmp_path)  # whose place `-C` changes
    project = tmp_path / "project"
    assert main(["init", str(project)]) == 0
    capsys.readouterr()
    (project / "own.py").write_text(MODEL)
    (project / "configs/model/own.yaml").write_text("_target_: own.Net\npause_s: 0.03\n")
    killed = train(project, "train.processes=2")
    step = random.randint(2, 12)
    deadline_s = time.monotonic() + 120
    while not list(project.glob(f".overwinter/checkpoints/*/step-{step:09d}.json")):
        assert time.monotonic() < deadline_s
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.01)
    os.kill(random.choice(ranks_of(killed)).pid, signal.SIGKILL)
    output, errors = killed.communicate(timeout=200)
    assert (killed.returncode, errors) == (0, "")
    assert "a process died; all start again from the last checkpoint (1 of 3 times)" in output
    assert output.count("resumed from a checkpoint") == 1
    undisturbed = train(project, "train.processes=1", "train.distributed=none")
    assert undisturbed.wait(timeout=120) == 0
    together, alone = (
        load_file(path) for path in sorted(project.glob(".overwinter/scratch/train-*/model/*.safetensors"))
    )
    for name, tensor in alone.items():
        assert (together[name] - tensor).abs().max() < 1e-5, name
    assert main(["-C", str(project), "ledger", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["executions"]
    assert first["status"] == second["status"] == "done"
    assert first["energy_j"] > second["energy_j"]
    assert not list(project.glob(".overwinter/checkpoints/*/step-*"))
