"""Which handler answers a request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from urllib.parse import unquote

from overwinter.serving.server.messages import Request, RequestError, Route

_PART = re.compile(r"\\\{(\w+)\\\}")


class Router:
    """Finds the route of a request."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = [(_compiled(route.pattern), route) for route in routes]

    def find(self, request: Request) -> tuple[Route, Request]:
        """Return the route, and the request with what its pattern names.

        Raises:
            RequestError: 404, or 405 where the path is right.
        """
        allowed = []
        for pattern, route in self._routes:
            found = pattern.fullmatch(request.path)
            if found and route.method == request.method:
                matched = {name: unquote(part) for name, part in found.groupdict().items()}
                return route, replace(request, matched=matched)
            if found:
                allowed.append(route.method)
        if allowed:
            raise RequestError(405, f"{request.path} takes {', '.join(allowed)}, not {request.method}.")
        raise RequestError(404, f"There is no {request.path[:200]!r} here.")


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(_PART.sub(r"(?P<\1>[^/]+)", re.escape(pattern)))
