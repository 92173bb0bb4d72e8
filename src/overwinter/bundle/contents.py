"""The files of a bundle, from a folder or a sealed file, checked against the list of their sizes and digests.

A large file is digested in pieces, in parallel, and bundle.json lists the digest of each.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from overwinter.bundle.facts import BUNDLE, SIGNATURE
from overwinter.bundle.folder import REMEDY
from overwinter.bundle.private import PrivateFiles
from overwinter.bundle.spans import Span, side_by_side
from overwinter.errors import IntegrityError

PIECE_BYTES = 8 << 20
_MIN_PIECE_BYTES = 1 << 16  # smaller pieces only lengthen the list
_MAX_THREADS = 8


class Source(Protocol):
    """Source of a bundle's files; threads may share one."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Size of each file in bytes, by its name: relative, with forward slashes."""

    def pieces(self, span: Span) -> Iterator[memoryview]:
        """Yield a part of a file, piece by piece; a piece is overwritten once the thread asks for the next."""


class Contents:
    """The files of a bundle, each byte read once: the digested bytes are those returned and held.

    Args:
        source: a folder, or a sealed file.
        threads: The number of threads that digest in parallel.

    Attributes:
        sizes: size of each file in bytes, by its name: relative, with forward slashes.
    """

    def __init__(self, source: Source, threads: int) -> None:
        self.sizes = source.sizes
        self._source, self._threads = source, threads
        self._known: dict[str, bytes] = {}
        self._held: PrivateFiles | None = None

    def read(self, name: str) -> bytes:
        """Return the whole content of a small file; repeated calls return the same bytes."""
        if name not in self._known:
            content = b"".join(map(bytes, self._source.pieces((name, 0, self.sizes[name]))))
            self._known[name] = content
            if self._held is not None:
                self._held.store(name, memoryview(content), 0)
        return self._known[name]

    def hold(self, *, memory_only: bool) -> PrivateFiles:
        """Keep the bytes read so far, and all that are digested later, in files that other processes cannot change.

        Args:
            memory_only: see `PrivateFiles`.
        """
        held = PrivateFiles(self.sizes, memory_only=memory_only)
        for name, content in self._known.items():
            held.store(name, memoryview(content), 0)
        self._held = held
        return held

    def digests(self, spans: Sequence[Span]) -> list[str]:
        """Return the SHA-256 of each span, as hexadecimal; spans must not overlap."""
        return side_by_side(self._digest, spans, self._threads)

    def _digest(self, span: Span) -> str:
        name, place, size_bytes = span
        if name in self._known:
            return hashlib.sha256(self._known[name][place : place + size_bytes]).hexdigest()
        digest = hashlib.sha256()
        if self._held is not None:
            self._held.prepare(*span)
        for piece in self._source.pieces(span):
            digest.update(piece)
            if self._held is not None:
                self._held.store(name, piece, place)
                place += len(piece)
        return digest.hexdigest()


def threads_here() -> int:
    """Return the number of verification threads: one per core that this process may use, up to a maximum."""
    return min(len(os.sched_getaffinity(0)), _MAX_THREADS)


def list_files(contents: Contents) -> dict[str, dict[str, Any]]:
    """Return the entry ``files`` of bundle.json: the size of each file, and its digest or those of its pieces."""
    entries: dict[str, dict[str, Any]] = {}
    for name, size_bytes in sorted(contents.sizes.items()):
        found = contents.digests(_spans(name, size_bytes, PIECE_BYTES))
        digests = {"sha256": found[0]} if size_bytes <= PIECE_BYTES else _in_pieces(found)
        entries[name] = {**digests, "size_bytes": size_bytes}
    return entries


def listed_digests(source: Path, contents: Contents, listed: Mapping[str, Any]) -> dict[Span, str]:
    """Compare names and sizes with the list; return the expected digest of each span.

    Raises:
        IntegrityError: they differ, or the list is not valid.
    """
    found = set(contents.sizes) - {BUNDLE, SIGNATURE}
    if unlisted := sorted(found - set(listed)):
        raise IntegrityError(f"{source} holds files that bundle.json does not list: {', '.join(unlisted)}. {REMEDY}")
    if missing := sorted(set(listed) - found):
        raise IntegrityError(f"{source / missing[0]} is missing. {REMEDY}")
    expected: dict[Span, str] = {}
    for name, entry in listed.items():
        piece_bytes, digests = _entry(source / name, contents.sizes[name], entry)
        expected |= zip(_spans(name, contents.sizes[name], piece_bytes), digests, strict=True)
    return expected


def compare(source: Path, contents: Contents, expected: Mapping[Span, str]) -> None:
    """Compare the digest of every span with the one from `listed_digests`.

    Raises:
        IntegrityError: a digest differs.
    """
    for (span, right), digest in zip(expected.items(), contents.digests(list(expected)), strict=True):
        if digest != right:
            raise IntegrityError(f"{source / span[0]} was altered: its SHA-256 is not the listed one. {REMEDY}")


def _in_pieces(digests: Sequence[str]) -> dict[str, Any]:
    return {"piece_bytes": PIECE_BYTES, "pieces_sha256": list(digests)}


def _spans(name: str, size_bytes: int, piece_bytes: int) -> list[Span]:
    begins = range(0, size_bytes, piece_bytes) if size_bytes else [0]
    return [(name, begin, min(piece_bytes, size_bytes - begin)) for begin in begins]


def _entry(path: Path, size_bytes: int, entry: Any) -> tuple[int, list[str]]:
    """Check a file's entry in the list; return the size of its pieces and the digest of each."""
    declared = entry if isinstance(entry, dict) else {}
    digests = [declared["sha256"]] if "sha256" in declared else declared.get("pieces_sha256")
    piece_bytes = max(size_bytes, 1) if "sha256" in declared else declared.get("piece_bytes")
    if type(declared.get("size_bytes")) is not int or type(piece_bytes) is not int or not _are_texts(digests):
        raise IntegrityError(f"{path} is listed without a size and a digest. {REMEDY}")
    if size_bytes != declared["size_bytes"]:
        raise IntegrityError(f"{path} has {size_bytes} bytes instead of {declared['size_bytes']}. {REMEDY}")
    least = 1 if "sha256" in declared else _MIN_PIECE_BYTES
    if piece_bytes < least or len(digests) != max(1, -(-size_bytes // piece_bytes)):
        raise IntegrityError(f"{path} is listed with pieces that do not match its size. {REMEDY}")
    return piece_bytes, digests


def _are_texts(values: Any) -> TypeGuard[list[str]]:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
