"""Chat templates: how the messages of a chat become one prompt, as the model was trained.

A template is Jinja from the verified bundle, run in Jinja's sandbox with what the transformers library gives it.
https://huggingface.co/docs/transformers/chat_templating
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from overwinter.serving.server.messages import RequestError


class ChatTemplate:
    """The template in a tokenizer's folder, if there is one.

    Args:
        folder: with tokenizer_config.json, and chat_template.jinja unless that is inside.

    Attributes:
        end: the token that ends a text, as a text; None if not declared.
    """

    def __init__(self, folder: Path) -> None:
        config = folder / "tokenizer_config.json"
        self._settings = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
        self._file = folder / "chat_template.jinja"
        self.end = self._token("eos_token")

    def render(self, messages: Any) -> str:
        """Return the prompt of a chat, ready for the assistant's turn.

        Raises:
            RequestError: 400, these are no messages, the template refuses them, or there is none.
        """
        if not isinstance(messages, list) or not messages:
            raise RequestError(400, "`messages` must be a list of messages, and not empty.")
        plain = [_plain(message) for message in messages]
        from jinja2 import TemplateError

        try:
            return str(
                self._template.render(
                    messages=plain,
                    add_generation_prompt=True,
                    bos_token=self._token("bos_token") or "",
                    eos_token=self.end or "",
                )
            )
        except TemplateError as error:
            raise RequestError(400, f"The model's chat template refuses these messages: {error}.") from None

    @cached_property
    def _template(self) -> Any:
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        text = self._file.read_text(encoding="utf-8") if self._file.is_file() else self._settings.get("chat_template")
        if not isinstance(text, str):
            raise RequestError(400, "This model has no chat template. Ask /v1/completions.")
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals |= {"raise_exception": _refuse, "strftime_now": _now}
        return environment.from_string(text)

    def _token(self, key: str) -> str | None:
        token = self._settings.get(key)
        if isinstance(token, Mapping):
            token = token.get("content")
        return token if isinstance(token, str) else None


def _plain(message: Any) -> dict[str, str]:
    """Return role and text of a message; a content in parts is joined."""
    if isinstance(message, dict) and isinstance(message.get("role"), str):
        content = message.get("content")
        if isinstance(content, str):
            return {"role": message["role"], "content": content}
        if isinstance(content, list) and all(_is_text(part) for part in content):
            return {"role": message["role"], "content": "".join(part["text"] for part in content)}
    raise RequestError(400, "Each message needs a `role` and a `content` of text.")


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _refuse(message: str) -> NoReturn:
    from jinja2 import TemplateError

    raise TemplateError(message)


def _now(form: str) -> str:
    return dt.datetime.now().strftime(form)
