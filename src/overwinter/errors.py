"""Errors with messages for the user, and their exit codes.

Every message states what happened, with which value, and what to do next, in one to three lines. Programs print
it to standard error without a traceback; `--debug` (or ``OVERWINTER_DEBUG=1``) adds the traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_REFUSED = 3
EXIT_INTEGRITY = 4


class OverwinterError(Exception):
    """Root of all errors that Overwinter raises on purpose."""

    exit_code = EXIT_FAILED


class ConfigError(OverwinterError):
    """Wrong usage or configuration: an unknown key, or a wrong type, unit, range or file."""

    exit_code = EXIT_USAGE


class TargetError(ConfigError):
    """A `_target_` that is not allowed, or not with these arguments.

    Attributes:
        trustable: whether trusting its package could help.
    """

    trustable = True


class RefusedError(OverwinterError):
    """A refusal by a budget or a gate."""

    exit_code = EXIT_REFUSED


class IntegrityError(OverwinterError):
    """Stored data that is truncated, altered, or from an untrusted place."""

    exit_code = EXIT_INTEGRITY


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the closest of ``known``, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean '{close[0]}'?" if close else ""
