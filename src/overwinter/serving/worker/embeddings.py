"""OpenAI's embeddings with a woken encoder of text.

https://platform.openai.com/docs/api-reference/embeddings; unsupported features (tokens instead of texts, other
dimensions than the model's) are refused, not ignored.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

from overwinter.bundle.load import AwakeModel
from overwinter.inputs import Array
from overwinter.serving.bounded_json import parse_object, shown
from overwinter.serving.messages import Reply, RequestError, json_reply
from overwinter.serving.worker.raw_requests import text_of
from overwinter.serving.worker.running import Runner

_FORMATS = ("float", "base64")


def embed(
    model: AwakeModel,
    headers: Mapping[str, str],  # noqa: ARG001 -- as the other operations
    body: bytes,
    *,
    name: str,
    max_values: int,
    within_s: float = math.inf,
) -> Reply:
    """Return the reply to a request: the embedding of each text.

    Args:
        model: The woken model, an encoder (`Bundle.embeds`).
        headers: Not needed.
        body: The JSON: `input`, a text or a list of them, and `encoding_format`.
        name: The model's name for clients.
        max_values: The maximum number of values of the JSON, and of the embeddings.
        within_s: The time limit of the response.

    Raises:
        RequestError: 400, a field is not valid or not supported; 413, there are too many texts.
    """
    content = parse_object(body, max_values=max_values)
    texts = _texts(content.get("input"))
    spelling = _format(content.get("encoding_format"))
    outputs = Runner(model, max_values=max_values, within_s=within_s).of_raw(texts)
    _check_dimensions(content.get("dimensions"), outputs.values.shape[1])
    data = [
        {"object": "embedding", "index": place, "embedding": _spelled(embedding, spelling)}
        for place, embedding in enumerate(outputs.values)
    ]
    usage = {"prompt_tokens": outputs.tokens, "total_tokens": outputs.tokens}
    return json_reply({"object": "list", "data": data, "model": name, "usage": usage})


def _texts(given: Any) -> list[str]:
    listed = [given] if isinstance(given, str) else given
    if not isinstance(listed, list) or not listed or not all(isinstance(each, str) and each for each in listed):
        raise RequestError(400, f"`input` must be a text, or a list of texts, none of them empty, not {shown(given)}.")
    return [
        text_of("input" if isinstance(given, str) else f"input[{place}]", each) for place, each in enumerate(listed)
    ]


def _format(given: Any) -> str:
    spelling = "float" if given is None else given
    if not isinstance(spelling, str) or spelling not in _FORMATS:
        raise RequestError(400, f"`encoding_format` must be {' or '.join(_FORMATS)}, not {shown(given)}.")
    return spelling


def _check_dimensions(given: Any, dimensions: int) -> None:
    if given is not None and (type(given) is not int or given != dimensions):
        raise RequestError(400, f"`dimensions` is {shown(given)}; this model's embeddings have {dimensions}.")


def _spelled(embedding: Array, spelling: str) -> Any:
    return base64.b64encode(embedding.astype("<f4").tobytes()).decode() if spelling == "base64" else embedding.tolist()
