"""Reading a bundle: every byte is verified before anything of it is used."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from overwinter import manifest
from overwinter.bundle.canary_file import read_canary
from overwinter.bundle.contents import Contents, Source, compare, listed_digests, threads_here
from overwinter.bundle.facts import (
    BUNDLE,
    CANARY,
    SCHEMA,
    SIGNATURE,
    Bundle,
    BundleFacts,
    facts_from,
    upgraded,
    wrong_keys,
)
from overwinter.bundle.fitting import check_fit, with_output
from overwinter.bundle.folder import REMEDY, FolderSource
from overwinter.bundle.keys import ANYTHING, NO_KEYS, Expected, Keys
from overwinter.errors import IntegrityError

Meanwhile = Callable[[BundleFacts], object]
_WORTH_WAITING_BYTES = 4 << 20
_SWITCH_S = 2e-4
# Far above the size of any real bundle; keeps a malicious one from filling the memory.
_LIMITS_BYTES = {BUNDLE: 16 << 20, SIGNATURE: 1 << 20, CANARY: 1 << 30}


def read_bundle(
    source: Path,
    *,
    keys: Keys = NO_KEYS,
    expected: Expected = ANYTHING,
    threads: int | None = None,
    meanwhile: Meanwhile | None = None,
    hold: bool = True,
) -> Bundle:
    """Verify every byte of a bundle and return its metadata and the verified files.

    Args:
        source: folder of the bundle, or the file that it was sealed in.
        keys: keys that verify and open it; without trusted keys, a signature is ignored.
        expected: expected digest and lineage.
        threads: The number of threads that verify in parallel; None: one per core.
        meanwhile: function called with the metadata while the larger files are verified, for example to import the
            modules that load them. It must not read the files. It is not called for a small bundle.
        hold: whether to keep the verified files in `Bundle.folder`, to open or copy them; without it, no space is
            needed.

    Raises:
        IntegrityError: a file is missing, truncated, altered, not listed, or not a plain file; no trusted key has
            signed the bundle, no key opens it, or it is not the expected one.
        ConfigError: a key cannot be read.
        OverwinterError: there is not enough space for its files.
    """
    sealed = source.is_file()
    contents = Contents(_unsealed(source, keys) if sealed else FolderSource(source), threads or threads_here())
    bundle = _verified(source, contents, keys, sealed=sealed, meanwhile=meanwhile, hold=hold)
    expected.check(bundle)
    return bundle


def _unsealed(source: Path, keys: Keys) -> Source:
    from overwinter.bundle.sealed import OpenedFile

    return OpenedFile(source, keys.wrapping_keys())


def _verified(
    source: Path, contents: Contents, keys: Keys, *, sealed: bool, meanwhile: Meanwhile | None, hold: bool
) -> Bundle:
    text = _read(source, contents, BUNDLE)
    digest = hashlib.sha256(text).hexdigest()
    signed_by = _signers(source, contents, digest, keys)
    content = _parsed(source, text, contents)
    facts = facts_from(content)
    expected = listed_digests(source, contents, content["files"])
    held = contents.hold(memory_only=sealed) if hold else None  # encrypted content must not reach a disk
    canary_content = _read(source, contents, CANARY)
    if meanwhile is None or sum(contents.sizes.values()) < _WORTH_WAITING_BYTES:
        compare(source, contents, expected)
    else:
        _overlapped(lambda: compare(source, contents, expected), lambda: meanwhile(facts))
    if held is not None:
        held.freeze()
    canary = read_canary(source / CANARY, canary_content, content["canary_tolerance"], facts.signature.names)
    bundle = Bundle(
        **vars(with_output(facts, canary)),
        source=source,
        folder=source if held is None else held.folder,
        names=frozenset(contents.sizes),
        digest=digest,
        canary=canary,
        size_bytes=sum(contents.sizes.values()),
        signed_by=signed_by,
        sealed=sealed,
        _held=held,
    )
    check_fit(bundle)
    return bundle


def _overlapped(verify: Callable[[], object], other: Callable[[], object]) -> None:
    """Run both in parallel; an error of the verification takes precedence."""
    from concurrent.futures import ThreadPoolExecutor

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)  # otherwise an import holds the interpreter for 5 ms after every chunk
    try:
        with ThreadPoolExecutor(max_workers=1) as executor:
            verified = executor.submit(verify)
            try:
                other()
            finally:
                verified.result()
    finally:
        sys.setswitchinterval(interval_s)


def _read(source: Path, contents: Contents, name: str) -> bytes:
    size_bytes = contents.sizes.get(name)
    if size_bytes is None:
        raise IntegrityError(f"{source / name} is missing. {REMEDY}")
    if size_bytes > _LIMITS_BYTES[name]:
        raise IntegrityError(f"{source / name} has {size_bytes} bytes; {_LIMITS_BYTES[name]} are allowed. {REMEDY}")
    return contents.read(name)


def _signers(source: Path, contents: Contents, digest: str, keys: Keys) -> tuple[str, ...]:
    # Read even without trusted keys: in a sealed file, every byte is verified.
    text = _read(source, contents, SIGNATURE) if SIGNATURE in contents.sizes else None
    if not keys.trusted:
        return ()
    from overwinter.bundle.signature import verified_signers

    if text is None:
        raise IntegrityError(f"{source} is not signed, and only what a trusted key has signed is used. {REMEDY}")
    return verified_signers(source, text, digest, keys.public_keys())


def _parsed(source: Path, text: bytes, contents: Contents) -> Mapping[str, Any]:
    content = upgraded(manifest.parse_sealed(text, source / BUNDLE, remedy=REMEDY), contents.sizes)
    if content.get("schema") != SCHEMA:
        raise IntegrityError(
            f"{source} has the schema {content.get('schema')!r}; this Overwinter reads {SCHEMA}. {REMEDY}"
        )
    wrong = wrong_keys(content)
    if wrong:
        raise IntegrityError(f"{source / BUNDLE} lacks {', '.join(wrong)}, or has them in a wrong format. {REMEDY}")
    return content
