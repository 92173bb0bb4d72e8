"""docs/sparsity.md: its commands compose, and its tables name what there is."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from overwinter.config import Project, compose, validate
from overwinter.sparsity.settings import OneShotConfig

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "sparsity.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL) for line in block.splitlines()]
SMOLLM2 = Project(root=ROOT / "pipelines/smollm2", configs=ROOT / "configs", config_name="smollm2")
DEFAULT = Project(root=ROOT, configs=ROOT / "configs", config_name="config")


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_composes(line):
    words = shlex.split(line)
    project = SMOLLM2 if "pipelines/smollm2" in words else DEFAULT
    validate(compose(project, words[words.index("run") + 1 :]))


def test_the_options_are_those_of_the_group():
    named = set(re.findall(r"^\| `sparsify=(\w+)`", TEXT, flags=re.MULTILINE))
    files = {path.stem for path in (ROOT / "configs" / "sparsify").glob("*.yaml")}
    assert named <= files
    assert {"channels", "magnitude", "wanda", "sparsegpt", "none"} <= named


def test_the_keys_are_those_of_the_method():
    keys = re.findall(r"^\| `(\w+)` \|", TEXT, flags=re.MULTILINE)
    assert {"score", "pattern", "scope", "ratios", "swaps"} <= set(keys)
    assert set(keys) <= {field.name for field in fields(OneShotConfig)}
