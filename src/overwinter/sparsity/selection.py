"""Which layers a sparsifier may touch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from overwinter.errors import ConfigError, nearest

SKIPPED = "named in sparsify.skip"


def skipped(names: Iterable[str], patterns: Sequence[str], *, key: str = "sparsify.skip") -> set[str]:
    """Return the layer names that a pattern (fnmatch) matches.

    Raises:
        ConfigError: a pattern matches none, so it is probably misspelled.
    """
    known = list(names)
    matches = {pattern: {name for name in known if fnmatchcase(name, pattern)} for pattern in patterns}
    for pattern, matched in matches.items():
        if not matched:
            raise ConfigError(
                f"{key}={pattern!r} matches no layer.{nearest(pattern, known)} The layers are: {', '.join(known)}."
            )
    return set().union(*matches.values())
