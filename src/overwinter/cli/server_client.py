"""The client of a running server, for `overwinter status`, `sleep`, `wake` and `report`."""

from __future__ import annotations

import argparse
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from overwinter.errors import OverwinterError

T = TypeVar("T")
_TIMEOUT_S = 120


def add_server_arguments(parser: argparse._ActionsContainer) -> None:
    """Declare the server's address and credentials."""
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="address of the server (http://127.0.0.1:8080)")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="file of the token, as serve.access.token_file")
    parser.add_argument(
        "--ca", metavar="FILE", help="CA certificates (PEM) to trust in addition to the system's, for https"
    )
    parser.add_argument("--cert", metavar="FILE", help="client certificate and key (PEM), if the server requires them")


def ask_server(arguments: argparse.Namespace, path: str, content: Any = None) -> Any:
    """Return the server's JSON response to a GET, or to a POST of ``content``.

    Raises:
        OverwinterError: No server responds, or it refuses.
    """
    return _asked(arguments, path, content, json.loads)


def ask_metrics(arguments: argparse.Namespace) -> str:
    """Return the server's metrics in Prometheus's text format; errors as of `ask_server`."""
    return _asked(arguments, "/metrics", None, bytes.decode)


def _asked(arguments: argparse.Namespace, path: str, content: Any, read: Callable[[bytes], T]) -> T:
    if not arguments.url.startswith(("http://", "https://")):
        raise OverwinterError(f"--url {arguments.url!r} must begin with http:// or https://.")
    headers = {"Content-Type": "application/json"}
    if arguments.token_file:
        headers["Authorization"] = f"Bearer {arguments.token_file.read_text(encoding='utf-8').strip()}"
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(arguments.url.rstrip("/") + path, data=body, headers=headers)  # noqa: S310 -- checked above
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=_tls(arguments)) as reply:  # noqa: S310 -- checked above
            return read(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            raise OverwinterError(f"The server refused: {_message(error)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise OverwinterError(
            f"No server responds at {arguments.url}: {reason}. Start it, or give its --url."
        ) from None


def _tls(arguments: argparse.Namespace) -> ssl.SSLContext | None:
    if not arguments.url.startswith("https://"):
        return None
    context = ssl.create_default_context()
    if arguments.ca:
        context.load_verify_locations(arguments.ca)
    if arguments.cert:
        context.load_cert_chain(arguments.cert)
    return context


def set_level(arguments: argparse.Namespace, level: str) -> int:
    """Move the named models, or all, to a sleep level; print their states."""
    names = arguments.models or list(ask_server(arguments, "/overwinter/status")["models"])
    for name in names:
        done = ask_server(arguments, f"/overwinter/models/{quote(name, safe='')}/level", {"level": level})
        print(f"{name}: {done['state']}")
    return 0


def _message(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"{error.code} {error.reason}"
