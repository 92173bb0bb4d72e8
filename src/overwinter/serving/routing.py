"""Routing of requests to handlers."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from urllib.parse import unquote

from overwinter.serving.messages import Request, RequestError, Route

_PART = re.compile(r"\\\{(\w+)\\\}")


class Router:
    """A table of routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = list(routes)
        self._by_depth: defaultdict[int, list[tuple[re.Pattern[str], Route]]] = defaultdict(list)
        for route in self._routes:
            self._by_depth[route.pattern.count("/")].append((_compiled(route.pattern), route))

    def find(self, request: Request) -> tuple[Route, Request]:
        """Return the route, and the request with the parts that the pattern names. HEAD uses the route of GET.

        Raises:
            RequestError: 404, or 405 if only the method is wrong.
        """
        method = "GET" if request.method == "HEAD" else request.method
        for route, found in self._at(request.path):
            if route.method == method:
                matched = {name: unquote(part) for name, part in found.groupdict().items()}
                return route, replace(request, matched=matched)
        allowed = ", ".join(self.methods(request.path))
        raise RequestError(
            405, f"{request.path[:200]} takes {allowed}, not {request.method[:40]}.", headers={"Allow": allowed}
        )

    def methods(self, path: str) -> list[str]:
        """Return the methods of a path; `*` means all paths.

        Raises:
            RequestError: 404, the path is unknown.
        """
        here = [route for route, _ in self._at(path)] if path != "*" else self._routes
        if not here:
            raise RequestError(404, f"{path[:200]!r} is unknown.")
        methods = dict.fromkeys(route.method for route in here)
        return [*methods, *(["HEAD"] if "GET" in methods else []), "OPTIONS"]

    def _at(self, path: str) -> Iterator[tuple[Route, re.Match[str]]]:
        for pattern, route in self._by_depth.get(path.count("/"), ()):
            if found := pattern.fullmatch(path):
                yield route, found


def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(_PART.sub(r"(?P<\1>[^/]+)", re.escape(pattern)))
