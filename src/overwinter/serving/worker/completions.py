"""OpenAI's completions and chat completions with a woken language model, whole or streamed.

https://platform.openai.com/docs/api-reference; what is not offered (several choices, tools) is refused, not ignored
(`overwinter.serving.openai_fields`).
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from overwinter.bundle.load import AwakeModel
from overwinter.errors import IntegrityError
from overwinter.runtime import LanguageSession
from overwinter.serving.bounded_json import parse_object, shown
from overwinter.serving.messages import RequestError, json_reply
from overwinter.serving.worker.chat_template import ChatTemplate
from overwinter.serving.worker.frames import Frame
from overwinter.serving.worker.generation import Kept, Passage, SamplingParams, TokenScore, Written, write
from overwinter.serving.worker.logprobs import TokenBytes, chat_logprobs, completion_logprobs
from overwinter.serving.worker.prefix_cache import load_prefix, save_prefix
from overwinter.serving.worker.prompt_encoder import PromptEncoder
from overwinter.serving.worker.records import FirstPiece, Piece, Question
from overwinter.serving.worker.sampling_params import parse_sampling_params, parse_streaming

CHAT = "chat"  # the operation; the other one is `complete`
_EVENTS = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}


class Language:
    """A woken language model with its tokenizer.

    Args:
        model: The woken model, from a bundle with a tokenizer.
        max_tokens: The maximum number of tokens of a response.
        max_values: The maximum number of values in the JSON of a request.
        keeps_prefix: Whether the last prompt is cached for a prompt with the same beginning.
        prefix: The file of that cache over sleep; None: in memory only.

    Raises:
        IntegrityError: Its tokenizer cannot be read.
    """

    def __init__(
        self, model: AwakeModel, *, max_tokens: int, max_values: int, keeps_prefix: bool, prefix: Path | None
    ) -> None:
        from tokenizers import Tokenizer

        folder = model.bundle.tokenizer
        assert folder is not None  # noqa: S101 -- the caller has looked
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # noqa: BLE001 -- tokenizers raises plain exceptions
            raise IntegrityError(f"{folder}/tokenizer.json cannot be read: {error}. Make the bundle again.") from None
        session = cast(LanguageSession, model.session)
        self._session = session
        self._settings = _read(folder / "generation_config.json")
        self._template = ChatTemplate(folder)
        self._ends = _ends(self._settings, self._template.end, self._tokenizer)
        self._prompts, self._bytes = PromptEncoder(self._tokenizer, self._ends), TokenBytes(self._tokenizer)
        self._max_tokens, self._context_tokens = max_tokens, session.context_tokens
        self._max_values = max_values
        self._bundle, self._prefix = model.bundle.digest, prefix
        self._kept = Kept() if keeps_prefix else None
        if prefix is not None:
            self._kept = load_prefix(prefix, session, bundle=self._bundle)

    def keep(self) -> bool:
        """Save the prefix cache before sleep; return whether there was anything to save.

        Raises:
            OverwinterError: The file cannot be written.
        """
        if self._prefix is None or self._kept is None:
            return False
        return save_prefix(self._prefix, self._kept, self._session, bundle=self._bundle)

    def respond(self, question: Question, body: bytes, interrupted: Callable[[], bool]) -> Iterator[Frame]:
        """Yield the frames of a response: one, or a stream in which all but the last have `more`.

        Args:
            question: The request, with the operation `chat` or `complete`.
            body: The JSON body.
            interrupted: Returns whether the client has disconnected.

        Raises:
            RequestError: 400, a field is not valid or not supported.
        """
        until_s = time.monotonic() + question.within_s
        chat = question.operation == CHAT
        content = parse_object(body, max_values=self._max_values)
        field, tokens = self._tokens(content, chat=chat)
        room = self._room(field, len(tokens))
        streamed = parse_streaming(content)
        sampling = parse_sampling_params(content, tokens, self._settings, room=min(room, self._max_tokens), chat=chat)
        written = Written()
        pieces = write(
            self._session,
            sampling,
            decode=self._decoder(),
            ends=self._ends,
            kept=Kept() if self._kept is None else self._kept,
            may_go_on=lambda: time.monotonic() < until_s and not interrupted(),
            written=written,
        )
        spelling = _Spelling(
            chat=chat, model=question.model, tokens=None if sampling.top_logprobs is None else self._bytes
        )
        if streamed.wanted:
            yield from _streamed(spelling, pieces, sampling, written, streamed.with_usage)
        else:
            yield _whole(spelling, list(pieces), sampling, written)

    def _room(self, field: str, count: int) -> int:
        """Return how many tokens fit after a prompt of `count` tokens.

        Raises:
            RequestError: 400, the prompt has no token, or fills the context.
        """
        if not count:
            raise RequestError(400, f"`{field}` must not be empty: it has no token.")
        if count >= self._context_tokens:
            raise RequestError(
                400,
                f"`{field}` has {count} tokens. This model's maximum context length is {self._context_tokens} tokens: "
                f"at most {self._context_tokens - 1} fit. Shorten it.",
                code="context_length_exceeded",
            )
        return int(self._context_tokens - count)

    def _decoder(self) -> Callable[[int], str | None]:
        from tokenizers.decoders import DecodeStream

        stream = DecodeStream(skip_special_tokens=True)
        return lambda token: stream.step(self._tokenizer, token)

    def _tokens(self, content: Mapping[str, Any], *, chat: bool) -> tuple[str, Sequence[int]]:
        """Return the name of the prompt's field, and its tokens."""
        if chat:
            messages = content.get("messages")
            return "messages", self._prompts.rendered("messages", lambda hide: self._template.render(messages, hide))
        prompt = content.get("prompt")
        if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
            prompt = prompt[0]
        if isinstance(prompt, str):
            return "prompt", self._prompts.raw("prompt", prompt)
        size = self._tokenizer.get_vocab_size()
        if isinstance(prompt, list) and all(type(token) is int and 0 <= token < size for token in prompt):
            return "prompt", prompt
        raise RequestError(
            400, f"`prompt` must be one text, or one list of tokens from 0 to {size - 1}, not {shown(prompt)}."
        )


class _Spelling:
    """OpenAI's format of a response: of a chat or a completion, whole or in chunks.

    Args:
        chat: Whether it is a chat.
        model: The model's name for clients.
        tokens: The bytes of tokens; None: without log probabilities.
    """

    def __init__(self, *, chat: bool, model: str, tokens: TokenBytes | None) -> None:
        self._chat, self._model, self._tokens = chat, model, tokens
        self._id = ("chatcmpl-" if chat else "cmpl-") + uuid.uuid4().hex
        self._created_s = int(time.time())

    def whole(self, pieces: Sequence[Passage], reason: str, usage: Mapping[str, int]) -> dict[str, Any]:
        text = "".join(piece.text for piece in pieces)
        scores = [score for piece in pieces for score in piece.scores]
        message = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        choice = {**message, "logprobs": self._logprobs(scores), "finish_reason": reason}
        return self._framed([choice], streamed=False) | {"usage": dict(usage)}

    def chunk(self, piece: Passage, *, first: bool = False) -> dict[str, Any]:
        if self._chat:
            text: dict[str, Any] = {"delta": ({"role": "assistant"} if first else {}) | {"content": piece.text}}
        else:
            text = {"text": piece.text}
        logprobs = self._logprobs(piece.scores) if piece.scores else None
        return self._framed([{**text, "logprobs": logprobs, "finish_reason": None}], streamed=True)

    def end(self, reason: str) -> dict[str, Any]:
        text: dict[str, Any] = {"delta": {}} if self._chat else {"text": ""}
        return self._framed([{**text, "logprobs": None, "finish_reason": reason}], streamed=True)

    def _logprobs(self, scores: Sequence[TokenScore]) -> dict[str, Any] | None:
        if self._tokens is None:
            return None
        return (chat_logprobs if self._chat else completion_logprobs)(scores, self._tokens)

    def usage(self, usage: Mapping[str, int]) -> dict[str, Any]:
        return self._framed([], streamed=True) | {"usage": dict(usage)}

    def _framed(self, choices: list[dict[str, Any]], *, streamed: bool) -> dict[str, Any]:
        kind = "text_completion" if not self._chat else "chat.completion" + (".chunk" if streamed else "")
        framed = [{"index": 0, **choice} for choice in choices]
        return {
            "id": self._id,
            "object": kind,
            "created": self._created_s,
            "model": self._model,
            "choices": framed,
        }


def _whole(spelling: _Spelling, pieces: Sequence[Passage], sampling: SamplingParams, written: Written) -> Frame:
    reply = json_reply(spelling.whole(pieces, written.reason, _usage(sampling, written)))
    assert isinstance(reply.body, bytes)  # noqa: S101 -- json_reply has one body
    return Frame(FirstPiece(status=reply.status, headers=dict(reply.headers)).header(), reply.body)


def _streamed(
    spelling: _Spelling, pieces: Iterator[Passage], sampling: SamplingParams, written: Written, with_usage: bool
) -> Iterator[Frame]:
    """Yield server-sent events; the head is sent with the first text, so that an earlier error has its own status."""
    first = next(pieces, Passage())
    yield Frame(FirstPiece(status=200, headers=_EVENTS, more=True).header(), _event(spelling.chunk(first, first=True)))
    for piece in pieces:
        yield Frame(Piece(more=True).header(), _event(spelling.chunk(piece)))
    last = [_event(spelling.end(written.reason))]
    if with_usage:
        last.append(_event(spelling.usage(_usage(sampling, written))))
    yield Frame(Piece().header(), b"".join([*last, b"data: [DONE]\n\n"]))


def _event(content: Any) -> bytes:
    return b"data: " + json.dumps(content, separators=(",", ":")).encode() + b"\n\n"


def _usage(sampling: SamplingParams, written: Written) -> dict[str, int]:
    read, message = len(sampling.prompt), len(written.tokens)
    return {"prompt_tokens": read, "completion_tokens": message, "total_tokens": read + message}


def _read(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content if isinstance(content, dict) else {}


def _ends(settings: Mapping[str, Any], end: str | None, tokenizer: Any) -> frozenset[int]:
    given = settings.get("eos_token_id")
    ends = set(given if isinstance(given, list) else [given])
    ends.add(tokenizer.token_to_id(end) if end else None)
    return frozenset(token for token in ends if type(token) is int)
