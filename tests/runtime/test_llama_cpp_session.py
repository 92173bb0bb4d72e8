"""Sessions on llama.cpp: steps with room that grows, a cache that goes back, is stored and copied."""

import copy
import subprocess
import sys

import numpy as np
import pytest

from overwinter.errors import ConfigError, IntegrityError, OverwinterError
from overwinter.runtime import llama_cpp_session
from overwinter.runtime.language_check import divergence
from overwinter.runtime.llama_cpp_session import LlamaCppSession
from tests.support.gguf_files import WORDS, write_gguf

pytest.importorskip("llama_cpp", reason="the extra llama-cpp is not installed")
pytestmark = pytest.mark.special

TOKENS = np.random.default_rng(0).integers(3, WORDS, size=(2, 24))
CLOSE = 1e-3  # nats: a row alone goes through other kernels than many rows


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_gguf(tmp_path_factory.mktemp("llama-cpp") / "model.gguf")


@pytest.fixture
def session(path):
    return LlamaCppSession(path, threads=1)


def read(session, text, kept=None):
    """Read token by token."""
    for token in text:
        logits, kept = session.step(np.array([[token]]), kept)
    return logits, kept


def test_steps_predict_what_reading_at_once_does(session):
    every = session.logits(TOKENS)
    assert every.shape == (2, 24, WORDS)
    assert every.dtype == np.float32
    np.testing.assert_allclose(session.run(TOKENS), every[:, -1], atol=1e-5)
    logits, kept = read(session, TOKENS[0])
    assert divergence(logits, every[:1, -1]) < CLOSE
    assert kept.count == 24


def test_scoring_leaves_the_cache_as_it_is(session):
    expected = session.step(TOKENS[:1])[0]
    _, kept = session.step(TOKENS[:1, :-1])
    session.logits(TOKENS[1:])
    assert divergence(session.step(TOKENS[:1, -1:], kept)[0], expected) < CLOSE


def test_room_grows_with_the_text(path, monkeypatch):
    expected = LlamaCppSession(path, threads=1).step(np.tile(TOKENS[:1], 30))[0]
    monkeypatch.setattr(llama_cpp_session, "_LEAST_TOKENS", 1)
    session = LlamaCppSession(path, threads=1)
    _, kept = session.step(TOKENS[:1])
    rooms = {session._context.room_tokens}
    for _ in range(29):
        logits, kept = session.step(TOKENS[:1], kept)
        rooms.add(session._context.room_tokens)
    assert len(rooms) > 1
    assert divergence(logits, expected) < CLOSE


def test_a_cropped_cache_forgets(session):
    expected = session.step(TOKENS[:1, :9])[0]
    _, kept = session.step(TOKENS[:1, :8])
    assert kept.can_crop
    _, kept = session.step(TOKENS[1:, :5], kept)
    kept.crop(5)
    assert kept.count == 8
    assert divergence(session.step(TOKENS[:1, 8:9], kept)[0], expected) < CLOSE


def test_a_stored_cache_is_read_on_from_in_another_session(path, session):
    expected = session.step(TOKENS[:1, :9])[0]
    _, kept = session.step(TOKENS[:1, :8])
    arrays = session.cache_to_arrays(kept)
    woken = LlamaCppSession(path, threads=1)
    restored = woken.cache_from_arrays(arrays)
    assert divergence(woken.step(TOKENS[:1, 8:9], restored)[0], expected) < CLOSE


def test_copies_of_a_cache_are_read_on_from_independently(session):
    expected = session.step(TOKENS[:1, :9])[0]
    _, kept = session.step(TOKENS[:1, :8])
    for _ in range(2):
        copied = copy.deepcopy(kept)
        session.step(TOKENS[1:], copied)
    assert divergence(session.step(TOKENS[:1, 8:9], kept)[0], expected) < CLOSE


def test_a_text_that_another_one_ended_is_said_to_be_gone(session):
    _, kept = session.step(TOKENS[:1])
    session.step(TOKENS[1:])
    with pytest.raises(OverwinterError, match="another text was read since"):
        session.step(TOKENS[:1, :1], kept)


def test_stored_bytes_that_are_no_cache_are_refused(session):
    kept = session.cache_from_arrays({"state": np.zeros(64, np.uint8), "tokens": np.array([8])})
    with pytest.raises(IntegrityError, match="cannot take the stored keys and values"):
        session.step(TOKENS[:1], kept)


def test_a_token_that_the_vocabulary_lacks_is_refused_in_words(session):
    with pytest.raises(OverwinterError, match=r"cannot read 1 tokens .*invalid token"):
        session.step(np.array([[WORDS]]))


@pytest.mark.parametrize("content", [b"", b"GGUF no more"])
def test_a_broken_file_is_an_integrity_error(tmp_path, content):
    (tmp_path / "model.gguf").write_bytes(content)
    with pytest.raises(IntegrityError, match=r"cannot be loaded by llama\.cpp"):
        LlamaCppSession(tmp_path / "model.gguf", threads=1)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(IntegrityError, match="no such file"):
        LlamaCppSession(tmp_path / "model.gguf", threads=1)


def test_no_thread_at_all_is_refused(path):
    with pytest.raises(ConfigError, match="threads=0"):
        LlamaCppSession(path, threads=0)


def test_it_is_quiet_and_needs_no_torch(path):
    code = (
        "import sys, numpy as np; from pathlib import Path; from overwinter import runtime;"
        "session = runtime.open_language(Path(sys.argv[1]), 'llama-cpp', 1); session.run(np.array([[3, 4]]));"
        "assert not {'torch', 'transformers', 'gguf'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, str(path.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
