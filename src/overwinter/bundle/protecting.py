"""Signing and encrypting a bundle in place."""

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
    """Sign a bundle and replace its folder by one encrypted file; without keys, leave it unchanged.

    Args:
        bundle: folder of the bundle.
        sign_key: source of the private key: `file:PATH`, `env:NAME` or `command:WORDS`; None: no signature.
        encryption_keys: sources of the keys that open it, in the same format; empty: no encryption.

    Raises:
        ConfigError: a key is missing, or has the wrong format.
    """
    if sign_key is not None or encryption_keys:
        from overwinter.bundle.sealed import load_signing_key, load_wrapping_key

        unchanged = Expected(digest=read_bundle(bundle, hold=False).digest)
        locks = [load_wrapping_key(source) for source in encryption_keys]
        if sign_key is not None:
            sign_bundle(bundle, load_signing_key(sign_key), expected=unchanged)
        if locks:
            staging = bundle.with_name(f".{bundle.name}.sealed")
            seal_bundle(bundle, staging, locks, expected=unchanged)
            shutil.rmtree(bundle)
            staging.replace(bundle)
    return read_bundle(bundle, keys=Keys(opening=tuple(encryption_keys)), hold=False)
