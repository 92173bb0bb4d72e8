"""A data set and DVC's remote in a local S3: what changed there runs again, and a fresh clone takes all from it."""

import re
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import Workspace

pytestmark = [pytest.mark.special, pytest.mark.slow]

PAGE = (Path(__file__).parents[2] / "docs" / "remote-data.md").read_text()
CODE = re.findall(r"^```py\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[0]
COMMANDS = "\n".join(re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
RUN = ("data=cold", "model=cold", "task=regression", "train.epochs=1", "trusted_targets=[cold]")
GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")


def table(seed):
    return "".join(f"{day},{day * seed % 7},{day * seed % 5}\n" for day in range(40)).encode()


@pytest.fixture
def made(s3, tmp_path):
    pytest.importorskip("dvc_s3", reason="needs the package dvc-s3")
    s3.mkdir("seasons")
    s3.pipe("seasons/set/days.csv", table(2))
    space = Workspace(tmp_path, {"XDG_CACHE_HOME": str(tmp_path / "cache")})
    space("overwinter", "init", "project")
    space.root = tmp_path / "project"
    (space.root / "cold.py").write_text(CODE)
    (space.root / "configs" / "data" / "cold.yaml").write_text("_target_: cold.Data\nroot: s3://seasons/set\n")
    (space.root / "configs" / "model" / "cold.yaml").write_text("_target_: cold.Net\n")
    return space


def trained(space):
    return space.states(space.run(*RUN, "--until", "train"))["train"]


def typed(space, command, *more):
    """Run a command as the page has it."""
    assert command in COMMANDS
    space(*command.split(), *more)


def is_restorable(space):
    """Return whether DVC's run cache has a stage that read the data."""
    runs = space.root.glob(".dvc/cache/runs/*/*/*")
    return any("outputs/check/data.json" in path.read_text() and "stages/train.py" in path.read_text() for path in runs)


def test_a_pipeline_on_s3(made, s3, tmp_path):
    assert trained(made) == "run"
    assert is_restorable(made)
    typed(made, "dvc remote add --default storage s3://seasons/dvc")
    typed(made, "dvc push")
    made(*GIT, "add", "--all")
    made(*GIT, "commit", "--quiet", "--message", "trained")
    made("git", "clone", "--quiet", str(made.root), str(tmp_path / "clone"))
    clone = Workspace(tmp_path / "clone", {"XDG_CACHE_HOME": str(tmp_path / "cache")})
    shutil.rmtree(made.root)
    typed(clone, "dvc pull", "--allow-missing")  # what comes after train has not run
    assert trained(clone) == "reused"
    s3.pipe("seasons/set/days.csv", table(3))
    assert "s3://seasons/set is modified" in clone("overwinter", "plan", *RUN).stdout
