"""docs/distributed.md: its runs compose, and what joins one names the stage's own rendezvous."""

import re
import shlex
from pathlib import Path

import pytest

from overwinter.config import compose, find_project, validate

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "distributed.md").read_text()
RUNS = [line.strip() for line in re.findall(r"^ *overwinter .*$", TEXT, re.MULTILINE) if " run " in line]


@pytest.mark.parametrize("command", RUNS)
def test_every_run_composes(command):
    _, *words = shlex.split(command.replace("$HEAD", "node1"))
    case, overrides = words[: words.index("run")], words[words.index("run") + 1 :]
    config = validate(compose(find_project(ROOT / (case[1] if case else ".")), overrides))
    assert config.train.distributed == "ddp"
    assert (config.train.nodes > 1) == (config.torchrun.rendezvous is not None)


def test_machines_join_by_the_name_of_the_stage():
    assert len(RUNS) == 3
    assert TEXT.count("--rdzv-id=overwinter-train") == 2
