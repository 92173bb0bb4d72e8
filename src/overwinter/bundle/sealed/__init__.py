"""Sealing: signatures and encryption of a bundle. Needs no torch and no numpy.

- `sign_payload` puts a document into a DSSE envelope signed with Ed25519; `verified_payload` verifies and returns it.
- `seal` encrypts files into one (AES-256-GCM in chunks, names and sizes inside); `OpenedFile` decrypts and verifies
  them in memory only; `rewrap` changes the keys that open the file without encrypting it again.
- `load_wrapping_key` reads a key from a file, the environment or a command.
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
