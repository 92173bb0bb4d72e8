"""The catalog of a name: its versions and aliases after a number of changes, and its encoding in a store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from overwinter.bundle.keys import is_digest, is_digest_of
from overwinter.errors import ConfigError, IntegrityError, nearest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SCHEMA = 1
_TYPE = "application/vnd.overwinter.catalog+json"
_PREVIOUS = "previous"


@dataclass(frozen=True, kw_only=True)
class Version:
    """A published bundle.

    Attributes:
        digest: SHA-256 of the bundle, or of the sealed file.
        manifest: SHA-256 of the list of its files and their parts.
        size_bytes: size of all its files.
        published_utc: time of publication.
    """

    digest: str
    manifest: str
    size_bytes: int
    published_utc: str


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """All versions and aliases of a name.

    Attributes:
        name: name of the model.
        serial: The number of changes; 0 if nothing was ever published.
        last: the highest version number ever used.
        versions: version number -> version.
        aliases: alias -> version number.
    """

    name: str
    serial: int = 0
    last: int = 0
    versions: Mapping[int, Version] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)

    def number(self, which: str) -> int:
        """Return the version number for an alias, a number or `sha256:DIGITS`.

        Raises:
            ConfigError: there is no such version.
        """
        if which in self.aliases:
            return self.aliases[which]
        for number, version in self.versions.items():
            if which == str(number) or (which.startswith("sha256:") and is_digest_of(which, version.digest)):
                return number
        known = [*self.aliases, *map(str, self.versions)]
        raise ConfigError(
            f"{self.name!r} has no {which!r} in this store. Known: {', '.join(known) or 'nothing'}."
            f"{nearest(which, known)}"
        )

    def published(self, version: Version, alias: str) -> Catalog:
        """Return the catalog with one more version, to which the alias points.

        A version that exists already keeps its number: publishing it again, for example after an interruption, must
        not make it the `previous` of itself.
        """
        same = (number for number, known in self.versions.items() if known.manifest == version.manifest)
        if (there := next(same, None)) is not None:
            return self.pointed(alias, there)
        number = self.last + 1
        grown = replace(self, last=number, versions={**self.versions, number: version})
        return grown.pointed(alias, number)

    def pointed(self, alias: str, number: int) -> Catalog:
        """Return the catalog with an alias moved; `previous` keeps the former `champion`."""
        aliases = {**self.aliases, alias: number}
        if alias == "champion" and self.aliases.get(alias, number) != number:
            aliases[_PREVIOUS] = self.aliases[alias]
        return replace(self, aliases=aliases)

    def rolled_back(self) -> Catalog:
        """Return the catalog with champion and previous exchanged.

        Raises:
            ConfigError: there is no previous champion.
        """
        if _PREVIOUS not in self.aliases:
            raise ConfigError(f"{self.name!r} has no previous champion to go back to.")
        return self.pointed("champion", self.aliases[_PREVIOUS])

    def without_old(self, keep: int) -> Catalog:
        """Return the catalog without versions that have no alias, except the ``keep`` newest."""
        kept = set(self.aliases.values()) | set(sorted(self.versions)[len(self.versions) - keep :])
        return replace(self, versions={number: version for number, version in self.versions.items() if number in kept})


@dataclass(frozen=True, kw_only=True)
class StoredCatalog:
    """A catalog as read from a store.

    Attributes:
        catalog: the parsed catalog.
        signed: whether it is in a signed envelope.
        digest: SHA-256 of its bytes.
    """

    catalog: Catalog
    signed: bool
    digest: str


def encoded(catalog: Catalog, key: Ed25519PrivateKey | None) -> bytes:
    """Return the bytes of a catalog, in a signed envelope if there is a key."""
    content: Any = {"schema": SCHEMA, **asdict(catalog)}
    if key is not None:
        from overwinter.bundle.sealed import sign_payload

        content = sign_payload(json.dumps(content).encode(), _TYPE, key)
    return (json.dumps(content, indent=1) + "\n").encode()


def parsed(text: bytes, where: str, trusted: Sequence[Ed25519PublicKey]) -> StoredCatalog:
    """Return the catalog in ``text``.

    Raises:
        IntegrityError: it is malformed, or there are trusted keys and none has signed it.
    """
    try:
        content = json.loads(text)
        signed = isinstance(content, dict) and "payloadType" in content
        if trusted and not signed:
            raise IntegrityError(
                f"{where} is not signed, and only what a trusted key has signed is used. Publish with --sign-key."
            )
        if signed:
            content = json.loads(_payload(content, trusted))
        return StoredCatalog(catalog=_catalog(content), signed=signed, digest=hashlib.sha256(text).hexdigest())
    except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{where} is damaged: {type(error).__name__}: {error}. Don't use this store.") from None


def _payload(envelope: Any, trusted: Sequence[Ed25519PublicKey]) -> bytes:
    from overwinter.bundle.sealed import unverified_payload, verified_payload

    return verified_payload(envelope, _TYPE, trusted) if trusted else unverified_payload(envelope, _TYPE)


def _catalog(content: Any) -> Catalog:
    if content.pop("schema") != SCHEMA:
        raise ValueError("another schema")
    versions = {int(number): Version(**entry) for number, entry in content.pop("versions").items()}
    catalog = Catalog(versions=versions, **content)
    numbers = [catalog.serial, catalog.last, *catalog.aliases.values(), *(v.size_bytes for v in versions.values())]
    texts = [catalog.name, *(v.published_utc for v in versions.values())]
    digests = [digest for v in versions.values() for digest in (v.digest, v.manifest)]  # used as file names
    if not all(type(number) is int and number >= 0 for number in numbers) or not all(isinstance(t, str) for t in texts):
        raise ValueError("a number or a text has a wrong type")
    if not all(map(is_digest, digests)):
        raise ValueError("a digest is not a SHA-256")
    if not set(catalog.aliases.values()) <= set(versions) or max(versions, default=0) > catalog.last:
        raise ValueError("an alias without a version")
    return catalog
