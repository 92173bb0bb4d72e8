"""docs/training.md: its commands compose, and its table names settings that there are."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from overwinter.config import Project, compose, validate
from overwinter.config.groups.training import TrainConfig

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "training.md").read_text()


COMMANDS = re.findall(r"^overwinter (?:-C pipelines/(\w+) )?run (.*)$", TEXT, flags=re.MULTILINE)


@pytest.mark.parametrize(("case", "overrides"), COMMANDS)
def test_its_commands_compose(case, overrides):
    project = Project(root=ROOT, configs=ROOT / "configs", config_name=case or "config")
    validate(compose(project, shlex.split(overrides)))


def test_its_settings_are_those_of_the_groups():
    named = set(re.findall(r"^\|.*$", TEXT, flags=re.MULTILINE))
    keys = {key for row in named for key in re.findall(r"`(\w+\.\w+)", row.split("|")[1])}
    train = {f"train.{field.name}" for field in fields(TrainConfig)} | {"train.sparse"}
    data = {f"data.{key}" for key in yaml.safe_load((ROOT / "configs/data/fashion.yaml").read_text())}
    assert {"train.to", "train.min_gain_per_kj", "data.share"} <= keys
    assert keys <= train | data | {"task.label_smoothing"}
