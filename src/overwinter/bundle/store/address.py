"""Address of a published bundle: STORE#NAME@WHICH."""

from __future__ import annotations

import re
from dataclasses import dataclass

from overwinter.errors import ConfigError

DEFAULT_ALIAS = "champion"
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class StoreAddress:
    """An address in a store.

    Attributes:
        store: a folder, or an fsspec address such as `s3://bucket/prefix`.
        name: name of the model in the store.
        which: an alias, the number of a version, or `sha256:DIGITS`.
    """

    store: str
    name: str
    which: str = DEFAULT_ALIAS

    @classmethod
    def parse(cls, text: str) -> StoreAddress:
        """Parse STORE#NAME or STORE#NAME@WHICH.

        Raises:
            ConfigError: it has another format.
        """
        store, _, rest = text.rpartition("#")
        name, at, which = rest.partition("@")
        if not store or (at and not which):
            raise ConfigError(
                f"{text!r} is not an address in a store. Write STORE#NAME@ALIAS, such as s3://models#digits."
            )
        return cls(store=store, name=checked_name(name), which=which or DEFAULT_ALIAS)


def checked_name(name: str) -> str:
    """Return ``name`` if it is a valid name of a model or an alias.

    Raises:
        ConfigError: it has wrong characters.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"The name {name!r} must be 1 to 64 of a-z, 0-9, dot, dash and underscore.")
    return name


def checked_alias(alias: str) -> str:
    """Return ``alias`` if it is valid and does not look like a version number.

    Raises:
        ConfigError: it is not valid, or is a number.
    """
    if alias.isdigit():
        raise ConfigError(f"The alias {alias!r} looks like a version number. Use a word.")
    return checked_name(alias)
