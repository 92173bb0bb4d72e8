"""JSON over HTTPS within a deadline, without leaks: no redirects are followed, and no message contains headers."""

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
MAX_BACKOFF_S = 86400.0  # upper bound of a server's Retry-After: one day
# RFC 9110, 5.6.7: the current format, and the two obsolete ones that recipients must accept.
_HTTP_DATES = ("%d %b %Y %H:%M:%S GMT", "%d-%b-%y %H:%M:%S GMT", "%b %d %H:%M:%S %Y")
_GZIP_OR_ZLIB = 47  # zlib's window bits: accepts either header
_MIN_SECRET = 4  # characters; shorter words occur by chance


class SourceError(OverwinterError):
    """An intensity source did not respond, or with something undocumented.

    Attributes:
        status: HTTP status, if there was a response.
        retry_after_s: seconds to wait before a retry, as the server requested.
    """

    def __init__(self, message: str, *, status: int | None = None, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Refuses redirects, which would send the token to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)


def get_json(url: str, *, deadline_s: float, headers: Mapping[str, str] | None = None, whose: str = "") -> Any:
    """Return the JSON response of ``url``.

    Args:
        url: URL without secrets; it appears in messages.
        deadline_s: deadline of the whole exchange, on the monotonic clock.
        headers: request headers; they may contain secrets and never appear in messages.
        whose: service and zone, for messages.

    Raises:
        SourceError: no response in time, a status other than 200, or no JSON; a refusal includes the server's reason.
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
        raise SourceError(f"{who} did not respond in time") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        # Only `reason`: some messages repeat the request.
        raise SourceError(f"{who} did not respond: {getattr(error, 'reason', type(error).__name__)}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        kind = response.headers.get_content_type()
        detail = f" but {kind}" if kind not in ("application/json", "text/plain") else ""
        raise SourceError(f"{who} returned no JSON{detail}") from None


def _read(response: Any, deadline_s: float, who: str) -> bytes:
    chunks, size_bytes = [], 0
    while chunk := response.read1(_CHUNK_BYTES):
        chunks.append(chunk)
        size_bytes += len(chunk)
        _check_size(size_bytes, who)
        _left_s(deadline_s, who)
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and size_bytes < int(announced):
        raise SourceError(f"{who} sent an incomplete response: the connection was cut")
    return _unpacked(b"".join(chunks), response, who)


def _unpacked(content: bytes, response: Any, who: str) -> bytes:
    """Decompress a body that a proxy compressed unasked, up to the maximum size."""
    if response.headers.get("Content-Encoding", "identity").lower() not in ("gzip", "x-gzip", "deflate"):
        return content
    unpacking = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        text = unpacking.decompress(content, _MAX_BYTES + 1)
    except zlib.error:
        raise SourceError(f"{who} returned a body with invalid compression") from None
    _check_size(len(text), who)
    if not unpacking.eof:
        raise SourceError(f"{who} sent an incomplete response: the connection was cut")
    return text


def _check_size(size_bytes: int, who: str) -> None:
    if size_bytes > _MAX_BYTES:
        raise SourceError(f"{who} returned more than {_MAX_BYTES >> 20} MiB")


def _left_s(deadline_s: float, who: str) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise SourceError(f"{who} did not respond in time")
    return left_s


def _refused(error: urllib.error.HTTPError, who: str, *, secrets: frozenset[str]) -> NoReturn:
    reason = _redirection(error) or _reason(error, secrets)
    raise SourceError(
        f"{who} returned HTTP {error.code}" + (f": {reason}" if reason else ""),
        status=error.code,
        retry_after_s=backoff_s(error.headers.get("Retry-After", ""), datetime.now(UTC)) if error.headers else 0.0,
    ) from None


def backoff_s(retry_after: str, now_utc: datetime) -> float:
    """Return the seconds to wait that the header `Retry-After` requests, as a number or a date.

    A time in the past or an invalid value gives 0; the maximum is one day.
    """
    text = retry_after.strip()
    if text.isascii() and text.isdecimal():
        return min(float(text), MAX_BACKOFF_S)
    until_utc = _http_date(text)
    return min(max(0.0, (until_utc - now_utc).total_seconds()), MAX_BACKOFF_S) if until_utc else 0.0


def _http_date(text: str) -> datetime | None:
    words = text.split()[1:]  # without the day of the week, which is redundant
    for pattern in _HTTP_DATES:
        try:
            return datetime.strptime(" ".join(words), pattern).replace(tzinfo=UTC)
        except ValueError:
            continue
    return None


def _redirection(error: urllib.error.HTTPError) -> str:
    """Return a message that names the host of a refused redirect; empty if there is none."""
    target = error.headers.get("Location", "") if error.headers else ""
    try:
        host = urllib.parse.urlsplit(target).hostname
    except ValueError:
        host = None
    return f"it redirects to {host or 'another page'}, which is not followed" if target else ""


def _reason(error: urllib.error.HTTPError, secrets: frozenset[str]) -> str:
    """Return the reason in the body of an error response, on one line and with secrets masked."""
    try:
        text = error.read(_REASON_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError, http.client.HTTPException):
        return ""
    try:
        detail = _reason_in(json.loads(text))
    except (ValueError, RecursionError):
        detail = "" if "<" in text or text.lstrip().startswith(("{", "[")) else text  # HTML, or invalid JSON
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
    """Return the secrets in the headers: their values, their words, and their Base64-decoded content."""
    words = {word for value in headers.values() for word in (value, *value.split())}
    for word in list(words):
        try:
            packed = base64.b64decode(word, validate=True).decode()
        except ValueError:
            continue
        words |= {packed, *packed.split(":", 1)}
    return frozenset(word for word in words if len(word) >= _MIN_SECRET)
