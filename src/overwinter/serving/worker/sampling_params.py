"""Conversion of an OpenAI request's fields to sampling parameters.

Fields that are not offered have been refused before (`overwinter.serving.openai_fields`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from overwinter.serving.bounded_json import shown
from overwinter.serving.messages import RequestError
from overwinter.serving.worker.generation import SamplingParams

_COMPLETION_TOKENS = 16  # OpenAI's default for /v1/completions
_STOPS = 4
_TOP_LOGPROBS = {True: 20, False: 5}  # OpenAI's limits for a chat, and for a completion
_ALL = -1  # vLLM's name for a top_k of all tokens; llama.cpp's and transformers' is 0


class Streaming(NamedTuple):
    """Whether a response is streamed, and whether with its usage at the end."""

    wanted: bool
    with_usage: bool


def parse_streaming(content: Mapping[str, Any]) -> Streaming:
    """Return the streaming options of a request.

    Raises:
        RequestError: 400, `stream` or `stream_options` is not valid.
    """
    options = content.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise RequestError(400, f"`stream_options` must be an object, not {shown(options)}.")
    return Streaming(_flag(content, "stream"), _flag(options or {}, "include_usage"))


def parse_sampling_params(
    content: Mapping[str, Any], prompt: Sequence[int], defaults: Mapping[str, Any], *, room: int, chat: bool
) -> SamplingParams:
    """Return the sampling parameters of a request.

    Args:
        content: The request's fields.
        prompt: The prompt's tokens.
        defaults: The model's generation_config.json: its temperature, top_k, top_p and min_p, if it enables sampling.
        room: The maximum number of tokens that can be generated.
        chat: Whether it is a chat, whose default length is `room`.

    Raises:
        RequestError: 400, a value is out of range.
    """
    given = {key: value for key, value in defaults.items() if value is not None}
    drawn = given if given.get("do_sample") is True else {}
    return SamplingParams(
        prompt=prompt,
        max_tokens=min(_max_tokens(content, chat=chat, otherwise=room if chat else _COMPLETION_TOKENS), room),
        temperature=_number(content, "temperature", drawn.get("temperature", 1.0), 0, 2),
        top_k=_top_k(content, drawn.get("top_k", 0)),
        top_p=_number(content, "top_p", drawn.get("top_p", 1.0), 0, 1),
        min_p=_number(content, "min_p", drawn.get("min_p", 0.0), 0, 1),
        seed=_seed(content.get("seed")),
        stop=_stops(content.get("stop")),
        top_logprobs=_chat_logprobs(content) if chat else _completion_logprobs(content.get("logprobs")),
    )


def _max_tokens(content: Mapping[str, Any], *, chat: bool, otherwise: int) -> int:
    for key in ("max_completion_tokens", "max_tokens") if chat else ("max_tokens",):
        asked = content.get(key)
        if asked is None:
            continue
        if type(asked) is not int or asked < 1:
            raise RequestError(400, f"`{key}` must be a whole number from 1, not {shown(asked)}.")
        return asked
    return otherwise


def _flag(content: Mapping[str, Any], key: str) -> bool:
    value = content.get(key)
    if value is not None and not isinstance(value, bool):
        raise RequestError(400, f"`{key}` must be true or false, not {shown(value)}.")
    return value is True


def _number(content: Mapping[str, Any], key: str, default: float, least: float, most: float) -> float:
    value = content.get(key)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise RequestError(400, f"`{key}` must be a number from {least} to {most}, not {shown(value)}.")
    return float(value)


def _top_k(content: Mapping[str, Any], default: Any) -> int:
    value = content.get("top_k")
    value = default if value is None else value
    if type(value) is not int or value < _ALL:
        raise RequestError(400, f"`top_k` must be a whole number from 1, or 0 or {_ALL} for all, not {shown(value)}.")
    return max(value, 0)


def _chat_logprobs(content: Mapping[str, Any]) -> int | None:
    wanted, top = _flag(content, "logprobs"), content.get("top_logprobs")
    count = 0 if top is None else _count("top_logprobs", top, _TOP_LOGPROBS[True])
    if count and not wanted:
        raise RequestError(400, f"`top_logprobs` is {count}, but `logprobs` is not true: set it.")
    return count if wanted else None


def _completion_logprobs(value: Any) -> int | None:
    return None if value is None or value is False else _count("logprobs", value, _TOP_LOGPROBS[False])


def _count(field: str, value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise RequestError(400, f"`{field}` must be a whole number from 0 to {most}, not {shown(value)}.")
    return int(value)


def _seed(value: Any) -> int | None:
    if value is None or type(value) is int:
        return None if value is None else value % 2**64  # OpenAI's seeds may be negative, numpy's not
    raise RequestError(400, f"`seed` must be a whole number, not {shown(value)}.")


def _stops(value: Any) -> tuple[str, ...]:
    stops = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or len(stops) > _STOPS or not all(isinstance(stop, str) and stop for stop in stops):
        raise RequestError(400, f"`stop` must be a text, or a list of at most {_STOPS}, none of them empty.")
    return tuple(stops)
