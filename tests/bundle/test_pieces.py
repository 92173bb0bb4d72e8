"""Large files: digested in pieces, in parallel with other work."""

import hashlib
import threading

import pytest

from overwinter import manifest
from overwinter.bundle import Keys, read_bundle, seal_bundle
from overwinter.bundle import contents as contents_module
from overwinter.bundle import reading as reading_module
from overwinter.bundle.sealed import load_wrapping_key
from overwinter.errors import ConfigError, IntegrityError

PIECE_BYTES = 1 << 16
SIZE_BYTES = 3 * PIECE_BYTES + 100


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(contents_module, "PIECE_BYTES", PIECE_BYTES)
    monkeypatch.setattr(reading_module, "_WORTH_WAITING_BYTES", 0)
    monkeypatch.setattr("overwinter.bundle.spans._WORTH_THREADS_BYTES", 0)


@pytest.fixture
def large(tmp_path, write):
    (tmp_path / "payload").mkdir()
    (tmp_path / "payload" / "model.onnx").write_bytes(bytes(range(256)) * (SIZE_BYTES // 256) + bytes(SIZE_BYTES % 256))
    return write(tmp_path / "large", payload=tmp_path / "payload").folder


@pytest.fixture
def both(large, tmp_path, secret):
    """The folder, and its sealed file."""
    seal_bundle(large, tmp_path / "sealed", [load_wrapping_key(secret)])
    return large, tmp_path / "sealed"


def test_each_piece_has_its_digest(large):
    listed = manifest.read_sealed(large / "bundle.json", remedy="")["files"]
    content = (large / "payload" / "model.onnx").read_bytes()
    pieces = [content[begin : begin + PIECE_BYTES] for begin in range(0, SIZE_BYTES, PIECE_BYTES)]
    assert listed["payload/model.onnx"] == {
        "piece_bytes": PIECE_BYTES,
        "pieces_sha256": [hashlib.sha256(piece).hexdigest() for piece in pieces],
        "size_bytes": SIZE_BYTES,
    }
    assert set(listed["canary.safetensors"]) == {"sha256", "size_bytes"}


@pytest.mark.parametrize("threads", [1, 3])
def test_it_comes_back_whole(both, secret, threads):
    plain, sealed = both
    bundle = read_bundle(sealed, keys=Keys(opening=(secret,)), threads=threads)
    assert (bundle.payload / "model.onnx").read_bytes() == (plain / "payload" / "model.onnx").read_bytes()
    assert bundle.digest == read_bundle(plain, threads=threads).digest


@pytest.mark.parametrize("place", [0, PIECE_BYTES, 2 * PIECE_BYTES - 1, SIZE_BYTES - 1])
def test_a_changed_byte_of_any_piece_is_found(large, place):
    path = large / "payload" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="SHA-256 is not the listed one"):
        read_bundle(large)


def test_swapped_pieces_are_found(large):
    path = large / "payload" / "model.onnx"
    content = path.read_bytes()
    one, two = content[:PIECE_BYTES], b"x" + content[PIECE_BYTES + 1 : 2 * PIECE_BYTES]
    path.write_bytes(two + one + content[2 * PIECE_BYTES :])
    with pytest.raises(IntegrityError, match="SHA-256 is not the listed one"):
        read_bundle(large)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pieces_sha256": []}, "pieces that do not match"),
        ({"pieces_sha256": ["0" * 64] * 5}, "pieces that do not match"),
        ({"pieces_sha256": [1, 2, 3, 4]}, "without a size and a digest"),
        ({"pieces_sha256": "0123"}, "without a size and a digest"),
        ({"piece_bytes": 1}, "pieces that do not match"),
        ({"piece_bytes": -1}, "pieces that do not match"),
        ({"piece_bytes": True}, "without a size and a digest"),
        ({"piece_bytes": 1 << 80}, "pieces that do not match"),
        ({"size_bytes": SIZE_BYTES - 1}, "bytes instead of"),
        ({"sha256": "0" * 64}, "SHA-256 is not the listed one"),
    ],
)
def test_a_liars_list_is_refused(large, change, message):
    content = manifest.read_sealed(large / "bundle.json", remedy="")
    entry = content["files"]["payload/model.onnx"] | change
    manifest.write_sealed(large / "bundle.json", content | {"files": content["files"] | {"payload/model.onnx": entry}})
    with pytest.raises(IntegrityError, match=message):
        read_bundle(large)


def test_something_else_goes_on_while_it_is_verified(both, secret, monkeypatch):
    began, finished = threading.Event(), []
    real = reading_module.compare

    def compare(*arguments):
        assert began.wait(10)  # only what goes on meanwhile sets it
        real(*arguments)
        finished.append("verified")

    monkeypatch.setattr(reading_module, "compare", compare)
    for source in both:
        began.clear()
        messages = []
        read_bundle(
            source,
            keys=Keys(opening=(secret,)),
            meanwhile=lambda facts, messages=messages: (messages.append(facts), began.set()),
        )
        assert messages[0].runtime == "onnxruntime"
    assert finished == ["verified", "verified"]


def test_what_verification_finds_comes_first(large):
    path = large / "payload" / "model.onnx"
    path.write_bytes(b"x" + path.read_bytes()[1:])

    def complain(_):
        raise ConfigError("this runtime is not installed")

    with pytest.raises(IntegrityError, match="altered"):
        read_bundle(large, meanwhile=complain)


def test_nothing_goes_on_before_the_signature_fits(both, secret, key_pair):
    for source in both:
        keys = Keys(opening=(secret,), trusted=(key_pair[1],))
        with pytest.raises(IntegrityError, match="is not signed"):
            read_bundle(source, keys=keys, meanwhile=lambda _: pytest.fail("it was reported of a stranger's bundle"))
