"""The requirements of a server: a part of those for training, and a tenth of their size without torch."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.errors import ConfigError
from overwinter.files import sha256
from overwinter.registries import RUNTIMES

if TYPE_CHECKING:
    from overwinter.bundle.facts import Bundle

# What `overwinter serve` imports in every configuration; tests/serving/deploy/test_requirements.py checks this.
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
_ARCHITECTURES = ("gguf", "transformers")  # on torch, of models that read texts or images
_OF_GENERATING = ("jinja2", "tokenizers")
_OF_KINDS = {"text": "tokenizers", "image": "pillow"}  # of preprocessing


def needed_by(bundle: Bundle) -> tuple[str, ...]:
    """Return the requirements of a server of this bundle besides Overwinter, in this environment's versions.

    Pip resolves their own requirements.

    Raises:
        ConfigError: No installed package provides its runtime, or it is for ONNX Runtime or OpenVINO on a GPU, whose
            libraries are not a requirement of any package.
    """
    if bundle.device is not None and not declared(bundle.runtime, "packages_for_gpu", default=True):
        raise ConfigError(
            f"The bundle runs with {bundle.runtime} on {bundle.device}, for which no image is rendered: it would need "
            "CUDA's libraries in the versions that this runtime was built with. Build on an image that has them."
        )
    names = {
        *_SERVER,
        *_of_samples(bundle),
        *(declared(bundle.runtime, "packages", default=()) or _offering(bundle.runtime)),
    }
    return tuple(_pinned(name) for name in sorted(names, key=str.lower))


def _of_samples(bundle: Bundle) -> tuple[str, ...]:
    """Return what texts and images need, and on torch the architectures that take them."""
    kind = _OF_KINDS.get(bundle.preprocessing.get("kind", ""))
    on_torch = bundle.runtime.startswith("torch") and (bundle.generates or kind is not None)
    return (
        *(_ARCHITECTURES if on_torch else ()),
        *(_OF_GENERATING if bundle.generates else ()),
        *(() if kind is None else (kind,)),
    )


def declared(runtime: str, attribute: str, *, default: Any) -> Any:
    """Return what a built-in runtime declares of itself (`overwinter.runtime.Runtime`); the default for any other."""
    return getattr(RUNTIMES.find(runtime), attribute, default) if runtime in RUNTIMES.built_in else default


def _offering(runtime: str) -> tuple[str, ...]:
    """Return the package that adds a runtime to the built-in ones."""
    found = [point.dist.name for point in entry_points(group=RUNTIMES.group, name=runtime) if point.dist is not None]
    if not found:
        raise ConfigError(
            f"The bundle runs with {runtime!r}, which no installed package provides. Install the one that does."
        )
    return (found[0],)


def _pinned(name: str) -> str:
    try:
        return f"{name}=={version(name).partition('+')[0]}"  # the local version of a build for another device
    except PackageNotFoundError:  # if the bundle was made on another machine
        return name


def package_in(wheel: Path) -> str:
    """Return the requirement for a wheel in the build's /tmp, with its digest, which also invalidates cached layers."""
    return f"overwinter @ file:///tmp/{wheel.name}#sha256={sha256(wheel)}"


def tables() -> str:
    """Return the requirement for the package whose country tables are read and whose code never runs."""
    return _pinned("codecarbon")
