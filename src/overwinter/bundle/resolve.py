"""Finding a bundle by its address."""

from __future__ import annotations

from pathlib import Path

from overwinter.bundle.facts import BUNDLE, Bundle
from overwinter.bundle.keys import ANYTHING, NO_KEYS, Expected, Keys
from overwinter.bundle.reading import Meanwhile, read_bundle
from overwinter.errors import ConfigError, IntegrityError


def resolve_bundle(
    address: str | Path,
    *,
    keys: Keys = NO_KEYS,
    expected: Expected = ANYTHING,
    meanwhile: Meanwhile | None = None,
    hold: bool = True,
) -> Bundle:
    """Return the verified bundle at an address.

    Args:
        address: a bundle's folder, a sealed bundle's file, or STORE#NAME@WHICH (see `overwinter.bundle.store`).
        keys: keys that verify and open it.
        expected: expected digest and lineage.
        meanwhile: see `read_bundle`.
        hold: see `read_bundle`.

    Raises:
        IntegrityError: there is no bundle, or it is not the expected one.
        ConfigError: a key cannot be read, the store has no such version, or the bundle is in a subfolder.
    """
    place = Path(address)
    if not place.exists() and "#" in str(address):
        from overwinter.bundle.store import StoreAddress, resolve_in_store

        published = StoreAddress.parse(str(address))
        return resolve_in_store(published, keys=keys, expected=expected, meanwhile=meanwhile, hold=hold)
    if not place.exists():
        raise IntegrityError(f"There is no bundle at {address}. Name its folder, or its sealed file.")
    inside = next((path.parent for path in sorted(place.glob(f"*/{BUNDLE}"))), None)
    if inside is not None and not (place / BUNDLE).exists():
        raise ConfigError(f"{place} is not a bundle, but contains one. Did you mean {inside}?")
    return read_bundle(place, keys=keys, expected=expected, meanwhile=meanwhile, hold=hold)
