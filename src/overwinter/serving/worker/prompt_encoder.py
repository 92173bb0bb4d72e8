"""Tokens of prompts: special tokens come from a chat template or a raw prompt, never from the text of a message.

`<|im_start|>` in a message is text. Before the template renders, each special token's name in a message is hidden
behind a number, so that the template cannot be mistaken for its author, and still sees and changes the rest of the
text. What is found in the rendered prompt is then the template's own. Both are put into the prompt under names of their
own, and the whole is encoded at once, so that the text around them gets the tokens that it would get anyway.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

from overwinter.serving.messages import RequestError

Hide = Callable[[str], str]
_NONCE_DIGITS, _NUMBER_DIGITS = 18, 6  # digits outlast trimming, a change of case, JSON and escaping


class PromptEncoder:
    """Encodes prompts with a tokenizer.

    Args:
        tokenizer: A `tokenizers.Tokenizer`.
        ends: The tokens that end a text, special even if the tokenizer does not say so.
    """

    def __init__(self, tokenizer: Any, ends: Iterable[int] = ()) -> None:
        self._tokenizer, self._ends = tokenizer, frozenset(ends)

    def raw(self, field: str, text: str) -> list[int]:
        """Return the tokens of a prompt for the model as it is, in which special tokens are tokens.

        Raises:
            RequestError: 400, it is not valid text.
        """
        _check_text(field, text)
        return list(self._tokenizer.encode(text).ids)

    def rendered(self, field: str, render: Callable[[Hide], str]) -> list[int]:
        """Return the tokens of a rendered prompt.

        Args:
            field: The request's field, for messages.
            render: Returns the prompt; it passes every text of a client through the given function.

        Raises:
            RequestError: 400, it is not valid text.
        """
        hidden = _Hidden(self._specials, edges=False)
        text = render(hidden.hide)
        if hidden.has_edges:
            careful = _Hidden(self._specials, edges=True)
            other = render(careful.hide)
            if self._specials.in_text(other) != self._specials.in_text(text):  # a text and the template make one
                hidden, text = careful, other
        _check_text(field, text)
        if not hidden:
            return list(self._tokenizer.encode(text, add_special_tokens=False).ids)
        return self._renamed.encode(hidden.restored(self._specials.pattern.sub(self._renamed.name_of, text)))

    @cached_property
    def _specials(self) -> _Specials:
        added = self._tokenizer.get_added_tokens_decoder()
        return _Specials(
            token.content
            for number, token in added.items()
            if token.content and (token.special or number in self._ends)
        )

    @cached_property
    def _renamed(self) -> _RenamedTokenizer:
        return _RenamedTokenizer(self._tokenizer, self._specials.names)


class _Specials:
    """The names of the special tokens."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = sorted(set(names), key=lambda name: (-len(name), name))  # the longest is found first
        self.longest = max(map(len, self.names), default=0)
        self.pattern = _any_of(self.names)
        self.any_case = _any_of(self.names, re.IGNORECASE)  # a template may change the case
        folded = [name.lower() for name in self.names]
        self._beginnings = {name[:size] for name in folded for size in range(1, len(name))}
        self._ends = {name[size:] for name in folded for size in range(1, len(name))}
        self._folded = "\n".join(folded)

    def in_text(self, text: str) -> list[str]:
        return self.pattern.findall(text)

    def beginning_at_end(self, text: str) -> int:
        """Return the length of the longest beginning of a name at the end of a text."""
        sizes = range(min(self.longest - 1, len(text)), 0, -1)
        return next((size for size in sizes if text[-size:].lower() in self._beginnings), 0)

    def end_at_beginning(self, text: str) -> int:
        """Return the length of the longest end of a name at the beginning of a text."""
        sizes = range(min(self.longest - 1, len(text)), 0, -1)
        return next((size for size in sizes if text[:size].lower() in self._ends), 0)

    def has_part(self, text: str) -> bool:
        """Return whether a text is a part of a name."""
        return text.lower() in self._folded


class _Hidden:
    """What is hidden in the texts of one request.

    Args:
        specials: The special tokens.
        edges: Whether the ends of a text that could be a part of a special token are hidden, too.

    Attributes:
        has_edges: Whether a text has such ends.
    """

    def __init__(self, specials: _Specials, *, edges: bool) -> None:
        self._specials, self._edges = specials, edges
        self._nonce = "".join(secrets.choice("123456789") for _ in range(_NONCE_DIGITS))
        self._numbers: dict[str, str] = {}
        self.has_edges = False

    def __bool__(self) -> bool:
        return bool(self._numbers)

    def hide(self, text: str) -> str:
        """Return a text with the special tokens' names replaced by numbers."""
        hidden = self._specials.any_case.sub(lambda found: self._number(found[0]), text)
        core = hidden.strip()
        if not core:
            return hidden
        at = hidden.index(core)
        return hidden[:at] + self._without_edges(core) + hidden[at + len(core) :]

    def restored(self, text: str) -> str:
        """Return a text with the numbers replaced by what they hide."""
        names = {number: name for name, number in self._numbers.items()}
        return re.sub(rf"{self._nonce}\d{{{_NUMBER_DIGITS}}}", lambda found: names.get(found[0], found[0]), text)

    def _without_edges(self, text: str) -> str:
        if self._specials.has_part(text):
            begin, end = len(text), len(text)
        else:
            begin = self._specials.end_at_beginning(text)
            end = max(begin, len(text) - self._specials.beginning_at_end(text))
        if begin == 0 and end == len(text):
            return text
        self.has_edges = True
        if not self._edges:
            return text
        parts = text[:begin], text[begin:end], text[end:]
        return "".join((part and self._number(part)) if place != 1 else part for place, part in enumerate(parts))

    def _number(self, name: str) -> str:
        return self._numbers.setdefault(name, f"{self._nonce}{len(self._numbers):0{_NUMBER_DIGITS}}")


class _RenamedTokenizer:
    """A copy of a tokenizer in which the special tokens have names that no text contains.

    Args:
        tokenizer: A `tokenizers.Tokenizer`.
        names: The names of its special tokens.
    """

    def __init__(self, tokenizer: Any, names: Iterable[str]) -> None:
        from tokenizers import Tokenizer

        nonce = "".join(secrets.choice("123456789") for _ in range(_NONCE_DIGITS))
        self._new = {name: f"{nonce}{place:0{_NUMBER_DIGITS}}" for place, name in enumerate(names)}
        self._tokens = {number: tokenizer.token_to_id(name) for name, number in self._new.items()}
        # The copy may number added tokens differently.
        self._tokens |= {
            token.content: number
            for number, token in tokenizer.get_added_tokens_decoder().items()
            if token.content not in self._new
        }
        content = json.loads(tokenizer.to_str())
        for token in content["added_tokens"]:
            token["content"] = self._new.get(token["content"], token["content"])
        self._rename_model(content["model"])
        content |= {"post_processor": None, "truncation": None, "padding": None}
        self._tokenizer = Tokenizer.from_str(json.dumps(content))

    def name_of(self, found: re.Match[str]) -> str:
        """Return the new name of a special token that a pattern found."""
        return self._new[found[0]]

    def encode(self, text: str) -> list[int]:
        """Return the tokens, numbered as the tokenizer's."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [self._tokens.get(name, number) for name, number in zip(encoding.tokens, encoding.ids, strict=True)]

    def _rename_model(self, model: dict[str, Any]) -> None:
        """Rename the special tokens in a vocabulary, where a text could otherwise become one without its name."""
        vocab, new = model["vocab"], self._new
        if isinstance(vocab, dict):
            model["vocab"] = {new.get(name, name): number for name, number in vocab.items()}
        else:
            model["vocab"] = [[new.get(name, name), *rest] for name, *rest in vocab]
        if model.get("unk_token") is not None:
            model["unk_token"] = new.get(model["unk_token"], model["unk_token"])
        if model.get("merges"):
            model["merges"] = [merge for merge in model["merges"] if not self._concerns(merge)]

    def _concerns(self, merge: str | list[str]) -> bool:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        return not self._new.keys().isdisjoint((left, right, left + right))


def _any_of(names: Iterable[str], flags: int = 0) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, names)) or r"(?!)", flags)


def _check_text(field: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RequestError(400, f"`{field}` contains half of a surrogate pair, which is not valid text.") from None
