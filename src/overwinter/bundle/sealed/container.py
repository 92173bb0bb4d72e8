"""Encryption at rest: one file that contains many, with hidden names and sizes, encrypted for one or several keys.

Layout: magic, length of the header (4 bytes, big-endian), header (JSON), and equal chunks of AES-256-GCM. The chunks
are encrypted with a key used for this file only, so a chunk's number can be its nonce. The file's id and the number of
chunks are authenticated with every chunk, so no chunk can be dropped, moved or taken from another file. The header
holds that key, wrapped by each wrapping key, so a change of wrapping keys does not rewrite the chunks.
The plaintext is an index (names, sizes), the files in order, and zeros up to a whole chunk.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from overwinter import files
from overwinter.bundle.sealed.index import index_bytes
from overwinter.bundle.sealed.keys import SECRET_BYTES, WrappingKey
from overwinter.errors import ConfigError, IntegrityError
from overwinter.plain_files import open_plain

_MAGIC = b"OWSEAL1\n"
_LENGTH = struct.Struct(">I")
_TAG_BYTES = 16
_NONCE_BYTES = 12
_FILE_ID_BYTES = 16
_HEADER_LIMIT_BYTES = 1 << 16
_CHUNK_RANGE_BYTES = (1 << 12, 1 << 24)
DEFAULT_CHUNK_BYTES = 1 << 20
_REMEDY = "Don't use it; copy it again from its origin."


@dataclass(frozen=True, kw_only=True)
class Header:
    """The part of a sealed file that is readable without a key.

    Attributes:
        file_id: random id that binds chunks and wrapped keys to this file.
        chunk_bytes: plaintext size of a chunk, without its tag.
        chunks: The number of chunks.
        wrapped: the file's key, wrapped, by the id of the wrapping key.
    """

    file_id: bytes
    chunk_bytes: int
    chunks: int
    wrapped: Mapping[str, bytes]

    @property
    def bound(self) -> bytes:
        """Associated data that is authenticated with every chunk."""
        return self.file_id + struct.pack(">QQ", self.chunk_bytes, self.chunks)


def seal(
    contents: Mapping[str, Path], out: Path, keys: Sequence[WrappingKey], *, chunk_bytes: int = DEFAULT_CHUNK_BYTES
) -> None:
    """Encrypt files into one (0600), completely or not at all.

    Args:
        contents: files by their names inside: relative, with forward slashes.
        out: the sealed file.
        keys: keys, any of which opens the file.
        chunk_bytes: size of a chunk, 4 KiB to 16 MiB; file sizes are hidden to that granularity.

    Raises:
        ConfigError: a name, the chunk size, or the number of keys is wrong, or a file changed during sealing.
    """
    if not keys:
        raise ConfigError(f"{out} needs a key. Name at least one.")
    if not _CHUNK_RANGE_BYTES[0] <= chunk_bytes <= _CHUNK_RANGE_BYTES[1]:
        raise ConfigError(f"chunk_bytes={chunk_bytes} must be 4096 to 16777216.")
    index = index_bytes(contents)
    total_bytes = len(index) + sum(path.stat().st_size for path in contents.values())
    secret, file_id = os.urandom(SECRET_BYTES), os.urandom(_FILE_ID_BYTES)
    header = Header(
        file_id=file_id,
        chunk_bytes=chunk_bytes,
        chunks=-(-total_bytes // chunk_bytes),
        wrapped={key.key_id: _wrap(secret, key, file_id) for key in keys},
    )
    with files.replacing(out, mode=0o600) as staging, staging.open("wb") as stream:
        stream.write(_header_bytes(header))
        cipher = AESGCM(secret)
        written = 0
        for number, plain in enumerate(_chunks(index, contents, chunk_bytes)):
            stream.write(cipher.encrypt(_nonce(number), plain, header.bound))
            written += 1
        if written != header.chunks:
            raise ConfigError(f"A file changed while {out} was being sealed. Seal it again.")


class PlainReader:
    """Reader that decrypts any part of a sealed file; threads may share one.

    Attributes:
        path: path of the file.
        room_bytes: size of the plaintext, including zeros at the end.
        close: closes the file; called automatically when the reader is dropped.

    Raises:
        IntegrityError: the header was altered, or no key fits.
    """

    def __init__(self, path: Path, keys: Sequence[WrappingKey]) -> None:
        self.path = path
        with _opened(path) as stream:
            self._header, self._begins = _read_header(path, stream)
            self._cipher = AESGCM(_unwrap(path, self._header, keys))
            self._handle = os.dup(stream.fileno())
        self.close = weakref.finalize(self, os.close, self._handle)
        self.room_bytes = self._header.chunks * self._header.chunk_bytes
        self._buffers = threading.local()

    def chunks_of(self, size_bytes: int) -> bool:
        """Return whether the file has exactly the chunks that ``size_bytes`` of plaintext need."""
        return self._header.chunks == -(-size_bytes // self._header.chunk_bytes)

    def pieces(self, begin: int, size_bytes: int) -> Iterator[memoryview]:
        """Yield a part of the plaintext, piece by piece; a piece is overwritten once the thread asks for the next.

        Raises:
            IntegrityError: the file was altered or truncated.
        """
        size, end = self._header.chunk_bytes, begin + size_bytes
        for number in range(begin // size, -(-end // size)):
            plain, base = self._decrypted(number), number * size
            yield plain[max(begin - base, 0) : min(end - base, size)]

    def _decrypted(self, number: int) -> memoryview:
        if not hasattr(self._buffers, "sealed"):  # one pair per thread: allocating costs more than decrypting
            self._buffers.sealed = bytearray(self._header.chunk_bytes + _TAG_BYTES)
            self._buffers.plain = memoryview(bytearray(self._header.chunk_bytes))
        sealed, plain = self._buffers.sealed, self._buffers.plain
        try:
            # The file may have been truncated since it was opened.
            if os.preadv(self._handle, [sealed], self._begins + number * len(sealed)) == len(sealed):
                self._cipher.decrypt_into(_nonce(number), sealed, self._header.bound, plain)
                return cast("memoryview", plain)
        except (InvalidTag, OSError):
            pass
        raise IntegrityError(f"{self.path} was altered: a chunk cannot be decrypted. {_REMEDY}")


def rewrap(path: Path, keys: Sequence[WrappingKey], new_keys: Sequence[WrappingKey]) -> None:
    """Replace the keys that open a sealed file; its content is not encrypted again.

    Raises:
        ConfigError: there is no new key.
        IntegrityError: the header was altered, or none of the old keys opens the file.
    """
    if not new_keys:
        raise ConfigError(f"{path} needs a new key. Name at least one.")
    with _opened(path) as source:
        header, begins = _read_header(path, source)
        secret = _unwrap(path, header, keys)
        wrapped = {key.key_id: _wrap(secret, key, header.file_id) for key in new_keys}
        fresh = Header(file_id=header.file_id, chunk_bytes=header.chunk_bytes, chunks=header.chunks, wrapped=wrapped)
        with files.replacing(path, mode=0o600) as staging, staging.open("wb") as stream:
            stream.write(_header_bytes(fresh))
            source.seek(begins)
            shutil.copyfileobj(source, stream, 1 << 20)


def read_header(path: Path) -> Header:
    """Return the header, which is readable without a key.

    Raises:
        IntegrityError: it is not a sealed file, or its size does not match its header.
    """
    with _opened(path) as stream:
        return _read_header(path, stream)[0]


def _opened(path: Path) -> AbstractContextManager[BinaryIO]:
    try:
        return io.BufferedReader(open_plain(path, follow=True))
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}. {_REMEDY}") from None


def _header_bytes(header: Header) -> bytes:
    content = {
        "chunk_bytes": header.chunk_bytes,
        "chunks": header.chunks,
        "file_id": header.file_id.hex(),
        "wrapped": {key_id: wrapped.hex() for key_id, wrapped in header.wrapped.items()},
    }
    text = json.dumps(content).encode()
    return _MAGIC + _LENGTH.pack(len(text)) + text


def _read_header(path: Path, stream: BinaryIO) -> tuple[Header, int]:
    """Return the header, and the offset of the first chunk."""
    opening = stream.read(len(_MAGIC) + _LENGTH.size)
    if len(opening) < len(_MAGIC) + _LENGTH.size or not opening.startswith(_MAGIC):
        raise IntegrityError(f"{path} is not a sealed file. {_REMEDY}")
    (length,) = _LENGTH.unpack(opening[len(_MAGIC) :])
    if length > _HEADER_LIMIT_BYTES:
        raise IntegrityError(f"{path} claims a header of {length} bytes. {_REMEDY}")
    try:
        header = _parse_header(stream.read(length))
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise IntegrityError(f"The header of {path} is damaged: {type(error).__name__}. {_REMEDY}") from None
    begins = len(opening) + length
    expected = begins + header.chunks * (header.chunk_bytes + _TAG_BYTES)
    actual = os.fstat(stream.fileno()).st_size
    if actual != expected:
        raise IntegrityError(f"{path} has {actual} bytes instead of {expected}. {_REMEDY}")
    return header, begins


def _parse_header(text: bytes) -> Header:
    content = json.loads(text)
    header = Header(
        file_id=bytes.fromhex(content["file_id"]),
        chunk_bytes=_whole(content["chunk_bytes"], *_CHUNK_RANGE_BYTES),
        chunks=_whole(content["chunks"], 1, 1 << 32),
        wrapped={str(key_id): bytes.fromhex(wrapped) for key_id, wrapped in content["wrapped"].items()},
    )
    if len(header.file_id) != _FILE_ID_BYTES or _header_bytes(header)[len(_MAGIC) + _LENGTH.size :] != text:
        raise ValueError("not in its original encoding")
    return header


def _whole(value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{value} is not in {least}..{most}")
    return value


def _nonce(number: int) -> bytes:
    return number.to_bytes(_NONCE_BYTES, "big")


def _wrap(secret: bytes, key: WrappingKey, file_id: bytes) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key.secret).encrypt(nonce, secret, _wrap_context(file_id))


def _unwrap(path: Path, header: Header, keys: Sequence[WrappingKey]) -> bytes:
    for key in keys:
        wrapped = header.wrapped.get(key.key_id, b"")
        if len(wrapped) == _NONCE_BYTES + SECRET_BYTES + _TAG_BYTES:
            try:
                nonce, locked = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
                return AESGCM(key.secret).decrypt(nonce, locked, _wrap_context(header.file_id))
            except InvalidTag:
                raise IntegrityError(f"{path} was altered: its wrapped key does not fit. {_REMEDY}") from None
    has, given = (", ".join(ids) or "none" for ids in (header.wrapped, [key.key_id for key in keys]))
    raise IntegrityError(f"{path} is encrypted for other keys (it has {has}; given: {given}). Name the right one.")


def _wrap_context(file_id: bytes) -> bytes:
    return b"overwinter sealed file key\0" + file_id


def _chunks(index: bytes, contents: Mapping[str, Path], chunk_bytes: int) -> Iterator[bytes]:
    """Yield index and files in equal chunks, the last one padded with zeros."""
    pending = bytearray(index)
    for path in contents.values():
        with path.open("rb") as stream:
            while piece := stream.read(chunk_bytes - len(pending) % chunk_bytes):
                pending += piece
                while len(pending) >= chunk_bytes:
                    yield bytes(pending[:chunk_bytes])
                    del pending[:chunk_bytes]
    while pending:
        yield bytes(pending[:chunk_bytes].ljust(chunk_bytes, b"\0"))
        del pending[:chunk_bytes]
