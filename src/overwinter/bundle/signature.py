"""A bundle's signature: a DSSE envelope beside it around an in-toto statement that names bundle.json by its digest.

bundle.json lists the digests of all other files, so the signature covers every byte. The statement is the one of
https://in-toto.io/Statement/v1, which model-signing and sigstore put into such envelopes too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.bundle.facts import BUNDLE, SIGNATURE
from overwinter.bundle.sealed import key_id, verified_payload
from overwinter.errors import IntegrityError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TYPE = "application/vnd.in-toto+json"
_PREDICATE = "urn:overwinter:bundle:v1"


def verified_signers(source: Path, text: bytes, digest: str, trusted: Sequence[Ed25519PublicKey]) -> tuple[str, ...]:
    """Return the ids of the trusted keys that have signed.

    Args:
        source: the bundle, for the message.
        text: its signature.json, byte for byte as `spelled` writes it.
        digest: of its bundle.json.
        trusted: public keys.

    Raises:
        IntegrityError: no trusted key has signed this very bundle.
    """
    try:
        envelope = json.loads(text)
        expected = spelled(envelope)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{source / SIGNATURE} is damaged: {error}. Don't use this bundle.") from None
    if expected != text:
        raise IntegrityError(f"{source / SIGNATURE} was altered after it was written. Don't use this bundle.")
    if verified_payload(envelope, TYPE, trusted) != statement(digest):
        raise IntegrityError(f"{source / SIGNATURE} belongs to another bundle. Don't use this one.")
    named = {signature.get("keyid") for signature in envelope["signatures"]}
    signers = tuple(key_id(key) for key in trusted if key_id(key) in named)
    if not signers:
        raise IntegrityError(f"{source / SIGNATURE} names another key than the one that signed. Don't use this bundle.")
    return signers


def statement(digest: str) -> bytes:
    """Return what is signed: the digest of bundle.json, which lists those of all other files."""
    content = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": BUNDLE, "digest": {"sha256": digest}}],
        "predicateType": _PREDICATE,
        "predicate": {},
    }
    return json.dumps(content).encode()


def spelled(envelope: object) -> bytes:
    """Return signature.json as it is written, the one spelling that is accepted."""
    return (json.dumps(envelope, indent=2) + "\n").encode()
