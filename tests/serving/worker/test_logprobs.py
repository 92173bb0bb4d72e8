"""Each token's bytes, and OpenAI's formats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.serving.worker.generation import TokenScore
from overwinter.serving.worker.logprobs import TokenBytes, chat_logprobs, completion_logprobs
from tests.support.tokenizers_of import KINDS, byte_fallback, byte_level

pytest.importorskip("tokenizers")


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text("abc/s|: ", min_size=1, max_size=20))
def test_the_bytes_of_a_texts_tokens_are_the_texts(kind, text):
    tokenizer = KINDS[kind]()
    tokens = TokenBytes(tokenizer)
    found = b"".join(tokens.of(token) for token in tokenizer.encode(text, add_special_tokens=False).ids)
    assert found.decode() in (text, f" {text}")  # some put a space before a text


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
def test_a_part_of_a_character_has_its_bytes(make):
    tokenizer = make()
    tokens = TokenBytes(tokenizer)
    parts = [tokens.of(token) for token in tokenizer.encode("€", add_special_tokens=False).ids]
    assert parts[-3:] == [b"\xe2", b"\x82", b"\xac"]


def test_special_and_unknown_tokens_have_their_names_and_nothing():
    tokenizer = byte_level()
    tokens = TokenBytes(tokenizer)
    assert tokens.of(tokenizer.token_to_id("</s>")) == b"</s>"
    assert tokens.of(100_000) == b""


def test_words_are_separated():
    from tokenizers import Tokenizer, decoders
    from tokenizers.models import WordLevel, WordPiece

    pieces = Tokenizer(WordPiece({"[UNK]": 0, "win": 1, "##ter": 2}, unk_token="[UNK]"))
    pieces.decoder = decoders.WordPiece()
    assert [TokenBytes(pieces).of(token) for token in (1, 2)] == [b" win", b"ter"]
    words = Tokenizer(WordLevel({"winter": 0}, unk_token="winter"))
    assert TokenBytes(words).of(0) == b" winter"


@pytest.fixture
def scores():
    """`H`, then the first byte of a character."""
    tokenizer = byte_level()
    of = {byte: tokenizer.encode(byte.decode("latin-1")).ids[-1] for byte in (b"H", b"I")}
    euro = tokenizer.encode("€").ids[0]
    written = [TokenScore(of[b"H"], -0.5, [(of[b"I"], -0.25), (of[b"H"], -0.5)], 0), TokenScore(euro, -1.0, [], 1)]
    return written, TokenBytes(tokenizer)


def test_a_chats(scores):
    first, second = chat_logprobs(*scores)["content"]
    assert first == {
        "token": "H",
        "logprob": -0.5,
        "bytes": [72],
        "top_logprobs": [
            {"token": "I", "logprob": -0.25, "bytes": [73]},
            {"token": "H", "logprob": -0.5, "bytes": [72]},
        ],
    }
    assert second == {"token": r"\xe2", "logprob": -1.0, "bytes": [0xE2], "top_logprobs": []}


def test_a_completions(scores):
    assert completion_logprobs(*scores) == {
        "tokens": ["H", r"bytes:\xe2"],
        "token_logprobs": [-0.5, -1.0],
        "top_logprobs": [{"I": -0.25, "H": -0.5}, {r"bytes:\xe2": -1.0}],
        "text_offset": [0, 1],
    }
