"""The stand-in GPU as tests use it: for processes of their own, since it takes hold of a whole one.

    subprocess.run(..., env={**os.environ, **gpu.environment()})

In such a process, and those that it starts, ``torch.cuda`` has one device; see gpu_site/overwinter_stand_in_gpu.py.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_HERE = Path(__file__).parent
_SOURCE = _HERE / "gpu.cpp"


def reason_against() -> str | None:
    """Return why there can be no stand-in GPU, or return None."""
    import torch

    if torch.version.cuda is not None:
        return "this torch has kernels of its own for CUDA"
    return None if _compiler() else "needs a C++ compiler for the stand-in GPU"


def environment() -> dict[str, str]:
    """What a process needs in its environment to have the GPU."""
    paths = [str(_HERE / "gpu_site"), os.environ.get("PYTHONPATH", "")]
    return {"OVERWINTER_STAND_IN_GPU": str(_built()), "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _compiler() -> str | None:
    return shutil.which("c++") or shutil.which("g++")


def _built() -> Path:
    """Compile what torch's core asks of a device, once per source and torch, into the machine's temporary folder."""
    version = importlib.metadata.version("torch")
    digest = hashlib.sha256(_SOURCE.read_bytes() + version.encode()).hexdigest()[:16]
    folder = Path(tempfile.gettempdir()) / f"overwinter-gpu-{os.getuid()}-{digest}"
    library = folder / "gpu.so"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} is another user's: what lies in it is not run.")
    if not library.exists():
        spec = importlib.util.find_spec("torch")
        home = Path(str(spec and spec.origin)).parent
        staging = folder / f"building-{os.getpid()}.so"
        command = [_compiler() or "c++", "-shared", "-fPIC", "-O1", "-std=c++20", f"-I{home / 'include'}"]
        libraries = [f"-L{home / 'lib'}", f"-Wl,-rpath,{home / 'lib'}", "-lc10", "-ltorch_cpu"]
        subprocess.run([*command, str(_SOURCE), "-o", str(staging), *libraries], check=True)
        staging.replace(library)
    return library
