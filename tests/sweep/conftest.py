"""A small project in a Git repository, and points of it whose stages are not run."""

import subprocess

import pytest

from overwinter.config import find_project
from overwinter.sweep.points import Point


def git(folder, *words):
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path):
    """A project with a space in its path, tracked and ignored files."""
    root = tmp_path / "my project"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text("[hydra]\n    config_dir = configs\n")
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (root / ".gitignore").write_text(".overwinter/\ndata/\n")
    (root / "configs").mkdir()
    (root / "configs" / "config.yaml").write_text("seed: 0\n")
    (root / "stages").mkdir()
    (root / "stages" / "train.py").write_text("print('train')\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "start")
    return find_project(root)


@pytest.fixture
def point():
    """Make points by the choices of their stages."""

    def made(name, **choices):
        parts = [f"{stage}={choice}" for stage, choice in choices.items()]
        keys = {stage: "/".join(parts[: place + 1]) for place, stage in enumerate(choices)}
        return Point(name=name, overrides=tuple(parts), params=f"seed: {name}\n", config=None, keys=keys)

    return made
