"""Signing and encrypting a bundle where it lies."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from overwinter.bundle.facts import Bundle
from overwinter.bundle.keys import Expected, Keys
from overwinter.bundle.reading import read_bundle
from overwinter.bundle.sealing import seal_bundle
from overwinter.bundle.signing import sign_bundle


def protect(bundle: Path, *, sign_key: str | None = None, encryption_keys: Sequence[str] = ()) -> Bundle:
    """Sign a bundle, and put one encrypted file in the place of its folder; without keys, it stays as it is.

    Args:
        bundle: its folder.
        sign_key: where the private key is: `file:PATH`, `env:NAME` or `command:WORDS`; None signs nothing.
        encryption_keys: where the keys are that will open it, in the same way; none leaves it in the clear.

    Raises:
        ConfigError: a key is not there, or has the wrong format.
    """
    if sign_key is not None or encryption_keys:
        from overwinter.bundle.sealed import load_signing_key, load_wrapping_key

        made = Expected(digest=read_bundle(bundle, hold=False).digest)
        locks = [load_wrapping_key(source) for source in encryption_keys]
        if sign_key is not None:
            sign_bundle(bundle, load_signing_key(sign_key), expected=made)
        if locks:
            staging = bundle.with_name(f".{bundle.name}.sealed")
            seal_bundle(bundle, staging, locks, expected=made)
            shutil.rmtree(bundle)
            staging.replace(bundle)
    return read_bundle(bundle, keys=Keys(opening=tuple(encryption_keys)), hold=False)
