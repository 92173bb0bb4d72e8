"""Sealing: signatures over what a bundle claims, and encryption of what it holds. Needs no torch and no numpy.

- `sign_payload` and `verified_payload` put a document into a DSSE envelope signed with Ed25519, and take it out again.
- `seal` encrypts files into one (AES-256-GCM in chunks, names and sizes inside); `OpenedFile` gives them back,
  verified, in memory alone; `rewrap` changes who may open it without encrypting it again.
- `load_wrapping_key` takes the key from a file, the environment or a command.
"""

from overwinter.bundle.sealed.container import Header, read_header, rewrap, seal
from overwinter.bundle.sealed.envelope import (
    create_signing_key,
    key_id,
    load_signing_key,
    load_trusted_key,
    sign_payload,
    unverified_payload,
    verified_payload,
)
from overwinter.bundle.sealed.keys import WrappingKey, load_wrapping_key
from overwinter.bundle.sealed.opened_file import OpenedFile

__all__ = [
    "Header",
    "OpenedFile",
    "WrappingKey",
    "create_signing_key",
    "key_id",
    "load_signing_key",
    "load_trusted_key",
    "load_wrapping_key",
    "read_header",
    "rewrap",
    "seal",
    "sign_payload",
    "unverified_payload",
    "verified_payload",
]
