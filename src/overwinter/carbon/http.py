"""JSON over HTTPS within a deadline, and nothing that could leak: no redirects, no headers in messages."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from typing import Any, NoReturn

from overwinter import __version__
from overwinter.errors import OverwinterError

_CHUNK_BYTES = 1 << 16
_MOST_BYTES = 1 << 23
_LOCAL = ("localhost", "127.0.0.1", "::1")


class SourceError(OverwinterError):
    """An intensity source does not answer, or not with what it documents.

    Attributes:
        status: of HTTP, where there was one.
        retry_after_s: how long the server asks to be left alone.
    """

    def __init__(self, message: str, *, status: int | None = None, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token along to wherever it points."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def get_json(url: str, *, deadline_s: float, headers: Mapping[str, str] | None = None) -> Any:
    """Return the JSON that ``url`` answers with.

    Args:
        url: without secrets; it appears in messages.
        deadline_s: of the whole exchange, by the monotonic clock.
        headers: sent along; they may hold secrets and never appear anywhere.

    Raises:
        SourceError: no answer in time, another status than 200, or no JSON.
    """
    request = urllib.request.Request(  # noqa: S310 -- `secure` has looked at the scheme, when it was configured
        url, headers={"Accept": "application/json", "User-Agent": f"overwinter/{__version__}", **(headers or {})}
    )
    place = urllib.parse.urlsplit(url).hostname
    try:
        with _OPENER.open(request, timeout=_left_s(deadline_s, place)) as answer:
            text = _read(answer, deadline_s, place)
    except urllib.error.HTTPError as error:
        with error:
            _refused(error, place)
    except TimeoutError:
        raise SourceError(f"{place} does not answer in time") from None
    except (OSError, ValueError) as error:
        # `reason` alone: some messages repeat the request.
        raise SourceError(f"{place} does not answer: {getattr(error, 'reason', type(error).__name__)}") from None
    try:
        return json.loads(text)
    except ValueError:
        raise SourceError(f"{place} does not answer with JSON") from None


def secure(url: str) -> bool:
    """Whether tokens may travel to ``url``: HTTPS, or a server on this very machine."""
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL)


def _read(answer: Any, deadline_s: float, place: str | None) -> bytes:
    chunks, size_bytes = [], 0
    while chunk := answer.read1(_CHUNK_BYTES):
        chunks.append(chunk)
        size_bytes += len(chunk)
        if size_bytes > _MOST_BYTES:
            raise SourceError(f"{place} answers with more than {_MOST_BYTES >> 20} MiB")
        _left_s(deadline_s, place)
    return b"".join(chunks)


def _left_s(deadline_s: float, place: str | None) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise SourceError(f"{place} does not answer in time")
    return left_s


def _refused(error: urllib.error.HTTPError, place: str | None) -> NoReturn:
    after = error.headers.get("Retry-After", "") if error.headers else ""
    retry_after_s = float(after) if after.isdecimal() else 0.0
    raise SourceError(f"{place} answers HTTP {error.code}", status=error.code, retry_after_s=retry_after_s) from None
