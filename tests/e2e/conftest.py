"""A project made by `overwinter init`, run once with a few steps of training; each test works on a copy of it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
QUICK = (
    "threads=1",
    "train.epochs=2",
    "train.batch_size=32",
    "sparsify.fit.epochs=1",
    "evaluate.repeats=3",
    "evaluate.measure_loading=false",
    "evaluate.sample_duration_s=0.005",
    "evaluate.max_quality_loss=0.99",
    "hibernate.wake_repeats=1",
)
MODELS = ("train/model", "sparsify/model", "quantize/model")


class Workspace:
    """A project folder, and the commands a person would type in it."""

    def __init__(self, root: Path, env: dict[str, str] | None = None) -> None:
        self.root = root
        self.env = {
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            **(env or {}),
        }

    def __call__(self, *words: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            words, cwd=self.root, env={**self.env, **env}, capture_output=True, text=True, check=False
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{words} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def start(self, *words: str, **env: str) -> subprocess.Popen[bytes]:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        return subprocess.Popen(words, cwd=self.root, env={**self.env, **env}, start_new_session=True, **quiet)

    def run(self, *overrides: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        return self("overwinter", "run", "--json", *QUICK, *overrides, check=check, **env)

    def states(self, done: subprocess.CompletedProcess[str]) -> dict[str, str]:
        return {row["stage"]: row["state"] for row in json.loads(done.stdout)["stages"]}

    def json(self, path: str):
        return json.loads((self.root / "outputs" / path).read_text())

    def metrics(self) -> dict[str, bytes]:
        return {str(file): file.read_bytes() for file in sorted((self.root / "outputs").glob("*/*.json"))}

    def models(self) -> dict[str, bytes]:
        folders = [self.root / "outputs" / model for model in MODELS]
        return {
            str(file.relative_to(self.root)): file.read_bytes()
            for f in folders
            for file in sorted(f.rglob("*"))
            if file.is_file()
        }


@pytest.fixture
def quick() -> tuple[str, ...]:
    """The overrides that make a run short."""
    return QUICK


@pytest.fixture
def workspace() -> type[Workspace]:
    """Commands in a folder."""
    return Workspace


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A project whose pipeline has run once; read only."""
    root = tmp_path_factory.mktemp("finished") / "project"
    Workspace(root.parent)("overwinter", "init", str(root))
    space = Workspace(root)
    space("overwinter", "compose", *QUICK)
    space("git", "add", "-A")
    space("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "start")
    space.run()
    return root


@pytest.fixture
def untouched(finished) -> Workspace:
    """The finished project itself, for commands that change nothing."""
    return Workspace(finished)


@pytest.fixture
def space(finished, tmp_path) -> Workspace:
    """A copy of the finished project, to change."""
    shutil.copytree(finished, tmp_path / "project", symlinks=True)
    return Workspace(tmp_path / "project")


@pytest.fixture
def fresh(finished, tmp_path) -> Workspace:
    """A copy that has not run yet."""
    leave = shutil.ignore_patterns("outputs", ".overwinter", "cache", "tmp", "dvc.lock")
    shutil.copytree(finished, tmp_path / "fresh", symlinks=True, ignore=leave)
    return Workspace(tmp_path / "fresh")
