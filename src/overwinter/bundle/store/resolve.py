"""Resolving a published bundle: fetched once, verified at every use."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from overwinter.bundle.facts import Bundle
from overwinter.bundle.keys import Expected, Keys
from overwinter.bundle.reading import Meanwhile, read_bundle
from overwinter.bundle.store.address import StoreAddress
from overwinter.bundle.store.store import open_store
from overwinter.errors import IntegrityError


def resolve_in_store(
    address: StoreAddress,
    *,
    keys: Keys,
    expected: Expected,
    meanwhile: Meanwhile | None = None,
    hold: bool = True,
) -> Bundle:
    """Return the verified bundle at an address in a store; a cached version is not fetched again.

    Raises:
        IntegrityError: the store or the bundle was altered, is older than a pin, or is not the expected one.
        ConfigError: there is no such version.
    """
    store = open_store(address.store, keys=Keys(trusted=keys.trusted))
    _, version = store.resolve(address.name, address.which)
    target = _cache() / version.manifest
    cached = target.exists()
    if not cached:
        store.fetch(version, target)

    def read() -> Bundle:
        bundle = read_bundle(target, keys=keys, expected=expected, meanwhile=meanwhile, hold=hold)
        if not bundle.sealed:
            Expected(digest=version.digest).check(bundle)
        return bundle

    try:
        return read()
    except IntegrityError:
        if not cached:
            raise
        _remove(target)  # the cached copy may be damaged
        store.fetch(version, target)
        return read()


def _remove(target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True) if target.is_dir() else target.unlink(missing_ok=True)


def _cache() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "overwinter" / "bundles"
