"""The files of a bundle, as a folder or in a sealed file: their sizes, their digests, and a folder to open them in.

A large file is digested in pieces, side by side, and bundle.json lists the digest of each.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeGuard

from overwinter.errors import IntegrityError
from overwinter.serving.bundle.facts import BUNDLE, SIGNATURE
from overwinter.serving.spans import Span, side_by_side

REMEDY = "Don't use this bundle; make it again with `dvc repro hibernate`."
PIECE_BYTES = 8 << 20
_LEAST_PIECE_BYTES = 1 << 16  # smaller ones would make the list longer than it helps
_FILES_LIMIT = 4096
_MOST_THREADS = 8


class Contents(Protocol):
    """What verification needs to know of a bundle's files."""

    @property
    def folder(self) -> Path:
        """Where they can be opened."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of each file, by its name: relative, with forward slashes."""

    def read(self, name: str) -> bytes:
        """Return the whole content of a file."""

    def digests(self, spans: Sequence[Span]) -> list[str]:
        """Return the SHA-256 of each span, as hexadecimal."""


class FolderContents:
    """A folder of plain files.

    Args:
        folder: the bundle.
        threads: that digest side by side.

    Raises:
        IntegrityError: it holds a link or a device, or is no folder.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        self.folder = folder
        self.sizes = _plain_sizes(folder)
        self._threads = threads

    def read(self, name: str) -> bytes:
        """See `Contents`."""
        return b"".join(map(bytes, self._pieces((name, 0, self.sizes[name]))))

    def digests(self, spans: Sequence[Span]) -> list[str]:
        """See `Contents`."""
        return side_by_side(self._digest, spans, self._threads)

    def _digest(self, span: Span) -> str:
        digest = hashlib.sha256()
        for piece in self._pieces(span):
            digest.update(piece)
        return digest.hexdigest()

    def _pieces(self, span: Span) -> Iterator[memoryview]:
        """Read a part of a file, which must not have become a link since it was looked at; a piece is overwritten."""
        name, place, left = span
        try:
            handle = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW)
            room = memoryview(bytearray(min(left, PIECE_BYTES)))
            with io.FileIO(handle) as stream:
                stream.seek(place)
                while left and (read := stream.readinto(room[:left])):
                    yield room[:read]
                    left -= read
        except OSError as error:
            raise IntegrityError(f"{self.folder / name} cannot be read: {error.strerror}. {REMEDY}") from None


def threads_here() -> int:
    """Return how many threads verify side by side: one for each core that this process may use, up to some."""
    return min(len(os.sched_getaffinity(0)), _MOST_THREADS)


def list_files(contents: Contents, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return what bundle.json says of files: their sizes, and a digest of each or of each of its pieces."""
    entries: dict[str, dict[str, Any]] = {}
    for name in sorted(names):
        size_bytes = contents.sizes[name]
        found = contents.digests(_spans(name, size_bytes, PIECE_BYTES))
        digests = {"sha256": found[0]} if size_bytes <= PIECE_BYTES else _in_pieces(found)
        entries[name] = {**digests, "size_bytes": size_bytes}
    return entries


def compare(source: Path, contents: Contents, listed: Mapping[str, Any]) -> None:
    """Hold the files against the list: names first, then sizes, then every byte.

    Raises:
        IntegrityError: they differ, or the list is none.
    """
    found = set(contents.sizes) - {BUNDLE, SIGNATURE}
    if unlisted := sorted(found - set(listed)):
        raise IntegrityError(f"{source} holds files that bundle.json does not list: {', '.join(unlisted)}. {REMEDY}")
    if missing := sorted(set(listed) - found):
        raise IntegrityError(f"{source / missing[0]} is missing. {REMEDY}")
    spans: list[Span] = []
    expected: list[str] = []
    for name, entry in listed.items():
        piece_bytes, digests = _entry(source / name, contents.sizes[name], entry)
        spans += _spans(name, contents.sizes[name], piece_bytes)
        expected += digests
    for span, digest, right in zip(spans, contents.digests(spans), expected, strict=True):
        if digest != right:
            raise IntegrityError(f"{source / span[0]} was altered: its SHA-256 is not the listed one. {REMEDY}")


def _in_pieces(digests: Sequence[str]) -> dict[str, Any]:
    return {"piece_bytes": PIECE_BYTES, "pieces_sha256": list(digests)}


def _spans(name: str, size_bytes: int, piece_bytes: int) -> list[Span]:
    begins = range(0, size_bytes, piece_bytes) if size_bytes else [0]
    return [(name, begin, min(piece_bytes, size_bytes - begin)) for begin in begins]


def _entry(path: Path, size_bytes: int, entry: Any) -> tuple[int, list[str]]:
    """Check what is listed of a file; return the size of its pieces and the digest of each."""
    said = entry if isinstance(entry, dict) else {}
    digests = [said["sha256"]] if "sha256" in said else said.get("pieces_sha256")
    piece_bytes = max(size_bytes, 1) if "sha256" in said else said.get("piece_bytes")
    if type(said.get("size_bytes")) is not int or type(piece_bytes) is not int or not _are_texts(digests):
        raise IntegrityError(f"{path} is listed without a size and a digest. {REMEDY}")
    if size_bytes != said["size_bytes"]:
        raise IntegrityError(f"{path} has {size_bytes} bytes instead of {said['size_bytes']}. {REMEDY}")
    least = 1 if "sha256" in said else _LEAST_PIECE_BYTES
    if piece_bytes < least or len(digests) != max(1, -(-size_bytes // piece_bytes)):
        raise IntegrityError(f"{path} is listed with pieces that don't fit its size. {REMEDY}")
    return piece_bytes, digests


def _are_texts(values: Any) -> TypeGuard[list[str]]:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _plain_sizes(folder: Path) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for parent, folders, names in os.walk(folder, onerror=_refuse_unreadable):
        for name in [*folders, *names]:
            path = Path(parent) / name
            found = path.lstat()
            if stat.S_ISREG(found.st_mode):
                sizes[path.relative_to(folder).as_posix()] = found.st_size
            elif not stat.S_ISDIR(found.st_mode):
                raise IntegrityError(f"{folder} holds links or devices, not plain files: {path}. {REMEDY}")
        if len(sizes) > _FILES_LIMIT:
            raise IntegrityError(f"{folder} holds more than {_FILES_LIMIT} files. {REMEDY}")
    return sizes


def _refuse_unreadable(error: OSError) -> None:
    raise IntegrityError(f"{error.filename} cannot be read: {error.strerror}. {REMEDY}")
