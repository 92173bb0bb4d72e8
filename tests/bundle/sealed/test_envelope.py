from __future__ import annotations

import base64
import copy
import json
import random
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from overwinter.bundle.sealed import (
    create_signing_key,
    key_id,
    load_signing_key,
    load_trusted_key,
    sign_payload,
    verified_payload,
)
from overwinter.errors import ConfigError, IntegrityError

KIND = "application/vnd.in-toto+json"
KEY = Ed25519PrivateKey.from_private_bytes(b"1" * 32)
STRANGER = Ed25519PrivateKey.from_private_bytes(b"2" * 32)
TRUSTED = [KEY.public_key()]


@given(st.binary(max_size=1000))
def test_a_signed_payload_comes_back(payload):
    envelope = json.loads(json.dumps(sign_payload(payload, KIND, KEY)))
    assert verified_payload(envelope, KIND, TRUSTED) == payload


def test_the_signature_is_over_what_dsse_says():
    envelope = sign_payload(b"hello world", "http://example.com/HelloWorld", KEY)
    message = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"  # the example of the DSSE specification
    KEY.public_key().verify(base64.b64decode(envelope["signatures"][0]["sig"]), message)


def test_a_stranger_and_no_one_are_not_trusted():
    envelope = sign_payload(b"x", KIND, STRANGER)
    with pytest.raises(IntegrityError, match=key_id(TRUSTED[0])):
        verified_payload(envelope, KIND, TRUSTED)
    with pytest.raises(IntegrityError, match="trusted: none"):
        verified_payload(envelope, KIND, [])


def test_one_of_several_signatures_is_enough():
    envelope = sign_payload(b"x", KIND, STRANGER)
    envelope["signatures"] += sign_payload(b"x", KIND, KEY)["signatures"]
    assert verified_payload(envelope, KIND, TRUSTED) == b"x"


def test_a_key_id_is_a_hint_and_no_proof():
    envelope = sign_payload(b"x", KIND, STRANGER)
    envelope["signatures"][0]["keyid"] = key_id(TRUSTED[0])
    with pytest.raises(IntegrityError):
        verified_payload(envelope, KIND, TRUSTED)


def test_a_signature_over_another_kind_does_not_count():
    envelope = sign_payload(b"x", "text/plain", KEY)
    with pytest.raises(IntegrityError, match="its type is not"):
        verified_payload(envelope, KIND, TRUSTED)
    envelope["payloadType"] = KIND
    with pytest.raises(IntegrityError, match="No trusted key"):
        verified_payload(envelope, KIND, TRUSTED)


def test_every_altered_envelope_is_refused_or_says_the_same():
    text, rng = json.dumps(sign_payload(b'{"digest": "1234"}', KIND, KEY)), random.Random(3)
    accepted = 0
    for _ in range(5000):
        altered = bytearray(text.encode())
        altered[rng.randrange(len(altered))] ^= 1 << rng.randrange(8)
        try:
            envelope = json.loads(altered)
        except ValueError:
            continue
        try:
            assert verified_payload(envelope, KIND, TRUSTED) == b'{"digest": "1234"}'
            accepted += 1
        except IntegrityError:
            continue
    assert accepted  # a key id is only a hint


@pytest.mark.parametrize(
    "change",
    [
        {"payload": 5},
        {"payload": "x"},
        {"payload": "é"},
        {"payload": "A" * (17 << 20)},
        {"signatures": []},
        {"signatures": "x"},
        {"signatures": [5]},
        {"signatures": [{"sig": "AAAA"}] * 17},
        {"signatures": [{"sig": None}]},
        {"payloadType": None},
    ],
)
def test_a_damaged_envelope_is_refused(change):
    envelope = {**copy.deepcopy(sign_payload(b"x", KIND, KEY)), **change}
    with pytest.raises(IntegrityError):
        verified_payload(envelope, KIND, TRUSTED)


@pytest.mark.parametrize("envelope", [None, [], "x", 5, {}])
def test_what_is_no_envelope_is_refused(envelope):
    with pytest.raises(IntegrityError):
        verified_payload(envelope, KIND, TRUSTED)


def test_keys_are_made_kept_private_and_read_back(tmp_path):
    private, public = tmp_path / "sign.pem", tmp_path / "sign.pub"
    create_signing_key(private, public)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    envelope = sign_payload(b"x", KIND, load_signing_key(f"file:{private}"))
    assert verified_payload(envelope, KIND, [load_trusted_key(public)]) == b"x"
    with pytest.raises(ConfigError, match="exists already"):
        create_signing_key(private, public)
    private.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_signing_key(f"file:{private}")


def test_what_is_no_key_is_refused(tmp_path):
    for content in (b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\xff" * 50):
        path = tmp_path / "key.pem"
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(ConfigError, match="is not an Ed25519 private key"):
            load_signing_key(f"file:{path}")
        with pytest.raises(ConfigError, match="holds no Ed25519"):
            load_trusted_key(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_trusted_key(tmp_path / "none")
