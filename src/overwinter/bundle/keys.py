"""Keys that verify and open a bundle, and the digest and lineage that it must have.

The cryptography library is loaded only when a key is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.errors import IntegrityError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from overwinter.bundle.facts import Bundle
    from overwinter.bundle.sealed import WrappingKey

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Keys:
    """Sources of keys, as plain values that can be passed to another process.

    Attributes:
        trusted: files of public keys; if there is one, a bundle that none of them signed is refused.
        opening: sources of the keys that open sealed files: `file:PATH`, `env:NAME` or `command:WORDS`.
    """

    trusted: tuple[Path, ...] = ()
    opening: tuple[str, ...] = ()

    def public_keys(self) -> list[Ed25519PublicKey]:
        """Load the trusted keys.

        Raises:
            ConfigError: a key cannot be read, or is not an Ed25519 key.
        """
        from overwinter.bundle.sealed import load_trusted_key

        return [load_trusted_key(path) for path in self.trusted]

    def wrapping_keys(self) -> list[WrappingKey]:
        """Load the keys that open sealed files.

        Raises:
            ConfigError: a key is missing, or has the wrong format.
        """
        from overwinter.bundle.sealed import load_wrapping_key

        return [load_wrapping_key(source) for source in self.opening]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """Expected digest and lineage of a bundle.

    Attributes:
        digest: the digest, or its first digits (at least 8); None accepts any.
        lineage: values that the lineage must have; a dotted key such as `inputs.train/model` addresses a nested value.
    """

    digest: str | None = None
    lineage: Mapping[str, str] = field(default_factory=dict)

    def check(self, bundle: Bundle) -> None:
        """Check a bundle's digest and lineage.

        Raises:
            IntegrityError: it is another bundle, or was made from something else.
        """
        if self.digest is not None and not is_digest_of(self.digest, bundle.digest):
            raise IntegrityError(
                f"{bundle.source} is another bundle: its digest is {bundle.digest}, expected was {self.digest}. "
                "Don't use it, or name the digest that you trust."
            )
        for key, value in self.lineage.items():
            actual = _at(bundle.lineage, key)
            if actual != value:
                raise IntegrityError(
                    f"{bundle.source} was made from something else: {key} in its lineage is {actual!r}, expected was "
                    f"{value!r}. Don't use it, or expect what you trust."
                )


NO_KEYS = Keys()
ANYTHING = Expected()


def is_digest(text: Any) -> bool:
    """Return whether ``text`` is a SHA-256 of 64 lower-case hexadecimal digits, which is also a safe file name."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def is_digest_of(expected: str, digest: str) -> bool:
    """Return whether ``digest`` starts with ``expected`` (with or without `sha256:`, at least 8 digits)."""
    digits = expected.removeprefix("sha256:").lower()
    return len(digits) >= 8 and digest.startswith(digits)


def _at(lineage: Mapping[str, Any], key: str) -> str | None:
    """Look up a dotted key; file names contain dots too, so the longest existing prefix wins."""
    if key in lineage:
        value = lineage[key]
        return value if isinstance(value, str | None) else str(value)
    for end in range(len(key) - 1, 0, -1):
        inner = lineage.get(key[:end])
        if key[end] == "." and isinstance(inner, dict):
            return _at(inner, key[end + 1 :])
    return None
