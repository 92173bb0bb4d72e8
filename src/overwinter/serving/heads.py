"""Strict parsing of a request's head: anything ambiguous is refused (RFC 9112, section 11.2).

h11 parses it. Its size and line ends are checked before; after it, the rules that h11 leaves to a server: contradictory
framing, versions, expectations, codings, and the syntax of the target.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from overwinter.serving.messages import Request, RequestError
from overwinter.serving.origins import parse_authority

if TYPE_CHECKING:
    import h11

_END = b"\r\n\r\n"
_LONE = re.compile(rb"(?<!\r)\n|\r[^\n]")
_FOLDED = re.compile(rb"\r\n[ \t]")
_PATH = re.compile(rb"[A-Z]{1,20} (?:(?i:https?)://[^/?# ]{1,300})?(/[!->@-~]{0,200})")
_ABSOLUTE = re.compile(r"https?://([^/?#]+)(.*)", re.IGNORECASE)
_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_FIRST = 0x21  # blanks and control characters are below it, such as the first byte of TLS
_MAX_FIELDS = 100


def head_end(content: bytes | bytearray, max_bytes: int) -> int | None:
    """Return the position of the head's end in the received bytes; None while it is incomplete.

    Raises:
        RequestError: 431, it is too long; 400, its lines do not end as they must.
    """
    if content and content[0] < _FIRST:
        raise RequestError(400, "This is not an HTTP request.")
    end = content.find(_END)
    if (len(content) if end < 0 else end) > max_bytes:
        raise RequestError(431, f"The head is larger than {max_bytes} bytes (serve.limits.header_bytes).")
    if _LONE.search(content, 0, len(content) if end < 0 else end + 2):
        raise RequestError(400, "A line of the head does not end with carriage return and line feed.")
    return None if end < 0 else end + len(_END)


def check_lines(head: bytes | bytearray) -> None:
    """Check the lines of a complete head.

    Raises:
        RequestError: 431, there are too many; 400, one continues in the next.
    """
    if head.count(b"\r\n") > _MAX_FIELDS + 2:
        raise RequestError(431, f"The head has more than {_MAX_FIELDS} fields.")
    if _FOLDED.search(head):
        raise RequestError(
            400, "A header field continues in the next line (obsolete line folding), which is not allowed."
        )


def path_so_far(content: bytes | bytearray) -> str:
    """Return the beginning of the path, without a query, of an incomplete or invalid head; empty if it has none."""
    found = _PATH.match(content)
    return found[1].decode() if found else ""


def new_request_id() -> str:
    """Return an id for a request without a usable one."""
    return os.urandom(16).hex()


def read_head(event: h11.Request) -> Request:
    """Return h11's event as a request without its body.

    Raises:
        RequestError: 400, 415, 417 or 505: the head breaks a rule of HTTP or uses an unsupported feature.
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in event.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if not event.http_version.startswith(b"1."):
        raise RequestError(505, f"HTTP/{event.http_version.decode()} is not supported; use HTTP/1.1.")
    path, authority = _path(event.target.decode("latin-1"), event.method)
    if authority is not None:
        headers["host"] = authority  # RFC 9112, section 3.2.2: the target's authority overrides the field
    if not _ID.fullmatch(headers.get("x-request-id", "")):
        headers["x-request-id"] = new_request_id()
    _check(event.http_version, headers)
    return Request(method=event.method.decode("latin-1"), path=path, headers=headers)


def _path(target: str, method: bytes) -> tuple[str, str | None]:
    """Return the path of a target without its query, and the authority that it names."""
    if found := _ABSOLUTE.fullmatch(target):
        return found[2].partition("?")[0] or "/", found[1]
    if target.startswith("/") or (target == "*" and method == b"OPTIONS"):
        return target.partition("?")[0], None
    raise RequestError(400, f"The target {target[:100]!r} is not a path.")


def _check(version: bytes, headers: dict[str, str]) -> None:
    if parse_authority(headers.get("host", "")) is None:
        raise RequestError(400, f"The Host {headers['host'][:100]!r} is not a host name with or without a port.")
    if "transfer-encoding" in headers and ("content-length" in headers or version == b"1.0"):
        raise RequestError(400, "Transfer-Encoding is not allowed with Content-Length, nor with HTTP/1.0.")
    if version != b"1.0" and headers.get("expect", "100-continue").lower() != "100-continue":
        raise RequestError(417, f"Expect: {headers['expect'][:100]!r} is not supported; only 100-continue is.")
    coding = headers.get("content-encoding", "")
    if coding.lower() not in ("", "identity"):
        message = f"Content-Encoding: {coding[:100]!r} is not supported: send the body without it."
        raise RequestError(415, message, headers={"Accept-Encoding": "identity"})
