"""What pip installs where a bundle is served: for one that needs no torch, a tenth of what trains it."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.errors import ConfigError
from overwinter.files import sha256

if TYPE_CHECKING:
    from overwinter.serving.bundle.facts import Bundle

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
_REQUIREMENT = re.compile(r"([\w.-]*)(\[[^]]*\])?(.*)", re.DOTALL)
_WITHOUT_TORCH = ("onnxruntime", "openvino")  # runtimes named like their packages


def needed_by(bundle: Bundle) -> tuple[str, ...] | None:
    """Return all that a server of this bundle needs beside Overwinter itself, in the versions of this environment.

    Packages that these need themselves are left to pip.

    Returns:
        Requirements; None if it needs torch, and so whatever Overwinter as a whole does.

    Raises:
        ConfigError: it is for ONNX Runtime on a GPU, whose CUDA libraries are no package's requirement.
    """
    if bundle.runtime not in _WITHOUT_TORCH or bundle.tokenizer is not None:
        return None
    if bundle.device is not None:
        raise ConfigError(
            f"The bundle answers by {bundle.runtime} on {bundle.device}, for which no image is rendered: it would need "
            "CUDA's libraries in the versions that this runtime was built with. Build on an image that has them."
        )
    return tuple(_pinned(name) for name in sorted((*_SERVER, bundle.runtime), key=str.lower))


def _pinned(name: str) -> str:
    try:
        return f"{name}=={version(name)}"
    except PackageNotFoundError:  # the runtime, where the bundle came from elsewhere
        return name


def package_of(requirement: str, bundle: Bundle) -> str:
    """Return a requirement of Overwinter, with the extras that the bundle's server needs if it names none.

    Args:
        requirement: such as `overwinter==1.0`.
        bundle: to be served.
    """
    name, extras, rest = _REQUIREMENT.fullmatch(requirement.strip()).groups()  # type: ignore[union-attr]  # any text fits
    return f"{name}{extras or _extras_of(bundle)}{rest}"


def package_in(wheel: Path, bundle: Bundle) -> str:
    """Return the requirement of a wheel that the build finds in /tmp.

    Its digest makes pip refuse another one, and a build with another one not take the layer of this.
    """
    return f"overwinter{_extras_of(bundle)} @ file:///tmp/{wheel.name}#sha256={sha256(wheel)}"


def _extras_of(bundle: Bundle) -> str:
    return "" if bundle.tokenizer is None else "[llm]"


def tables() -> str:
    """Return the requirement of the package whose tables of countries are read, and whose code never runs."""
    return _pinned("codecarbon")
