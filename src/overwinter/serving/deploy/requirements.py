"""What pip installs where a bundle is served: for one that needs no torch, a tenth of what trains it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from overwinter.errors import ConfigError

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


def extras_of(bundle: Bundle) -> str:
    """Return the extras of Overwinter that its server needs, as in a requirement: `[llm]`, or nothing."""
    return "" if bundle.tokenizer is None else "[llm]"


def tables() -> str:
    """Return the requirement of the package whose tables of countries are read, and whose code never runs."""
    return _pinned("codecarbon")


def variables_of(carbon: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the environment variables that a source of carbon intensity and its fallbacks read credentials from.

    Args:
        carbon: the group `carbon/`.
    """
    own = {str(value) for key, value in carbon.items() if key.endswith("_env")}
    theirs = (variables_of(option) for option in carbon.get("fallback", {}).values())
    return tuple(sorted(own.union(*theirs)))
