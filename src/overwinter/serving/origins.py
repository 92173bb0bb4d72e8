"""Checks of the web page that sends a request, by the browser's `Host`, `Origin` and `Sec-Fetch-Site`.

A browser sends a page's requests with its user's access: it reaches this machine's own address, and adds the user's
client certificate. So pages of other sites are refused: https://fetch.spec.whatwg.org (`Origin`, CORS),
https://www.w3.org/TR/fetch-metadata (`Sec-Fetch-Site`). Programs send neither header.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from overwinter.serving.messages import Reply, Request, RequestError

_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)(?:%[\w.~%-]+)?\]|([\w.~!$&'()*+,;=%-]*))(?::([0-9]{0,5}))?", re.ASCII)
_ORIGIN = re.compile(r"(https?)://([^/?#]+)", re.ASCII | re.IGNORECASE)
_FIELD_NAME = re.compile(r"[\w!#$%&'*+.^`|~-]{1,100}", re.ASCII)
_PORTS = {"http": 80, "https": 443}
_SAFE = ("GET", "HEAD")
_OWN_PAGE = ("none", "same-origin")  # values of Sec-Fetch-Site: typed by the user, or the server's own page
_SENT = ("authorization", "content-type", "inference-header-content-length", "overwinter-deadline", "prefer")
_READ = "Inference-Header-Content-Length, Location, Overwinter-Answer, Preference-Applied, Retry-After, X-Request-Id"
_REMEMBERED_S = 3600


class Authority(NamedTuple):
    """A host, with an optional port.

    Attributes:
        name: The host in lower case; an IPv6 address without brackets and zone.
        port: The port; None: the scheme's default.
    """

    name: str
    port: int | None


def parse_authority(text: str) -> Authority | None:
    """Return the parts of `host:port`; None if it is not valid, such as with a user name."""
    found = _AUTHORITY.fullmatch(text)
    if found is None or int(found[3] or 0) > 65535:
        return None
    try:
        name = str(ipaddress.ip_address(found[1])) if found[1] else found[2].lower().removesuffix(".")
    except ValueError:
        return None
    return Authority(name, int(found[3]) if found[3] else None)


class Origins:
    """The web pages that may send requests.

    Args:
        names: The hosts of allowed pages, on any port.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def check(self, request: Request) -> None:
        """Refuse a request that a page of another site may have sent.

        Raises:
            RequestError: 403.
        """
        if "origin" in request.headers:
            self._check_origin(request, request.headers["origin"])
            return
        site = request.headers.get("sec-fetch-site", "none").lower()
        if site not in _OWN_PAGE and not _is_link(request):
            raise _refusal(f"Sec-Fetch-Site: {site[:40]!r}")
        if "referer" in request.headers and request.method not in _SAFE:  # what browsers sent before they sent Origin
            self._check_origin(request, "/".join(request.headers["referer"].split("/")[:3]))

    def headers(self, request: Request) -> dict[str, str]:
        """Return the CORS headers that let an allowed page read a reply."""
        origin = request.headers.get("origin")
        if origin is None or not self._is_allowed(request, origin):
            return {}
        return {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": _READ, "Vary": "Origin"}

    def _check_origin(self, request: Request, origin: str) -> None:
        if not self._is_allowed(request, origin):
            raise _refusal(f"Origin: {origin[:100]!r}")

    def _is_allowed(self, request: Request, origin: str) -> bool:
        found = _ORIGIN.fullmatch(origin)
        page = None if found is None else parse_authority(found[2])
        if found is None or page is None or not page.name:
            return False
        return page.name in self._names or self._is_own(request, page, _PORTS[found[1].lower()])

    @staticmethod
    def _is_own(request: Request, page: Authority, port: int) -> bool:
        """Return whether the page has the same origin as its request, such as behind one proxy."""
        here = parse_authority(request.headers.get("host", ""))
        return here is not None and (page.name, page.port or port) == (here.name, here.port or port)


def preflight(request: Request, methods: Iterable[str]) -> Reply:
    """Return the reply to OPTIONS: `Allow`, and for browsers the CORS headers."""
    allowed = ", ".join(methods)
    if "access-control-request-method" not in request.headers:
        return Reply(status=204, headers={"Allow": allowed})
    asked = [name.strip().lower() for name in request.headers.get("access-control-request-headers", "").split(",")]
    sent = dict.fromkeys([*_SENT, *(name for name in asked if _FIELD_NAME.fullmatch(name))])
    headers = {
        "Allow": allowed,
        "Access-Control-Allow-Methods": allowed,
        "Access-Control-Allow-Headers": ", ".join(sent),
        "Access-Control-Max-Age": str(_REMEMBERED_S),
    }
    if "access-control-request-private-network" in request.headers:
        headers["Access-Control-Allow-Private-Network"] = "true"
    return Reply(status=204, headers=headers)


def _is_link(request: Request) -> bool:
    """Return whether the request follows a link: the linking page cannot read the reply, and nothing changes."""
    mode, goal = request.headers.get("sec-fetch-mode", ""), request.headers.get("sec-fetch-dest", "")
    return request.method in _SAFE and (mode, goal) == ("navigate", "document")


def _refusal(what: str) -> RequestError:
    return RequestError(403, f"Pages of another site are not allowed ({what}). Add the host to serve.access.hosts.")
