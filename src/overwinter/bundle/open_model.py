"""Opening a payload: a model by its runtime, a language model step by step."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from overwinter.bundle.facts import Bundle, BundleFacts
from overwinter.errors import ConfigError, IntegrityError, TargetError
from overwinter.models import already_verified, load_description, own_models
from overwinter.models.description import DESCRIPTION
from overwinter.registries import RUNTIMES
from overwinter.runtime import Session, converts, open_language, open_session


def import_for(facts: BundleFacts) -> None:
    """Import the modules that load a bundle while its bytes are being verified; none of the bundle's code."""
    with contextlib.suppress(ConfigError):  # opening the bundle reports it, with the bundle's name
        if facts.generates and not converts(facts.runtime):  # it runs transformers' own module
            from overwinter.models.transformers_library import import_transformers

            import_transformers()


def refuse_foreign_code(bundle: Bundle, *, trusted: Sequence[str]) -> None:
    """Check by name alone that the code which a bundle would run is trusted, without importing it.

    Args:
        bundle: a verified bundle.
        trusted: see `open_model`, which checks the class itself.

    Raises:
        IntegrityError: it names untrusted code.
    """
    if not (bundle.payload / DESCRIPTION).is_file():
        return
    from overwinter.config.targets import MODEL, trusted_target  # imports Hydra, which an ONNX graph does not need

    with already_verified(bundle.payload):
        model = load_description(bundle.payload)["model"]
    try:
        trusted_target(model, MODEL, trusted=trusted, functions=False)
    except TargetError as error:
        raise foreign_code(bundle, error) from None


def foreign_code(bundle: Bundle, error: TargetError) -> IntegrityError:
    """Return the error for a bundle that names untrusted code."""
    remedy = (
        " If you know its maker and have that package, trust it: --trust-code PACKAGE of `overwinter bundle wake` and "
        "`overwinter export`, trusted_targets=[PACKAGE] of `overwinter serve`."
    )
    return IntegrityError(
        f"{bundle.source} names code that is not run: {str(error).splitlines()[0]}\n"
        f"It is not served.{remedy if error.trustable else ''}"
    )


def not_openable(bundle: Bundle, error: ConfigError) -> IntegrityError:
    """Return the error for a bundle with an unusable runtime, device or model configuration."""
    message = str(error).splitlines()[0].replace(f"{RUNTIMES.key}=", "its runtime ")
    return IntegrityError(
        f"{bundle.source} cannot be loaded: {message}\n"
        "It is not served. Make it again with `dvc repro hibernate`, with a runtime and device of this machine."
    )


def open_model(
    payload: Path, runtime: str, threads: int, *, language: bool, trusted: Sequence[str] = (), device: str | None = None
) -> Session:
    """Load the payload that `overwinter.runtime.build` wrote.

    Args:
        payload: folder of the payload, verified or just built.
        runtime: name of the runtime that it was built for.
        threads: The number of CPU threads that compute one output.
        language: whether it is a language model, which gives a `LanguageSession`.
        trusted: packages whose classes the model's ``_target_`` may name, for runtimes that run its code.
        device: device that the bundle names; None: the CPU.

    Raises:
        ConfigError: the runtime is unknown, or cannot run this kind of model, or not on this device.
        TargetError: the payload names untrusted code, or a function.
        IntegrityError: the files are damaged.
    """
    with already_verified(payload), own_models(False):
        opened = open_language if language else open_session
        return opened(payload, runtime, threads, trusted=trusted, device=device or "cpu")
