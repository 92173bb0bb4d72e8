import base64
import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.bundle import Keys, read_bundle, sign_bundle
from overwinter.bundle.sealed import create_signing_key, key_id, load_signing_key, load_trusted_key
from overwinter.bundle.signature import verified_signers
from overwinter.errors import ConfigError, IntegrityError


def trusted(key_pair):
    return Keys(trusted=(key_pair[1],))


def test_a_signed_bundle_names_its_signer(signed, key_pair):
    bundle = read_bundle(signed, keys=trusted(key_pair))
    assert bundle.signed_by == (key_id(load_trusted_key(key_pair[1])),)
    assert read_bundle(signed).signed_by == ()  # no key was required
    assert (signed / "signature.json").stat().st_mode & 0o777 == 0o600


def test_the_statement_is_in_totos(signed):
    envelope = json.loads((signed / "signature.json").read_text())
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "bundle.json", "digest": {"sha256": read_bundle(signed).digest}}]


def test_a_strangers_signature_is_refused(tmp_path, signed):
    create_signing_key(tmp_path / "stranger.key", tmp_path / "stranger.pub")
    with pytest.raises(IntegrityError, match="No trusted key has signed"):
        read_bundle(signed, keys=Keys(trusted=(tmp_path / "stranger.pub",)))


def test_the_signature_of_another_bundle_is_refused(tmp_path, signed, write, key_pair):
    write(tmp_path / "other", notes="other")
    shutil.copy(signed / "signature.json", tmp_path / "other")
    with pytest.raises(IntegrityError, match="belongs to another bundle"):
        read_bundle(tmp_path / "other", keys=trusted(key_pair))


def test_a_missing_key_is_a_mistake_of_the_caller(tmp_path, signed):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_bundle(signed, keys=Keys(trusted=(tmp_path / "none.pub",)))


def test_what_is_damaged_is_not_signed(signed, key_pair):
    (signed / "payload" / "model.onnx").write_bytes(b"")
    with pytest.raises(IntegrityError):
        sign_bundle(signed, load_signing_key(f"file:{key_pair[0]}"))


@pytest.fixture(scope="module")
def signature(tmp_path_factory, write, key_pair):
    folder = tmp_path_factory.mktemp("signature") / "bundle"
    write(folder)
    sign_bundle(folder, load_signing_key(f"file:{key_pair[0]}"))
    return (folder / "signature.json").read_bytes(), read_bundle(folder).digest, load_trusted_key(key_pair[1])


@given(data=st.data())
def test_any_changed_byte_of_a_signature_is_found(tmp_path_factory, signature, data):
    text, digest, key = signature
    place = data.draw(st.integers(0, len(text) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != text[place]))
    with pytest.raises(IntegrityError):
        verified_signers(
            tmp_path_factory.getbasetemp(), text[:place] + bytes([byte]) + text[place + 1 :], digest, [key]
        )


@given(text=st.binary(max_size=200) | st.sampled_from([b"[]", b"null", b"{}", b"[" * 100_000]))
def test_any_other_text_is_refused(tmp_path_factory, signature, text):
    with pytest.raises(IntegrityError):
        verified_signers(tmp_path_factory.getbasetemp(), text, signature[1], [signature[2]])


def test_every_single_bit_of_a_signature_counts(tmp_path, signature):
    """Flip also the unused bits of base64."""
    text, digest, key = signature
    for place in range(8 * len(text)):
        altered = bytearray(text)
        altered[place // 8] ^= 1 << place % 8
        with pytest.raises(IntegrityError):
            verified_signers(tmp_path, bytes(altered), digest, [key])
