"""Errors in OpenAI's format: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

import json
import re

from overwinter.serving.messages import Reply, json_reply

_ROOT = "/v1"
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {401: "invalid_api_key"}
_FIELD = re.compile(r"`([\w.\[\]]+)`")  # messages begin with the wrong field, between backticks


def is_openais(path: str) -> bool:
    """Return whether a path belongs to OpenAI's API."""
    return path == _ROOT or path.startswith(f"{_ROOT}/")


def respelled(reply: Reply) -> Reply:
    """Return a reply with an error `{"error": "text"}` converted to OpenAI's format; any other reply unchanged.

    A `code` beside the error is kept.
    """
    if reply.status < 400 or not isinstance(reply.body, bytes):
        return reply
    content = json.loads(reply.body)
    message = content["error"]
    if not isinstance(message, str):
        return reply
    field = _FIELD.match(message)
    kind = _KINDS.get(reply.status, "invalid_request_error" if reply.status < 500 else "server_error")
    spelt = {
        "message": message,
        "type": kind,
        "param": field and field[1],
        "code": content.get("code", _CODES.get(reply.status)),
    }
    headers = {name: value for name, value in reply.headers.items() if name != "Content-Type"}
    return json_reply({"error": spelt}, status=reply.status, headers=headers)
