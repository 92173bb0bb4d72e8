"""A project whose points are not run, and the pretended Slurm that is asked to run them."""

import hashlib
import os
from types import SimpleNamespace

import pytest

from overwinter.sweep.points import Point
from tests.slurm import fake
from tests.sweep.conftest import project  # noqa: F401 -- a fixture


@pytest.fixture
def point():
    """Make points by the choices of their stages; equal choices so far have equal keys."""

    def made(name, **choices):
        parts = [f"{stage}={choice}" for stage, choice in choices.items()]
        keys = {
            stage: hashlib.sha256(repr(parts[: place + 1]).encode()).hexdigest() for place, stage in enumerate(choices)
        }
        config = SimpleNamespace(budget=None)
        return Point(name=name, overrides=tuple(parts), params=f"seed: {name}\n", config=config, keys=keys)

    return made


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """A pretended Slurm whose commands come first in PATH."""
    folder = tmp_path / "slurm-bin"
    folder.mkdir()
    made = fake.install(folder)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return made
