"""A project made by `overwinter init` whose pipeline has run once, without a network; each test works on a copy of it.

Its own configuration makes runs short, so that plain commands do as in a reader's project.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

BIN = Path(sys.executable).parent
SHORT = """
train: {epochs: 2, batch_size: 32}
sparsify: {fit: {epochs: 1}}
evaluate: {repeats: 3, measure_loading: false, sample_duration_s: 0.005, max_quality_loss: 0.99}
hibernate: {wake_repeats: 1}
"""
MODELS = ("train/model", "sparsify/model", "quantize/model")
# Every Python process, DVC's too, dies on the first socket that could leave the machine.
NO_NETWORK = """
import socket
class Blocked(socket.socket):
    def __init__(self, family=socket.AF_INET, *args, **kwargs):
        if family in (socket.AF_INET, socket.AF_INET6):
            raise AssertionError('a socket was opened')
        super().__init__(family, *args, **kwargs)
socket.socket = Blocked
socket.create_connection = socket.getaddrinfo = lambda *a, **k: Blocked()
"""


class Workspace:
    """A project folder, and the commands the user would type in it."""

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

    def start(
        self,
        *words: str,
        out: int | IO[str] = subprocess.DEVNULL,
        errors: int | IO[str] = subprocess.DEVNULL,
        **env: str,
    ) -> subprocess.Popen[bytes]:
        quiet = {"stdout": out, "stderr": errors, "stdin": subprocess.DEVNULL}
        return subprocess.Popen(words, cwd=self.root, env={**self.env, **env}, start_new_session=True, **quiet)

    def run(self, *overrides: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        return self("overwinter", "run", "--json", *overrides, check=check, **env)

    def states(self, done: subprocess.CompletedProcess[str]) -> dict[str, str]:
        return {row["stage"]: row["state"] for row in json.loads(done.stdout)["stages"]}

    def json(self, path: str):
        return json.loads((self.root / "outputs" / path).read_text())

    def scratch(self, stage: str, name: str):
        """The newest scratch result of a stage that was called with overrides."""
        folder = max(self.root.glob(f".overwinter/scratch/{stage}-*"))
        return json.loads((folder / name).read_text())

    def models(self) -> dict[str, bytes]:
        folders = [self.root / "outputs" / model for model in MODELS]
        return {
            str(file.relative_to(self.root)): file.read_bytes()
            for f in folders
            for file in sorted(f.rglob("*"))
            if file.is_file()
        }


def shorten(root: Path) -> None:
    """Write into a project's own configuration what makes its runs short."""
    config = root / "configs" / "config.yaml"
    config.write_text(config.read_text() + SHORT)


@pytest.fixture
def workspace() -> type[Workspace]:
    """Commands in a folder."""
    return Workspace


@pytest.fixture
def shortened():
    """Make the runs of a project of one's own short."""
    return shorten


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory) -> Path:
    """A folder of the whole run: all workers' own."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def no_network(shared_folder) -> dict[str, str]:
    """Environment in which no Python process gets a socket."""
    folder = shared_folder / "no_network"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    return {"PYTHONPATH": str(folder)}


@pytest.fixture(scope="session")
def finished(shared_folder, no_network) -> Path:
    """A project whose pipeline has run once; read only. The first worker that asks makes it."""
    folder = shared_folder / "finished"
    with (shared_folder / "finished.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
            folder.mkdir()
            _make(folder / "project", no_network)
            (folder / "complete").touch()
    return folder / "project"


def _make(root: Path, env: dict[str, str]) -> None:
    Workspace(root.parent)("overwinter", "init", str(root))
    shorten(root)
    space = Workspace(root)
    space("overwinter", "compose")
    space("git", "add", "-A")
    space("git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "start")
    space.run(**env)


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
