"""Opening a payload: a classifier by its runtime, a language model step by step."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from overwinter.bundle.facts import Bundle, BundleFacts
from overwinter.errors import ConfigError, IntegrityError, TargetError
from overwinter.models import already_verified, load_description, own_models
from overwinter.models.description import DESCRIPTION
from overwinter.registries import RUNTIMES
from overwinter.runtime import Session, find_runtime, open_session


def import_for(facts: BundleFacts) -> None:
    """Import what will load a bundle, while its bytes are still being verified: code of ours, none of the bundle's."""
    with contextlib.suppress(ConfigError):  # opening it will say what is missing, of which bundle
        find_runtime(facts.runtime)
        if not facts.labels:  # it answers with tokens
            from overwinter.models.causal import import_transformers

            import_transformers()


def refuse_foreign_code(bundle: Bundle, *, trusted: Sequence[str]) -> None:
    """Check by its name alone that the code which a bundle would run is trusted: nothing of it is imported.

    Args:
        bundle: verified.
        trusted: as in `open_model`, which looks at the class itself.

    Raises:
        IntegrityError: it names other code.
    """
    if not (bundle.payload / DESCRIPTION).is_file():
        return
    from overwinter.config.targets import MODEL, trusted_target  # with Hydra, which an ONNX graph wakes without

    with already_verified(bundle.payload):
        model = load_description(bundle.payload)["model"]
    try:
        trusted_target(model, MODEL, trusted=trusted, functions=False)
    except TargetError as error:
        raise foreign_code(bundle, error) from None


def foreign_code(bundle: Bundle, error: TargetError) -> IntegrityError:
    """Return the refusal of a bundle whose model may not be built."""
    return IntegrityError(
        f"{bundle.source} names code that is not run: {str(error).splitlines()[0]}\n"
        "It is not served. If you know its maker and have that package, trust it: --trust-code PACKAGE of "
        "`overwinter bundle wake`, trusted_targets=[PACKAGE] of `overwinter serve`."
    )


def not_openable(bundle: Bundle, error: ConfigError) -> IntegrityError:
    """Return the refusal of a bundle that says what cannot be: a runtime, a device, the configuration of its model."""
    message = str(error).splitlines()[0].replace(f"{RUNTIMES.key}=", "its runtime ")
    return IntegrityError(
        f"{bundle.source} cannot be loaded: {message}\n"
        "It is not served. Make it again with `dvc repro hibernate`, for what this machine has."
    )


def open_model(
    payload: Path, runtime: str, threads: int, *, language: bool, trusted: Sequence[str] = (), device: str | None = None
) -> Session:
    """Load what `overwinter.runtime.build` wrote.

    Args:
        payload: its folder, verified or just built.
        runtime: that it was built for.
        threads: CPU threads that compute one output.
        language: whether it is a language model, which gives a `LanguageSession`.
        trusted: packages whose classes the model's ``_target_`` may name, for runtimes that run its code.
        device: that computes: what the bundle names; None: the CPU.

    Raises:
        ConfigError: the runtime is unknown, or cannot run this kind of model, or not on the device.
        TargetError: the payload names code that is not trusted, or a function.
        IntegrityError: the files are damaged.
    """
    with already_verified(payload), own_models(False):
        if not language:
            return open_session(payload, runtime, threads, trusted=trusted, device=device or "cpu")
        from overwinter.runtime.language_session import open_language

        return open_language(payload, runtime, threads, trusted=trusted, device=device or "cpu")
