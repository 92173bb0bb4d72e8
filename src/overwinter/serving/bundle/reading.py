"""Reading a bundle: every byte is verified before anything of it is used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overwinter import manifest
from overwinter.errors import IntegrityError
from overwinter.serving.bundle.contents import REMEDY, Contents, FolderContents
from overwinter.serving.bundle.facts import BUNDLE, CANARY, SCHEMA, SIGNATURE, Bundle, Canary, said, wrong_keys
from overwinter.serving.bundle.keys import ANYTHING, NO_KEYS, Expected, Keys

# No honest bundle comes near these, and no other one shall fill the memory.
_LIMITS_BYTES = {BUNDLE: 16 << 20, SIGNATURE: 1 << 20, CANARY: 1 << 30}


def read_bundle(source: Path, *, keys: Keys = NO_KEYS, expected: Expected = ANYTHING, threads: int = 2) -> Bundle:
    """Verify every byte of a bundle and return what it says.

    Args:
        source: its folder, or the file that it was sealed in.
        keys: who vouches for it, and what opens it; without trusted keys, a signature is not looked at.
        expected: what it must be.
        threads: that verify side by side.

    Raises:
        IntegrityError: a file is missing, cut short, altered, not listed, or no plain file; no trusted key has signed
            it, no key opens it, or it is not the bundle that was expected.
        ConfigError: a key cannot be read.
    """
    sealed = source.is_file()
    contents: Contents = _unsealed(source, keys) if sealed else FolderContents(source, threads)
    bundle = _verified(source, contents, keys, sealed)
    expected.check(bundle)
    return bundle


def _unsealed(source: Path, keys: Keys) -> Contents:
    from overwinter.serving.sealing import unseal_in_memory

    return unseal_in_memory(source, keys.wrapping_keys())


def _verified(source: Path, contents: Contents, keys: Keys, sealed: bool) -> Bundle:
    text = _read(source, contents, BUNDLE)
    digest = hashlib.sha256(text).hexdigest()
    signed_by = _signers(source, contents, digest, keys)
    content = _parsed(source, text)
    _compare(source, contents, content["files"])
    return Bundle(
        **vars(said(content)),
        source=source,
        folder=contents.folder,
        digest=digest,
        canary=_canary(source, _read(source, contents, CANARY), content["canary_tolerance"]),
        size_bytes=sum(contents.sizes.values()),
        signed_by=signed_by,
        sealed=sealed,
        _opened=contents,
    )


def _read(source: Path, contents: Contents, name: str) -> bytes:
    size_bytes = contents.sizes.get(name)
    if size_bytes is None:
        raise IntegrityError(f"{source / name} is missing. {REMEDY}")
    if size_bytes > _LIMITS_BYTES[name]:
        raise IntegrityError(f"{source / name} has {size_bytes} bytes; {_LIMITS_BYTES[name]} are allowed. {REMEDY}")
    return contents.read(name)


def _signers(source: Path, contents: Contents, digest: str, keys: Keys) -> tuple[str, ...]:
    if not keys.trusted:
        return ()
    from overwinter.serving.bundle.signing import verified_signers

    if SIGNATURE not in contents.sizes:
        raise IntegrityError(f"{source} is not signed, and only what a trusted key has signed is used. {REMEDY}")
    return verified_signers(source, _read(source, contents, SIGNATURE), digest, keys.public_keys())


def _parsed(source: Path, text: bytes) -> dict[str, Any]:
    content = manifest.parse_sealed(text, source / BUNDLE, remedy=REMEDY)
    if content.get("schema") != SCHEMA:
        raise IntegrityError(
            f"{source} has the schema {content.get('schema')!r}; this Overwinter reads {SCHEMA}. {REMEDY}"
        )
    wrong = wrong_keys(content)
    if wrong:
        raise IntegrityError(f"{source / BUNDLE} lacks {', '.join(wrong)}, or has them in a wrong form. {REMEDY}")
    return content


def _compare(source: Path, contents: Contents, listed: Mapping[str, Any]) -> None:
    """Hold the files against the list: names first, then sizes, then every byte."""
    found = set(contents.sizes) - {BUNDLE, SIGNATURE}
    if unlisted := sorted(found - set(listed)):
        raise IntegrityError(f"{source} holds files that bundle.json does not list: {', '.join(unlisted)}. {REMEDY}")
    if missing := sorted(set(listed) - found):
        raise IntegrityError(f"{source / missing[0]} is missing. {REMEDY}")
    for name, entry in listed.items():
        manifest.check_size(source / name, contents.sizes[name], entry, remedy=REMEDY)
    for name, digest in contents.digests(found).items():
        if digest != listed[name]["sha256"]:
            raise IntegrityError(f"{source / name} was altered: its SHA-256 is not the listed one. {REMEDY}")


def _canary(source: Path, text: bytes, tolerance: float) -> Canary:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(text)
        return Canary(inputs=arrays["inputs"], answers=arrays["answers"], tolerance=tolerance)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise IntegrityError(f"{source / CANARY} holds no canary: {error}. {REMEDY}") from None
