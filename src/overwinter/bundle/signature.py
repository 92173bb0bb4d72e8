"""A bundle's signature: signature.json, a DSSE envelope with an in-toto statement on the digest of bundle.json.

bundle.json lists the digests of all other files, so the signature covers every byte. The statement follows
https://in-toto.io/Statement/v1, which model-signing and sigstore use in such envelopes too.
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
        text: content of signature.json, byte for byte as `encoded` writes it.
        digest: digest of bundle.json.
        trusted: public keys.

    Raises:
        IntegrityError: no trusted key has signed this bundle.
    """
    try:
        envelope = json.loads(text)
        expected = encoded(envelope)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{source / SIGNATURE} is damaged: {error}. Don't use this bundle.") from None
    if expected != text:
        raise IntegrityError(f"{source / SIGNATURE} was altered after it was written. Don't use this bundle.")
    if verified_payload(envelope, TYPE, trusted) != statement(digest):
        raise IntegrityError(f"{source / SIGNATURE} belongs to another bundle. Don't use this one.")
    named = {signature.get("keyid") for signature in envelope["signatures"]}
    signers = tuple(key_id(key) for key in trusted if key_id(key) in named)
    if not signers:
        raise IntegrityError(f"{source / SIGNATURE} names a key that did not sign. Don't use this bundle.")
    return signers


def statement(digest: str) -> bytes:
    """Return the signed statement: the digest of bundle.json, which lists those of all other files."""
    content = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": BUNDLE, "digest": {"sha256": digest}}],
        "predicateType": _PREDICATE,
        "predicate": {},
    }
    return json.dumps(content).encode()


def encoded(envelope: object) -> bytes:
    """Return the bytes of signature.json, in the only accepted encoding."""
    return (json.dumps(envelope, indent=2) + "\n").encode()
