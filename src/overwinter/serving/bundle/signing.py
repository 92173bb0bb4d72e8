"""Signing a bundle: a DSSE envelope beside it around an in-toto statement that names bundle.json by its digest.

bundle.json lists the digests of all other files, so the signature covers every byte. The statement is the one of
https://in-toto.io/Statement/v1, which model-signing and sigstore put into such envelopes too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter import files
from overwinter.errors import IntegrityError
from overwinter.serving.bundle.facts import BUNDLE, SIGNATURE
from overwinter.serving.bundle.reading import read_bundle
from overwinter.serving.sealing import key_id, sign_payload, verified_payload

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_TYPE = "application/vnd.in-toto+json"
_PREDICATE = "urn:overwinter:bundle:v1"


def sign_bundle(folder: Path, key: Ed25519PrivateKey) -> None:
    """Verify a bundle and sign it; an earlier signature is replaced.

    Raises:
        IntegrityError: the bundle is damaged.
        OverwinterError: the signature cannot be written.
    """
    envelope = sign_payload(_statement(read_bundle(folder).digest), _TYPE, key)
    files.write_bytes(folder / SIGNATURE, _spelled(envelope), mode=0o600)


def verified_signers(source: Path, text: bytes, digest: str, trusted: Sequence[Ed25519PublicKey]) -> tuple[str, ...]:
    """Return the ids of the trusted keys that have signed.

    Args:
        source: the bundle, for the message.
        text: its signature.json, byte for byte as `sign_bundle` wrote it.
        digest: of its bundle.json.
        trusted: public keys.

    Raises:
        IntegrityError: no trusted key has signed this very bundle.
    """
    try:
        envelope = json.loads(text)
        spelled = _spelled(envelope)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{source / SIGNATURE} is damaged: {error}. Don't use this bundle.") from None
    if spelled != text:
        raise IntegrityError(f"{source / SIGNATURE} was altered after it was written. Don't use this bundle.")
    if verified_payload(envelope, _TYPE, trusted) != _statement(digest):
        raise IntegrityError(f"{source / SIGNATURE} belongs to another bundle. Don't use this one.")
    named = {signature.get("keyid") for signature in envelope["signatures"]}
    signers = tuple(key_id(key) for key in trusted if key_id(key) in named)
    if not signers:
        raise IntegrityError(f"{source / SIGNATURE} names another key than the one that signed. Don't use this bundle.")
    return signers


def _statement(digest: str) -> bytes:
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": BUNDLE, "digest": {"sha256": digest}}],
        "predicateType": _PREDICATE,
        "predicate": {},
    }
    return json.dumps(statement).encode()


def _spelled(envelope: object) -> bytes:
    return (json.dumps(envelope, indent=2) + "\n").encode()
