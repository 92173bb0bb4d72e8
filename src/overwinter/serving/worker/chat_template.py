"""Chat templates: conversion of a chat's messages to one prompt, in the format of the model's training.

A template is Jinja from the verified bundle, run in Jinja's sandbox with the names, filters and tags that transformers
provides. https://huggingface.co/docs/transformers/chat_templating
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from overwinter.models.memory_limit import memory_limited
from overwinter.serving.bounded_json import shown
from overwinter.serving.messages import RequestError
from overwinter.serving.openai_fields import check_neutral, unknown_field

_MAX_MESSAGE_CHARS = 300
_ROLE = re.compile(r"[\w-]{1,64}")  # the template says which it knows; nothing else than a name may get into the prompt
# Exceptions of a template on unexpected contents, in addition to Jinja's own.
_TEMPLATE_FAULTS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
_MAX_PROMPT = 1 << 24  # characters; more than any context can hold
_MAX_BYTES = 1 << 28  # the pieces of the longest prompt, and the whole
_USED = {"role", "content", "name"}
_PART = {"type", "text", "prompt_cache_breakpoint"}  # the last one changes no text
# Other fields of a message, with the values that change no text: clients send back what a response contained.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "refusal": ("",),
    "annotations": ([],),
    "audio": (),
    "function_call": (),
    "tool_calls": ([],),
    "tool_call_id": (),
    "reasoning_content": ("",),
    "reasoning": ("",),
}


class ChatTemplate:
    """The template in a tokenizer's folder, if there is one.

    Args:
        folder: The folder with tokenizer_config.json, and chat_template.jinja unless it is inside.

    Attributes:
        end: The token that ends a text, as text; None if not declared.
    """

    def __init__(self, folder: Path) -> None:
        config = folder / "tokenizer_config.json"
        self._settings = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        file = folder / "chat_template.jinja"
        self._text = file.read_text(encoding="utf-8") if file.is_file() else self._settings.get("chat_template")
        self.end = self._token("eos_token")

    def render(self, messages: Any, hide: Callable[[str], str] = str) -> str:
        """Return the prompt of a chat, ready for the assistant's turn.

        Args:
            messages: The messages of a request.
            hide: Replaces what a text of a client must not become in the prompt.

        Raises:
            RequestError: 400, the messages are not valid, the template refuses them or does not render, or there is no
                template.
        """
        if not isinstance(messages, list) or not messages:
            raise RequestError(400, f"`messages` must be a list of messages, and not empty, not {shown(messages)}.")
        plain = [_plain(f"messages[{place}]", message, hide) for place, message in enumerate(messages)]
        from jinja2 import TemplateError

        try:
            with memory_limited(_MAX_BYTES):  # also during compilation, which evaluates constants
                return "".join(self._pieces(plain))
        except (TemplateError, *_TEMPLATE_FAULTS) as error:
            text = str(error)[:_MAX_MESSAGE_CHARS] or type(error).__name__
            raise RequestError(400, f"`messages` are refused by the model's chat template: {text}.") from None

    def _pieces(self, messages: list[dict[str, str]]) -> Iterator[str]:
        """Yield the pieces of the prompt.

        Raises:
            ValueError: The prompt is too long.
        """
        tokens = {"bos_token": "", "eos_token": ""} | {
            key: token for key in self._settings if key.endswith("_token") and (token := self._token(key)) is not None
        }
        length = 0
        for piece in self._template.generate(
            tokens, messages=messages, add_generation_prompt=True, tools=None, documents=None
        ):
            length += len(piece)
            if length > _MAX_PROMPT:
                raise ValueError(f"it makes more than {_MAX_PROMPT} characters of them")
            yield piece

    @cached_property
    def _template(self) -> Any:
        from jinja2 import TemplateSyntaxError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        if not isinstance(self._text, str):
            raise RequestError(400, "This model has no chat template. Use /v1/completions.")
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _generation_tag()]
        )
        environment.globals |= {"raise_exception": _refuse, "strftime_now": _now}
        environment.filters["tojson"] = _to_json
        try:
            return environment.from_string(self._text)
        except TemplateSyntaxError as error:
            reason = f"{str(error.message)[:_MAX_MESSAGE_CHARS]} (line {error.lineno})"
            raise RequestError(
                400,
                f"This model's chat template is not valid Jinja: {reason}. Use /v1/completions, or make the bundle "
                "again with a chat template that renders.",
            ) from None

    def _token(self, key: str) -> str | None:
        token = self._settings.get(key)
        if isinstance(token, Mapping):
            token = token.get("content")
        return token if isinstance(token, str) else None


def _plain(field: str, message: Any, hide: Callable[[str], str]) -> dict[str, str]:
    """Return the role, text and name of a message; the parts of a content are joined."""
    if not isinstance(message, dict):
        raise RequestError(400, f"`{field}` must be an object with `role` and `content`, not {shown(message)}.")
    _check_fields(field, message)
    role, name = message.get("role"), message.get("name")
    if not isinstance(role, str) or not _ROLE.fullmatch(role):
        raise RequestError(400, f"`{field}.role` must be a name such as `user`, not {shown(role)}.")
    if name is not None and not isinstance(name, str):
        raise RequestError(400, f"`{field}.name` must be a text, not {shown(name)}.")
    plain = {"role": role, "content": hide(_content(field, message.get("content")))}
    return plain if name is None else plain | {"name": hide(name)}


def _check_fields(field: str, message: Mapping[str, Any]) -> None:
    for name, value in message.items():
        if name in _NEUTRAL:
            check_neutral(f"{field}.{name}", value, _NEUTRAL[name])
        elif name not in _USED:
            raise unknown_field(f"{field}.{name}", {f"{field}.{known}" for known in _USED | _NEUTRAL.keys()})


def _content(field: str, content: Any) -> str:
    if isinstance(content, list):
        return "".join(_text(f"{field}.content[{at}]", part) for at, part in enumerate(content))
    if not isinstance(content, str):
        raise RequestError(400, f"`{field}.content` must be a text, or a list of texts, not {shown(content)}.")
    return content


def _text(field: str, part: Any) -> str:
    if isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str):
        for name in part.keys() - _PART:
            raise unknown_field(f"{field}.{name}", {f"{field}.{known}" for known in _PART})
        return str(part["text"])
    raise RequestError(
        400, f'`{field}` must be {{"type": "text", "text": "..."}}, not {shown(part)}: only text is supported.'
    )


def _refuse(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return JSON without Jinja's escapes for HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _generation_tag() -> Any:
    """Return Jinja's extension for `{% generation %}`, which marks an assistant's text for training only."""
    from jinja2 import nodes, parser
    from jinja2.ext import Extension

    class GenerationTag(Extension):
        tags = {"generation"}  # noqa: RUF012 -- Jinja declares it so

        def parse(self, parser: parser.Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    return GenerationTag


def _now(pattern: str) -> str:
    return dt.datetime.now().strftime(pattern)
