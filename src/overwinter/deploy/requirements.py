"""What pip installs where a bundle is served: a part of what trains it, and without torch a tenth."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.errors import ConfigError
from overwinter.files import sha256

if TYPE_CHECKING:
    from overwinter.bundle.facts import Bundle

# What `overwinter serve` imports in every configuration; tests/serving/deploy/test_requirements.py holds it to that.
_SERVER = (
    "cronsim",
    "cryptography",
    "fsspec",
    "h11",
    "hydra-core",
    "numpy",
    "nvidia-ml-py",
    "omegaconf",
    "prometheus-client",
    "psutil",
    "PyYAML",
    "rich",
    "safetensors",
)
_TORCH = ("onnx", "onnxruntime", "torch", "torchao")  # onnx: beside what torch-compile imports
_OF_RUNTIME = {
    "onnxruntime": ("onnxruntime",),
    "openvino": ("onnxruntime", "openvino"),
    "torch": _TORCH,
    "torch-bf16": _TORCH,
    "torch-compile": _TORCH,
}
_OF_LANGUAGE = ("gguf", "transformers")
_GROUP = "overwinter.runtimes"


def needed_by(bundle: Bundle) -> tuple[str, ...]:
    """Return all that a server of this bundle needs beside Overwinter itself, in the versions of this environment.

    Packages that these need themselves are left to pip.

    Raises:
        ConfigError: no one here offers its runtime, or it is for ONNX Runtime or OpenVINO on a GPU, whose libraries are
            no package's requirement.
    """
    if bundle.device is not None and bundle.runtime in ("onnxruntime", "openvino"):
        raise ConfigError(
            f"The bundle answers by {bundle.runtime} on {bundle.device}, for which no image is rendered: it would need "
            "CUDA's libraries in the versions that this runtime was built with. Build on an image that has them."
        )
    language = () if bundle.tokenizer is None else _OF_LANGUAGE
    names = {*_SERVER, *language, *(_OF_RUNTIME.get(bundle.runtime) or _offering(bundle.runtime))}
    return tuple(_pinned(name) for name in sorted(names, key=str.lower))


def _offering(runtime: str) -> tuple[str, ...]:
    """Return the package that adds a runtime to the built-in ones."""
    found = [point.dist.name for point in entry_points(group=_GROUP, name=runtime) if point.dist is not None]
    if not found:
        raise ConfigError(
            f"The bundle answers by {runtime!r}, which no package here offers. Install the one that does."
        )
    return (found[0],)


def _pinned(name: str) -> str:
    try:
        return f"{name}=={version(name).partition('+')[0]}"  # builds for other devices are versions of their own here
    except PackageNotFoundError:  # where the bundle came from elsewhere
        return name


def package_in(wheel: Path) -> str:
    """Return the requirement of a wheel that the build finds in /tmp.

    Its digest makes pip refuse another one, and a build with another one not take the layer of this.
    """
    return f"overwinter @ file:///tmp/{wheel.name}#sha256={sha256(wheel)}"


def tables() -> str:
    """Return the requirement of the package whose tables of countries are read, and whose code never runs."""
    return _pinned("codecarbon")
