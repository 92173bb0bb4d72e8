"""The way from `overwinter run -m hydra/launcher=overwinter_slurm` through Hydra to the settings of the jobs."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from overwinter import slurm
from overwinter.cli import main
from overwinter.config import configs_digest
from overwinter.config.groups.slurm import Resources, SlurmSettings
from overwinter.sweep.results import PointResult

PAGE = Path(__file__).parents[2] / "docs" / "slurm.md"
CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("slurm") / "project"
    assert main(["init", str(root)]) == 0
    return root


@pytest.fixture
def asked(made, monkeypatch):
    """What the points were to be run with; nothing is run."""
    calls = []

    def run(project, points, *, settings, on_event, overrides):
        calls.append((points, settings))
        return [PointResult(point=each, status="done") for each in points]

    monkeypatch.setattr(slurm, "run_on_slurm", run)
    monkeypatch.chdir(made)
    return calls


def test_settings_reach_the_jobs(asked, capsys):
    words = ["hydra/launcher=overwinter_slurm", "hydra.launcher.stages.train.gpus=0", "hydra.launcher.every.cpus=1"]
    main(["run", "-m", *words, "hydra.launcher.stages.quantize.partition=short", "seed=1,2", "--workers", "7"])
    ((points, settings),) = asked
    assert len(points) == 2
    assert isinstance(settings, SlurmSettings)
    assert settings.workers == 7
    expected = Resources(time_min=1440, cpus=1, mem_gb=8, gpus=0)
    assert settings.resources("train") == expected
    assert settings.resources("quantize").partition == "short"
    assert settings.resources(None) == Resources(time_min=10, cpus=1, mem_gb=2, gpus=0)


def test_train_has_a_gpu_and_gates_have_none_unless_someone_says_so(asked, capsys):
    main(["run", "-m", "hydra/launcher=overwinter_slurm", "seed=1,2"])
    ((_, settings),) = asked
    assert settings.resources("train").gpus == 1
    assert settings.resources("evaluate").gpus == settings.resources(None).gpus == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hydra.launcher.poll_s=0"], "hydra.launcher.poll_s=0.0 must be above 0"),
        (["hydra.launcher.every.cpus=0"], "hydra.launcher.every.cpus=0 must be at least 1"),
        (["hydra.launcher.stages.train.gpus=-1"], "gpus=-1 must be at least 0"),
        (["hydra.launcher.start=later"], "Allowed: now, carbon"),
        (["hydra.launcher.every.cpu=1"], "cpu"),
    ],
)
def test_a_wrong_setting_is_refused(asked, capsys, words, said):
    assert main(["run", "-m", "hydra/launcher=overwinter_slurm", *words, "seed=1,2"]) == 2
    assert said in capsys.readouterr().err
    assert not asked


def test_a_search_may_run_on_slurm(asked, capsys):
    pytest.importorskip("optuna")
    words = ["+sweep=tpe", "hydra/launcher=overwinter_slurm", "sparsify.amount=0.5,0.6", "hydra.sweeper.trials=2"]
    main(["run", "-m", *words, "--workers", "2", "--name", "searched"])
    assert "needs the figures" not in capsys.readouterr().err
    assert asked


def test_what_a_job_asks_for_changes_no_result(made):
    before = configs_digest(made / "configs")
    path = made / "configs" / "hydra" / "launcher" / "overwinter_slurm.yaml"
    path.write_text(path.read_text().replace("cpus: 4 ", "cpus: 8 "))
    assert configs_digest(made / "configs") == before


def test_the_page_names_every_key_and_its_commands_are_sweeps(asked, capsys):
    text = PAGE.read_text()
    named = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    own = {each.name for each in fields(SlurmSettings)} - {"until", "name", "budget"}
    assert named == own | {each.name for each in fields(Resources)}
    commands = re.findall(r"^overwinter (run -m .*)$", text, re.MULTILINE)
    assert len(commands) >= 2
    for command in commands:
        main(shlex.split(command))
    assert len(asked) == len(commands)
