from __future__ import annotations

import json
import os
import random
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.bundle.sealed import OpenedFile, WrappingKey, read_header, rewrap, seal
from overwinter.bundle.sealed import container as container_module
from overwinter.bundle.sealed import index as index_module
from overwinter.errors import ConfigError, IntegrityError

CHUNK_BYTES = 4096
KEY = WrappingKey.of(b"k" * 32)
OTHER = WrappingKey.of(b"o" * 32)


@pytest.fixture
def contents(tmp_path):
    rng = random.Random(0)
    made = {}
    for name, size_bytes in (("model.onnx", 9000), ("empty", 0), ("sub/labels.json", 17), ("exact", 2 * CHUNK_BYTES)):
        path = tmp_path / "plain" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(size_bytes))
        made[name] = path
    return made


@pytest.fixture
def sealed(tmp_path, contents):
    path = tmp_path / "model.sealed"
    seal(contents, path, [KEY], chunk_bytes=CHUNK_BYTES)
    return path


def plain(contents):
    return {name: path.read_bytes() for name, path in contents.items()}


def opened(path, keys=(KEY,)):
    found = OpenedFile(path, keys)
    return {name: read(found, (name, 0, size_bytes)) for name, size_bytes in found.sizes.items()}


def read(found, span):
    return b"".join(map(bytes, found.pieces(span)))


def test_what_was_sealed_comes_back(sealed, contents):
    assert opened(sealed) == plain(contents)


@pytest.mark.parametrize("piece_bytes", [1, 1000, CHUNK_BYTES, 5000])
def test_spans_are_put_together_again(sealed, contents, piece_bytes):
    found = OpenedFile(sealed, [KEY])
    for name, text in plain(contents).items():
        spans = [(name, begin, min(piece_bytes, len(text) - begin)) for begin in range(0, len(text), piece_bytes)]
        assert b"".join(read(found, span) for span in spans) == text


def test_chunks_that_no_file_needs_are_refused(tmp_path, contents, monkeypatch):
    """A holder of the key hides data after the files."""
    (tmp_path / "hidden").write_bytes(bytes(CHUNK_BYTES))
    index = index_module.index_bytes(contents)
    monkeypatch.setattr(container_module, "index_bytes", lambda _: index)
    seal({**contents, "hidden": tmp_path / "hidden"}, tmp_path / "long", [KEY], chunk_bytes=CHUNK_BYTES)
    with pytest.raises(IntegrityError, match="it is too long"):
        opened(tmp_path / "long")


@given(sizes=st.lists(st.integers(0, 3 * CHUNK_BYTES), max_size=6))
def test_any_sizes_come_back(tmp_path_factory, sizes):
    folder = tmp_path_factory.mktemp("any")
    made = {f"f{number}": folder / f"f{number}" for number in range(len(sizes))}
    for path, size_bytes in zip(made.values(), sizes, strict=True):
        path.write_bytes(os.urandom(size_bytes))
    seal(made, folder / "sealed", [KEY], chunk_bytes=CHUNK_BYTES)
    assert opened(folder / "sealed") == plain(made)
    whole, rest = divmod((folder / "sealed").stat().st_size - header_bytes(folder / "sealed"), CHUNK_BYTES + 16)
    assert whole >= 1
    assert rest == 0  # sizes show in whole chunks only


def header_bytes(path):
    return 12 + int.from_bytes(path.read_bytes()[8:12], "big")


def test_names_and_contents_are_hidden_and_the_file_is_private(sealed, contents):
    raw = sealed.read_bytes()
    for name, content in plain(contents).items():
        assert name.encode() not in raw
        assert not content or content[:64] not in raw
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o600


def test_the_same_files_are_never_sealed_the_same_way(tmp_path, contents):
    for name in ("a", "b"):
        seal(contents, tmp_path / name, [KEY], chunk_bytes=CHUNK_BYTES)
    first, second = ((tmp_path / name).read_bytes()[-CHUNK_BYTES:] for name in "ab")
    assert first != second


def mutations(raw, other, rng):
    """Yield altered copies of every kind that faulty storage or an attacker can produce."""
    chunk, begins = CHUNK_BYTES + 16, 12 + int.from_bytes(raw[8:12], "big")
    chunks = (len(raw) - begins) // chunk
    while True:
        copy, kind = bytearray(raw), rng.randrange(8)
        if kind <= 2:  # one bit, anywhere, in the header, in the first bytes
            place = rng.randrange((len(raw), begins, 16)[kind])
            copy[place] ^= 1 << rng.randrange(8)
        elif kind == 3:
            del copy[rng.randrange(len(raw)) :]
        elif kind == 4:
            copy += bytes(rng.choice([1, chunk]))
        elif kind == 5:  # two chunks swapped
            one, two = rng.sample(range(chunks), 2)
            here, there = (slice(begins + n * chunk, begins + (n + 1) * chunk) for n in (one, two))
            copy[here], copy[there] = copy[there], copy[here]
        elif kind == 6:  # a chunk of another sealed file
            begin = begins + rng.randrange(chunks) * chunk
            copy[begin : begin + chunk] = other[begin : begin + chunk]
        else:  # a chunk taken out, the count corrected
            begin = begins + rng.randrange(chunks) * chunk
            del copy[begin : begin + chunk]
            copy = copy.replace(b'"chunks": %d' % chunks, b'"chunks": %d' % (chunks - 1))
        yield bytes(copy)


def test_every_altered_file_is_refused(tmp_path, sealed, contents):
    seal(contents, tmp_path / "other", [KEY], chunk_bytes=CHUNK_BYTES)
    raw, altered = sealed.read_bytes(), tmp_path / "altered"
    source = mutations(raw, (tmp_path / "other").read_bytes(), random.Random(7))
    for _ in range(3000):
        altered.write_bytes(next(source))
        with pytest.raises(IntegrityError, match=r"altered|other keys|not a sealed file|bytes|header"):
            opened(altered)


@given(content=st.binary(max_size=300))
def test_any_bytes_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "sealed"
    for opening in (b"", b"OWSEAL1\n", b"OWSEAL1\n" + len(content).to_bytes(4, "big")):
        path.write_bytes(opening + content)
        with pytest.raises(IntegrityError):
            opened(path, [KEY])


@pytest.mark.parametrize(
    "claims",
    [{"chunks": 1 << 31}, {"chunk_bytes": 1 << 24}, {"chunks": 0}, {"chunks": True}, {"chunk_bytes": 4096.0}, {"x": 1}],
)
def test_a_header_that_claims_too_much_takes_no_memory(sealed, claims):
    raw = sealed.read_bytes()
    begins = header_bytes(sealed)
    text = json.dumps({**json.loads(raw[12:begins]), **claims}).encode()
    sealed.write_bytes(raw[:8] + len(text).to_bytes(4, "big") + text + raw[begins:])
    with pytest.raises(IntegrityError):
        opened(sealed, [KEY])


def test_a_giant_header_is_not_read(sealed):
    sealed.write_bytes(b"OWSEAL1\n" + (0xFFFFFFFF).to_bytes(4, "big") + b"{" * 1000)
    with pytest.raises(IntegrityError, match="claims a header of 4294967295"):
        read_header(sealed)


def test_another_key_does_not_open_it(sealed):
    with pytest.raises(IntegrityError, match="encrypted for other keys"):
        opened(sealed, [OTHER])
    with pytest.raises(IntegrityError, match="given: none"):
        opened(sealed, [])


def test_keys_rotate_without_encrypting_again(sealed, contents):
    before = sealed.read_bytes()[header_bytes(sealed) :]
    rewrap(sealed, [KEY], [OTHER])
    assert sealed.read_bytes()[header_bytes(sealed) :] == before
    assert opened(sealed, [OTHER]) == plain(contents)
    with pytest.raises(IntegrityError):
        opened(sealed, [KEY])
    assert stat.S_IMODE(sealed.stat().st_mode) == 0o600


def test_several_keys_open_the_same_file(tmp_path, contents):
    seal(contents, tmp_path / "both", [KEY, OTHER], chunk_bytes=CHUNK_BYTES)
    assert opened(tmp_path / "both", [KEY]) == opened(tmp_path / "both", [OTHER]) == plain(contents)
    assert set(read_header(tmp_path / "both").wrapped) == {KEY.key_id, OTHER.key_id}


def test_a_wrapped_key_of_another_file_does_not_fit(tmp_path, sealed, contents):
    seal(contents, tmp_path / "other", [KEY], chunk_bytes=CHUNK_BYTES)
    wrapped, strange = (read_header(path).wrapped[KEY.key_id].hex() for path in (sealed, tmp_path / "other"))
    sealed.write_bytes(sealed.read_bytes().replace(wrapped.encode(), strange.encode()))
    with pytest.raises(IntegrityError, match="wrapped key does not fit"):
        opened(sealed, [KEY])


@pytest.mark.parametrize("name", ["../up", "/root", "a/../../b", "", "a\0b", ".", "a//b", "a\\b"])
def test_a_name_that_leads_out_is_neither_sealed_nor_believed(tmp_path, contents, name, monkeypatch):
    with pytest.raises(ConfigError, match="cannot be sealed"):
        seal({name: contents["empty"]}, tmp_path / "bad", [KEY])
    assert not (tmp_path / "bad").exists()
    with monkeypatch.context() as patched:  # a maker who holds the key, and no scruples
        patched.setattr(index_module, "is_inside", lambda name: True)
        seal({name: contents["empty"]}, tmp_path / "bad", [KEY])
    with pytest.raises(IntegrityError, match="wrong index"):
        opened(tmp_path / "bad", [KEY])


def test_wrong_sampling_params_are_refused_in_words(tmp_path, sealed, contents):
    with pytest.raises(ConfigError, match="needs a key"):
        seal(contents, tmp_path / "x", [])
    with pytest.raises(ConfigError, match="chunk_bytes=1 "):
        seal(contents, tmp_path / "x", [KEY], chunk_bytes=1)
    with pytest.raises(ConfigError, match="needs a new key"):
        rewrap(sealed, [KEY], [])
    with pytest.raises(IntegrityError, match="No such file"):
        opened(tmp_path / "none", [KEY])


def test_a_failure_leaves_the_old_file(sealed, contents, monkeypatch):
    before = sealed.read_bytes()
    monkeypatch.setattr(container_module, "_chunks", lambda *_: iter(()))
    with pytest.raises(ConfigError, match="changed while"):
        seal(contents, sealed, [KEY], chunk_bytes=CHUNK_BYTES)
    assert sealed.read_bytes() == before
    assert [path.name for path in sealed.parent.iterdir() if "part" in path.name] == []
