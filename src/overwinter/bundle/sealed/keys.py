"""Secrets from outside: 32 bytes from a file, the environment or a command's output."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import shlex
import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from overwinter.errors import ConfigError
from overwinter.files import open_to_others

SECRET_BYTES = 32
_COMMAND_LIMIT_S = 60.0
_KEY_FORMAT = "64 hexadecimal digits, or base64, of 32 bytes (`openssl rand -hex 32` makes one)"


@dataclass(frozen=True, kw_only=True)
class WrappingKey:
    """A key that encrypts the keys of sealed files.

    Attributes:
        key_id: id of the key that does not reveal it: a digest of the secret.
        secret: 32 bytes; never shown.
    """

    key_id: str
    secret: bytes = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> WrappingKey:
        """Return the key of a secret."""
        return cls(key_id=hashlib.sha256(b"overwinter wrapping key\0" + secret).hexdigest()[:16], secret=secret)


def load_wrapping_key(source: str) -> WrappingKey:
    """Return the key at ``source``.

    Args:
        source: `file:PATH` (readable by its owner only), `env:NAME`, or `command:WORDS` (run without a shell; prints
            the key).

    Raises:
        ConfigError: there is no key, or it is not 32 bytes; the message contains no part of it.
    """
    return WrappingKey.of(_decode(read_secret(source), source))


def check_source(source: str) -> None:
    """Check the format of a key's source, without reading it.

    Raises:
        ConfigError: it is not file:PATH, env:NAME or command:WORDS.
    """
    kind, _, rest = source.partition(":")
    if not rest or kind not in ("file", "env", "command"):
        raise ConfigError("A key's source must be file:PATH, env:NAME or command:WORDS. Don't write the key itself.")


def read_secret(source: str) -> bytes:
    """Return the content of a key's source.

    Raises:
        ConfigError: the source is malformed or empty.
    """
    check_source(source)
    kind, _, rest = source.partition(":")
    readers = {"file": _from_file, "env": _from_environment, "command": _from_command}
    return readers[kind](rest)


def read_private(path: Path) -> bytes:
    """Return the content of a file that holds a secret.

    Raises:
        ConfigError: it cannot be read, or other users can read or write it.
    """
    try:
        with path.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            content = stream.read(1 << 16)
    except OSError as error:
        raise ConfigError(f"The key file {path} cannot be read: {error.strerror}.") from None
    if open_to_others(path, mode):
        raise ConfigError(
            f"Other users can access the key file {path} (mode {stat.S_IMODE(mode):o}). Run: chmod 600 {path}"
        )
    return content


def _from_file(path: str) -> bytes:
    return read_private(Path(path))


def _from_environment(name: str) -> bytes:
    value = os.environ.get(name)
    if not value:
        raise ConfigError(f"The environment variable {name} holds no key: it is unset or empty.")
    return value.encode()


def _from_command(words: str) -> bytes:
    try:
        done = subprocess.run(shlex.split(words), capture_output=True, timeout=_COMMAND_LIMIT_S, check=True)
    except subprocess.CalledProcessError as error:
        raise ConfigError(f"The key command {words!r} ended with exit code {error.returncode}.") from None
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"The key command {words!r} did not run: {type(error).__name__}.") from None
    return done.stdout


def _decode(content: bytes, source: str) -> bytes:
    text = content.strip()
    decoders = (bytes.fromhex, lambda found: base64.b64decode(found, validate=True))
    for decode in decoders:
        try:
            secret = decode(text.decode("ascii"))
        except (ValueError, binascii.Error):
            continue
        if len(secret) == SECRET_BYTES:
            return secret
    if len(content) == SECRET_BYTES:
        return content
    raise ConfigError(f"{source.partition(':')[0]}: the key has a wrong format. It must be {_KEY_FORMAT}.")
