"""Semi-structured patterns by their name, such as 2:4: of every four weights in a row, two are kept."""

from __future__ import annotations

import re
from dataclasses import dataclass

from overwinter.errors import ConfigError

UNSTRUCTURED = "unstructured"


@dataclass(frozen=True, kw_only=True)
class NOfM:
    """Of every ``of`` weights that follow each other in a row, ``kept`` stay."""

    kept: int
    of: int

    @property
    def amount(self) -> float:
        """The share that is removed, 0 to 1."""
        return 1.0 - self.kept / self.of

    def __str__(self) -> str:
        return f"{self.kept}:{self.of}"


def read_pattern(name: str) -> NOfM | None:
    """Return an N:M pattern, or None for ``unstructured``.

    Raises:
        ConfigError: it is neither, or keeps none or all.
    """
    if name == UNSTRUCTURED:
        return None
    found = re.fullmatch(r"(\d+):(\d+)", name)
    if found is None or not 0 < int(found[1]) < int(found[2]):
        raise ConfigError(
            f"sparsify.pattern={name!r} is unknown. Set {UNSTRUCTURED}, or N:M such as '2:4': of every 4 weights of a "
            "row, 2 are kept."
        )
    return NOfM(kept=int(found[1]), of=int(found[2]))
