"""What `overwinter run` says before it begins."""

from pathlib import Path

import pytest

from overwinter.cli import main
from overwinter.cli.run import _replaced
from overwinter.config import Project
from overwinter.pipeline.plan import PipelinePlan, PlannedStage


@pytest.fixture
def project(tmp_path):
    (tmp_path / "outputs" / "train").mkdir(parents=True)
    (tmp_path / "outputs" / "train" / "energy.json").write_text("{}")
    return Project(root=tmp_path, configs=Path("configs"), config_name="config")


def plan_of(**reasons):
    stages = (PlannedStage(name=name, runs=True, reasons=tuple(each)) for name, each in reasons.items())
    return PipelinePlan(config=None, params="", parameters={}, stages=tuple(stages))


def test_outputs_of_another_configuration_are_named_with_their_settings(project):
    message = _replaced(plan_of(train=["train.epochs: 1 -> 2", "check runs"]), project)
    assert "train.epochs: 1 -> 2" in message
    assert "configs/" in message
    assert "check runs" not in message


def test_of_many_settings_the_first_are_named(project):
    message = _replaced(plan_of(train=[f"train.x{number}: 1 -> 2" for number in range(5)]), project)
    assert "train.x2" in message
    assert "train.x3" not in message
    assert "and 2 more" in message


@pytest.mark.parametrize(
    "reasons", [{"train": ["has not run yet"]}, {"sparsify": ["sparsify.amount: 1 -> 2"]}, {"train": []}]
)
def test_where_nothing_of_another_configuration_lies_nothing_is_reported(project, reasons):
    assert _replaced(plan_of(**reasons), project) == ""


def test_a_run_until_an_unknown_stage_is_refused_before_anything_runs(machines, capsys):
    assert main(["run", "--until", "trian"]) == 2
    assert "Did you mean 'train'" in capsys.readouterr().err
    assert not machines.own.exists()
