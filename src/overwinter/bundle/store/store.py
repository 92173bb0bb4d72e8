"""Publishing, resolving, fetching and garbage-collecting bundles."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from overwinter.bundle.keys import NO_KEYS, Keys
from overwinter.bundle.private import private_copy
from overwinter.bundle.reading import read_bundle
from overwinter.bundle.store.address import checked_alias, checked_name
from overwinter.bundle.store.catalog import Catalog, StoredCatalog, Version, encoded, parsed
from overwinter.bundle.store.interface import Storage
from overwinter.bundle.store.local import LocalStorage
from overwinter.bundle.store.pins import Pins
from overwinter.bundle.store.transfer import GRACE_S, part_name, parts_of, receive, send
from overwinter.errors import ConfigError, IntegrityError, OverwinterError
from overwinter.files import sha256

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from overwinter.bundle.facts import Bundle

_CATALOG = re.compile(r"names/([^/]+)/(\d{10})\.json")
_CATALOG_LIMIT_BYTES = 16 << 20
_ATTEMPTS = 50
_SEALED = "bundle.sealed"


def open_store(
    address: str, *, keys: Keys = NO_KEYS, sign_key: Ed25519PrivateKey | None = None, pins: Pins | None = None
) -> Store:
    """Return the store at an address; the first publication creates it.

    Args:
        address: a local folder, or an fsspec address such as `s3://bucket/prefix`.
        keys: public keys, one of which must have signed each catalog; without keys, signatures are ignored.
        sign_key: key that signs every change.
        pins: catalogs seen before; None: the pins of this user.

    Raises:
        ConfigError: there is no driver for the address.
    """
    scheme, colon, rest = address.partition("://")
    place: Storage
    if not colon or scheme == "file":
        address = str(Path(rest if colon else address).resolve())  # so that a pin belongs to one place
        place = LocalStorage(Path(address))
    else:
        from overwinter.bundle.store.remote import RemoteStorage

        place = RemoteStorage(address)
    return Store(place, address, keys=keys, sign_key=sign_key, pins=pins or Pins.default())


class Store:
    """A store of bundles; see `open_store`."""

    def __init__(
        self, place: Storage, address: str, *, keys: Keys, sign_key: Ed25519PrivateKey | None, pins: Pins
    ) -> None:
        self._place, self.address, self._keys, self._sign_key, self._pins = place, address, keys, sign_key, pins

    def catalog(self, name: str) -> Catalog:
        """Return the catalog of a name, which is empty if nothing was published.

        Raises:
            IntegrityError: it was altered, no trusted key has signed it, or it is older than the pin.
        """
        return self._newest(checked_name(name)).catalog

    def names(self) -> list[str]:
        """Return the names under which something was published."""
        found = map(_CATALOG.fullmatch, self._place.names("names"))
        return sorted({match[1] for match in found if match})

    def publish(self, source: Path, name: str, *, alias: str, keys: Keys = NO_KEYS) -> tuple[int, Version]:
        """Publish a bundle under an alias; readers see all of it or nothing.

        Args:
            source: a bundle's folder, or a sealed file.
            name: name of the model.
            alias: alias of the version, such as `champion`.
            keys: keys that open a sealed file, to verify its content first.

        Returns:
            The number of the version, and its entry in the catalog.

        Raises:
            IntegrityError: the bundle is damaged.
            ConfigError: the name is not valid, or the store is signed and there is no key.
        """
        checked_name(name)
        checked_alias(alias)
        with _verified(source, keys) as (bundle, contents):
            version = Version(
                digest=sha256(contents[_SEALED]) if bundle.sealed else bundle.digest,
                manifest=send(self._place, contents, sealed=bundle.sealed),
                size_bytes=sum(path.stat().st_size for path in contents.values()),
                published_utc=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            )
            changed = self._change(name, lambda catalog: catalog.published(version, alias))
            send(self._place, contents, sealed=bundle.sealed)  # parts that a concurrent collect removed
        number = changed.aliases[alias]
        return number, changed.versions[number]

    def resolve(self, name: str, which: str) -> tuple[int, Version]:
        """Return the number and the version for an alias, a number or `sha256:DIGITS`.

        Raises:
            ConfigError: there is no such version.
            IntegrityError: as `catalog`.
        """
        catalog = self.catalog(name)
        number = catalog.number(which)
        return number, catalog.versions[number]

    def fetch(self, version: Version, target: Path) -> None:
        """Download a version to a folder, or to a file if it is sealed; an interrupted fetch resumes.

        Raises:
            IntegrityError: a part is missing or altered, or the bundle is not the one in the catalog.
            ConfigError: something else is at ``target``.
        """
        receive(self._place, version.manifest, target, digest=version.digest)

    def set_alias(self, name: str, alias: str, which: str) -> Catalog:
        """Point an alias to another version.

        Raises:
            ConfigError: there is no such version.
        """
        checked_alias(alias)
        return self._change(name, lambda catalog: catalog.pointed(alias, catalog.number(which)))

    def rollback(self, name: str) -> Catalog:
        """Exchange champion and previous.

        Raises:
            ConfigError: there is no previous champion.
        """
        return self._change(name, Catalog.rolled_back)

    def pin(self, name: str) -> int:
        """Pin the current catalog of a name, so that this machine refuses older ones; return its serial."""
        found = self._newest(checked_name(name))
        if found.catalog.serial == 0:
            raise ConfigError(f"Nothing is published as {name!r}, so there is nothing to pin.")
        self._pins.set(self._pinned(name), found.catalog.serial, found.digest)
        return found.catalog.serial

    def collect(self, *, keep: int, grace_s: float = GRACE_S) -> tuple[int, int]:
        """Delete versions without an alias, parts that no version needs, and leftovers of killed publishers.

        Args:
            keep: The number of newest versions of each name to keep without an alias.
            grace_s: age below which files are kept, because a running publication may need them.

        Returns:
            The number of deleted versions and of deleted files.

        Raises:
            IntegrityError: a catalog or a manifest is damaged; nothing is deleted.
            ConfigError: ``keep`` is negative, or there is no store.
        """
        if keep < 0:
            raise ConfigError(f"--keep {keep} must be at least 0.")
        if not self._place.names("names") and not self._place.names("parts"):
            raise ConfigError(f"There is no store at {self.address}: nothing was ever published there.")
        forgotten = sum(self._forget(name, keep) for name in self.names())
        candidates = self._place.names("parts")
        candidates += [name for name in self._place.names("names") if not _CATALOG.fullmatch(name)]
        needed = {part_name(part) for manifest in self._manifests() for part in parts_of(self._place, manifest)}
        removed = 0
        for name in set(candidates) - needed:
            if (self._place.age_s(name) or 0.0) >= grace_s:
                self._place.remove(name)
                removed += 1
        return forgotten, removed

    def _manifests(self) -> set[str]:
        return {version.manifest for name in self.names() for version in self.catalog(name).versions.values()}

    def _forget(self, name: str, keep: int) -> int:
        before = self.catalog(name)
        if len(before.without_old(keep).versions) == len(before.versions):
            return 0
        return len(before.versions) - len(self._change(name, lambda catalog: catalog.without_old(keep)).versions)

    def _newest(self, name: str) -> StoredCatalog:
        found = [match for match in map(_CATALOG.fullmatch, self._place.names(f"names/{name}")) if match]
        if not found:
            self._pins.check(self._pinned(name), 0, "")
            return StoredCatalog(catalog=Catalog(name=name), signed=False, digest="")
        text = self._place.read(found[-1][0], _CATALOG_LIMIT_BYTES)
        newest = parsed(text, f"{self.address}/{found[-1][0]}", self._keys.public_keys())
        if (newest.catalog.name, newest.catalog.serial) != (name, int(found[-1][2])):
            raise IntegrityError(
                f"{self.address}/{found[-1][0]} is the catalog of another state. Don't use this store."
            )
        self._pins.check(self._pinned(name), newest.catalog.serial, newest.digest)
        return newest

    def _pinned(self, name: str) -> str:
        return f"{self.address}#{name}"

    def _change(self, name: str, change: Callable[[Catalog], Catalog]) -> Catalog:
        """Write the next catalog; if another process was first, read its catalog and try again."""
        for _ in range(_ATTEMPTS):
            current = self._newest(name)
            if current.signed and self._sign_key is None:
                raise ConfigError(f"{self.address}#{name} is signed: name the key that signs the change (--sign-key).")
            fresh = replace(change(current.catalog), serial=current.catalog.serial + 1)
            if self._place.create(f"names/{name}/{fresh.serial:010d}.json", encoded(fresh, self._sign_key)):
                return fresh
        raise OverwinterError(f"{self.address} is changed by too many processes at once. Try again.")


@contextmanager
def _verified(source: Path, keys: Keys) -> Iterator[tuple[Bundle, dict[str, Path]]]:
    """Yield a bundle and its verified files to publish, by their names in the store."""
    if not source.is_file():
        bundle = read_bundle(source, keys=keys)
        yield bundle, {name: bundle.folder / name for name in sorted(bundle.names)}
        bundle.release()
        return
    copy = private_copy(source)
    yield read_bundle(copy.folder / source.name, keys=keys, hold=False), {_SEALED: copy.folder / source.name}
    copy.release()
