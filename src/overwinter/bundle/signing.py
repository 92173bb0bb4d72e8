"""Signing a bundle, after verifying it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from overwinter import files
from overwinter.bundle.facts import SIGNATURE
from overwinter.bundle.keys import ANYTHING, Expected
from overwinter.bundle.reading import read_bundle
from overwinter.bundle.sealed import sign_payload
from overwinter.bundle.signature import TYPE, encoded, statement

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def sign_bundle(folder: Path, key: Ed25519PrivateKey, *, expected: Expected = ANYTHING) -> None:
    """Verify a bundle and sign it; an earlier signature is replaced.

    Args:
        folder: the bundle.
        key: the private key.
        expected: expected digest and lineage.

    Raises:
        IntegrityError: the bundle is damaged, or another one than expected.
        OverwinterError: the signature cannot be written.
    """
    verified = read_bundle(folder, expected=expected, hold=False)
    envelope = sign_payload(statement(verified.digest), TYPE, key)
    files.write_bytes(folder / SIGNATURE, encoded(envelope), mode=0o600)
