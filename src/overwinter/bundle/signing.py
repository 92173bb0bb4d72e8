"""Signing a bundle, after verifying it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from overwinter import files
from overwinter.bundle.facts import SIGNATURE
from overwinter.bundle.keys import ANYTHING, Expected
from overwinter.bundle.reading import read_bundle
from overwinter.bundle.sealed import sign_payload
from overwinter.bundle.signature import TYPE, spelled, statement

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def sign_bundle(folder: Path, key: Ed25519PrivateKey, *, expected: Expected = ANYTHING) -> None:
    """Verify a bundle and sign what was verified; an earlier signature is replaced.

    Args:
        folder: the bundle.
        key: that signs.
        expected: what the bundle must be.

    Raises:
        IntegrityError: the bundle is damaged, or another one than expected.
        OverwinterError: the signature cannot be written.
    """
    verified = read_bundle(folder, expected=expected, hold=False)
    envelope = sign_payload(statement(verified.digest), TYPE, key)
    files.write_bytes(folder / SIGNATURE, spelled(envelope), mode=0o600)
