"""Opening a payload: a classifier by its runtime, a language model step by step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from overwinter.models import already_verified
from overwinter.runtime import find_runtime, open_session
from overwinter.serving import BundleFacts, Session


def import_for(facts: BundleFacts) -> None:
    """Import what will load a bundle, while its bytes are still being verified: code of ours, none of the bundle's.

    Raises:
        ConfigError: the runtime is unknown.
    """
    find_runtime(facts.runtime)
    if not facts.labels:  # it answers with tokens
        from overwinter.models.causal import import_transformers

        import_transformers()


def open_model(
    payload: Path, runtime: str, threads: int, *, language: bool, trusted: Sequence[str] = (), device: str | None = None
) -> Session:
    """Load what `overwinter.runtime.build` wrote.

    Args:
        payload: its folder, verified or just built.
        runtime: that it was built for.
        threads: CPU threads that compute one answer.
        language: whether it is a language model, which gives a `LanguageSession`.
        trusted: prefixes that the model's ``_target_`` may have, for runtimes that run its code.
        device: that computes: what the bundle names; None: the CPU.

    Raises:
        ConfigError: the runtime is unknown, or cannot run this kind of model, or not on the device.
        IntegrityError: the files are damaged.
    """
    with already_verified(payload):
        if not language:
            return open_session(payload, runtime, threads, trusted=trusted, device=device or "cpu")
        from overwinter.hibernation.language import open_language

        return open_language(payload, runtime, threads, trusted=trusted, device=device or "cpu")
