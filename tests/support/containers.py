"""Podman, where it runs: with a store of its own, and an image that borrows everything from this machine."""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest

PODMAN = ["--runtime=runc", "--cgroup-manager=cgroupfs", "--storage-driver=vfs"]
LIMITS = ["--network=none", "--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000"]


@pytest.fixture
def podman(tmp_path):
    """Words of podman with a store of its own, and those of a run in an image without anything in it."""
    if os.geteuid() or not (shutil.which("podman") and shutil.which("runc")):
        pytest.skip("needs root, podman and runc")
    store = tempfile.mkdtemp(prefix="ow-")  # podman allows 50 characters
    words = ["podman", *PODMAN, "--root", f"{store}/root", "--runroot", f"{store}/run"]
    with tarfile.open(tmp_path / "empty.tar", "w") as tar:
        for name in ("usr", "etc", "proc", "sys", "dev", "tmp", "run"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)
        for name in ("bin", "lib", "lib64"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            tar.addfile(link)
    places = {"/usr", "/etc", sys.prefix, sys.base_prefix, *(path for path in sys.path if path and Path(path).is_dir())}
    mounts = [f"--volume={place}:{place}:ro" for place in sorted(places) if not place.startswith("/usr/")]
    environment = [f"--env=PATH={Path(sys.executable).parent}:/usr/bin", f"--env=PYTHONPATH={':'.join(sys.path)}"]
    run = [*words, "run", *LIMITS, *mounts, *environment]
    for probe in (
        [*words, "import", str(tmp_path / "empty.tar"), "empty"],
        [*run, "--rm", "empty", "python", "-c", ""],
    ):
        done = subprocess.run(probe, check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"podman runs no container here: {done.stderr.strip()}")
    yield words, run
    shutil.rmtree(store, ignore_errors=True)
