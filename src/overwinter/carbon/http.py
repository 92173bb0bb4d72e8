"""JSON over HTTPS within a deadline, and nothing that could leak: no redirects, no headers in messages."""

from __future__ import annotations

import base64
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from overwinter import __version__
from overwinter.errors import OverwinterError

_CHUNK_BYTES = 1 << 16
_MAX_BYTES = 1 << 23
_REASON_BYTES, _REASON_CHARACTERS = 1 << 14, 200
_REASON_KEYS = ("message", "error", "detail", "title", "description", "reason", "errors")
MAX_BACKOFF_S = 86400.0  # whatever a server says: after a day it is asked again
# RFC 9110, 5.6.7: the form in use, and the two that a reader must know.
_HTTP_DATES = ("%d %b %Y %H:%M:%S GMT", "%d-%b-%y %H:%M:%S GMT", "%b %d %H:%M:%S %Y")
_GZIP_OR_ZLIB = 47  # zlib's window bits: either header is recognized
_MIN_SECRET = 4  # shorter words are everywhere


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


def get_json(url: str, *, deadline_s: float, headers: Mapping[str, str] | None = None, whose: str = "") -> Any:
    """Return the JSON that ``url`` answers with.

    Args:
        url: without secrets; it appears in messages.
        deadline_s: of the whole exchange, by the monotonic clock.
        headers: sent along; they may hold secrets and never appear anywhere.
        whose: service and zone, for messages.

    Raises:
        SourceError: no answer in time, another status than 200, or no JSON; a refusal with the server's own reason.
    """
    request = urllib.request.Request(  # noqa: S310 -- `carbon.settings` has checked the scheme
        url, headers={"Accept": "application/json", "User-Agent": f"overwinter/{__version__}", **(headers or {})}
    )
    place = urllib.parse.urlsplit(url).hostname
    who = f"{whose}: {place}" if whose else f"{place}"
    try:
        with _OPENER.open(request, timeout=_left_s(deadline_s, who)) as response:
            text = _read(response, deadline_s, who)
    except urllib.error.HTTPError as error:
        with error:
            _refused(error, who, secrets=_secrets(headers or {}))
    except TimeoutError:
        raise SourceError(f"{who} does not answer in time") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        # `reason` alone: some messages repeat the request.
        raise SourceError(f"{who} does not answer: {getattr(error, 'reason', type(error).__name__)}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        kind = response.headers.get_content_type()
        detail = f" but with {kind}" if kind not in ("application/json", "text/plain") else ""
        raise SourceError(f"{who} does not answer with JSON{detail}") from None


def _read(response: Any, deadline_s: float, who: str) -> bytes:
    chunks, size_bytes = [], 0
    while chunk := response.read1(_CHUNK_BYTES):
        chunks.append(chunk)
        size_bytes += len(chunk)
        _check_size(size_bytes, who)
        _left_s(deadline_s, who)
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and size_bytes < int(announced):
        raise SourceError(f"{who} answers with less than it announces: the connection was cut")
    return _unpacked(b"".join(chunks), response, who)


def _unpacked(content: bytes, response: Any, who: str) -> bytes:
    """Unpack what a proxy has compressed, although no one asked for it; never to more than is read at most."""
    if response.headers.get("Content-Encoding", "identity").lower() not in ("gzip", "x-gzip", "deflate"):
        return content
    unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        text = unpacking.decompress(content, _MAX_BYTES + 1)
    except zlib.error:
        raise SourceError(f"{who} answers with broken compression") from None
    _check_size(len(text), who)
    if not unpacking.eof:
        raise SourceError(f"{who} answers with less than it announces: the connection was cut")
    return text


def _check_size(size_bytes: int, who: str) -> None:
    if size_bytes > _MAX_BYTES:
        raise SourceError(f"{who} answers with more than {_MAX_BYTES >> 20} MiB")


def _left_s(deadline_s: float, who: str) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise SourceError(f"{who} does not answer in time")
    return left_s


def _refused(error: urllib.error.HTTPError, who: str, *, secrets: frozenset[str]) -> NoReturn:
    reason = _redirection(error) or _reason(error, secrets)
    raise SourceError(
        f"{who} answers HTTP {error.code}" + (f": {reason}" if reason else ""),
        status=error.code,
        retry_after_s=backoff_s(error.headers.get("Retry-After", ""), datetime.now(UTC)) if error.headers else 0.0,
    ) from None


def backoff_s(retry_after: str, now_utc: datetime) -> float:
    """Return for how many seconds the header `Retry-After`, in seconds or as a date, asks to be left alone.

    What is past, or cannot be read, asks for none; nothing asks for more than a day.
    """
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), MAX_BACKOFF_S)
    until_utc = _http_date(text)
    return min(max(0.0, (until_utc - now_utc).total_seconds()), MAX_BACKOFF_S) if until_utc else 0.0


def _http_date(text: str) -> datetime | None:
    words = text.split()[1:]  # the day of the week reports nothing new
    for pattern in _HTTP_DATES:
        try:
            return datetime.strptime(" ".join(words), pattern).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _redirection(error: urllib.error.HTTPError) -> str:
    """Say where a redirect points, which is not followed: to a login page, or away with the token."""
    target = error.headers.get("Location", "") if error.headers else ""
    try:
        host = urllib.parse.urlsplit(target).hostname
    except ValueError:
        host = None
    return f"it redirects to {host or 'another page'}, which is not followed" if target else ""


def _reason(error: urllib.error.HTTPError, secrets: frozenset[str]) -> str:
    """Return what the body of a refusal says, on one line, without what was sent in confidence."""
    try:
        text = error.read(_REASON_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    try:
        detail = _reason_in(json.loads(text))
    except (ValueError, RecursionError):
        detail = "" if "<" in text or text.lstrip().startswith(("{", "[")) else text  # a page, or broken JSON
    for secret in secrets:
        detail = detail.replace(secret, "***")
    line = " ".join("".join(each if each.isprintable() else " " for each in detail).split())
    return line if len(line) <= _REASON_CHARACTERS else line[: _REASON_CHARACTERS - 1] + "…"


def _reason_in(response: Any) -> str:
    if isinstance(response, list):
        return _reason_in(response[0]) if response else ""
    if isinstance(response, dict):
        return next((detail for key in _REASON_KEYS if (detail := _reason_in(response.get(key)))), "")
    return response if isinstance(response, str) else ""


def _secrets(headers: Mapping[str, str]) -> frozenset[str]:
    """Return what must not be repeated: the values of headers, their words, and what is packed in them."""
    words = {word for value in headers.values() for word in (value, *value.split())}
    for word in list(words):
        try:
            packed = base64.b64decode(word, validate=True).decode()
        except ValueError:
            continue
        words |= {packed, *packed.split(":", 1)}
    return frozenset(word for word in words if len(word) >= _MIN_SECRET)
