"""Signatures: Ed25519 in a DSSE envelope, as in-toto, sigstore and model-signing use it.

DSSE (https://github.com/secure-systems-lab/dsse, protocol v1.0.2) signs the payload together with its type, so that a
signature for one kind of document is not valid for another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from overwinter import files
from overwinter.bundle.sealed.keys import read_secret
from overwinter.errors import ConfigError, IntegrityError

_PAYLOAD_LIMIT_BYTES = 16 << 20
_SIGNATURES_LIMIT = 16


def sign_payload(payload: bytes, payload_type: str, key: Ed25519PrivateKey) -> dict[str, Any]:
    """Return a DSSE envelope, as JSON, around ``payload``."""
    signature = key.sign(_pre_authentication(payload_type, payload))
    return {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": key_id(key.public_key()), "sig": base64.b64encode(signature).decode()}],
    }


def verified_payload(envelope: Any, payload_type: str, trusted: Sequence[Ed25519PublicKey]) -> bytes:
    """Return the payload of an envelope that one of the trusted keys has signed.

    Args:
        envelope: parsed JSON, untrusted.
        payload_type: the accepted type.
        trusted: public keys; the key id in the envelope is only a hint and is ignored.

    Raises:
        IntegrityError: the envelope is malformed, or no trusted key has signed it.
    """
    payload, signatures = _checked(envelope, payload_type)
    message = _pre_authentication(payload_type, payload)
    if any(_fits(key, signature, message) for key in trusted for signature in signatures):
        return payload
    known = ", ".join(map(key_id, trusted)) or "none"
    raise IntegrityError(f"No trusted key has signed this (trusted: {known}). Don't use it, or trust its maker's key.")


def unverified_payload(envelope: Any, payload_type: str) -> bytes:
    """Return the payload of an envelope without verifying its signatures.

    Raises:
        IntegrityError: the envelope is malformed.
    """
    return _checked(envelope, payload_type)[0]


def key_id(key: Ed25519PublicKey) -> str:
    """Return the id of a public key: its SHA-256."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()


def create_signing_key(private: Path, public: Path) -> None:
    """Create a key pair as PEM files: ``private`` readable by its owner only (0600), ``public`` by all.

    Raises:
        ConfigError: a file exists already.
    """
    for path in (private, public):
        if path.exists():
            raise ConfigError(f"{path} exists already. Name another file: an overwritten key is lost.")
    key = Ed25519PrivateKey.generate()
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files.write_bytes(private, content, mode=0o600)
    files.write_bytes(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def load_signing_key(source: str) -> Ed25519PrivateKey:
    """Read a private key.

    Args:
        source: `file:PATH` (readable by its owner only), `env:NAME` or `command:WORDS`.

    Raises:
        ConfigError: it cannot be read, is accessible to other users, or is not an Ed25519 key.
    """
    try:
        key = load_pem_private_key(read_secret(source), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(
            f"{source.partition(':')[0]}: the key is not an Ed25519 private key in PEM format without a password."
        )
    return key


def load_trusted_key(path: Path) -> Ed25519PublicKey:
    """Read a public key.

    Raises:
        ConfigError: it cannot be read, or is not an Ed25519 key.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"The public key {path} cannot be read: {error.strerror}.") from None
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"{path} holds no Ed25519 public key in PEM format.")
    return key


def _pre_authentication(payload_type: str, payload: bytes) -> bytes:
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _checked(envelope: Any, payload_type: str) -> tuple[bytes, list[bytes]]:
    try:
        return _parse(envelope, payload_type)
    except (KeyError, TypeError, ValueError, binascii.Error) as error:
        raise IntegrityError(f"The signature envelope is damaged: {error}. Don't use what it signs.") from None


def _parse(envelope: Mapping[str, Any], payload_type: str) -> tuple[bytes, list[bytes]]:
    if envelope["payloadType"] != payload_type:
        raise ValueError(f"its type is not {payload_type}")
    signatures = envelope["signatures"]
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= _SIGNATURES_LIMIT:
        raise ValueError(f"it must have 1 to {_SIGNATURES_LIMIT} signatures")
    if len(envelope["payload"]) > _PAYLOAD_LIMIT_BYTES:
        raise ValueError("its payload is too large")
    return _decode(envelope["payload"]), [_decode(signature["sig"]) for signature in signatures]


def _decode(text: Any) -> bytes:
    if not isinstance(text, str):
        raise TypeError("a base64 value is not a string")
    decoded = base64.b64decode(text.encode("ascii"), validate=True)
    if base64.b64encode(decoded).decode() != text:  # the unused bits of the last digit are not zero
        raise ValueError("its base64 is not canonical")
    return decoded


def _fits(key: Ed25519PublicKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True
