from __future__ import annotations

import base64
import sys

import pytest

from overwinter.bundle import sealed as sealing
from overwinter.bundle.sealed import WrappingKey, load_wrapping_key
from overwinter.errors import ConfigError

SECRET = bytes(range(1, 33))
FORMATS = [SECRET.hex().encode() + b"\n", base64.b64encode(SECRET), SECRET]


@pytest.mark.parametrize("content", FORMATS)
def test_a_key_comes_from_a_private_file(tmp_path, content):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    assert load_wrapping_key(f"file:{path}") == WrappingKey.of(SECRET)
    path.chmod(0o640)
    with pytest.raises(ConfigError, match=r"Other users can access .* \(mode 640\)"):
        load_wrapping_key(f"file:{path}")


def test_a_key_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("OW_TEST_KEY", SECRET.hex())
    assert load_wrapping_key("env:OW_TEST_KEY").secret == SECRET


def test_a_key_comes_from_a_command():
    assert load_wrapping_key(f"command:{sys.executable} -c \"print('{SECRET.hex()}')\"").secret == SECRET


def test_the_key_never_shows():
    key = WrappingKey.of(SECRET)
    assert SECRET.hex() not in repr(key)
    assert "secret" not in repr(key)
    assert key.key_id != WrappingKey.of(b"x" * 32).key_id


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("abc", "must be file:PATH"),
        (SECRET.hex(), "must be file:PATH"),
        ("http://example.org", "must be file:PATH"),
        ("env:OW_NO_SUCH_KEY", "OW_NO_SUCH_KEY holds no key"),
        ("file:/nonexistent", "No such file"),
        ("command:false", "exit code 1"),
        ("command:/nonexistent", "did not run"),
        ("command:echo 'unclosed", "did not run"),
        ("command:echo short-secret", "wrong format"),
    ],
)
def test_a_wrong_source_is_refused_without_telling_the_key(source, expected):
    with pytest.raises(ConfigError, match=expected) as caught:
        load_wrapping_key(source)
    assert SECRET.hex() not in str(caught.value)


def test_a_wrong_key_is_not_shown(monkeypatch):
    monkeypatch.setenv("OW_TEST_KEY", "hunter2-and-more")
    with pytest.raises(ConfigError) as caught:
        load_wrapping_key("env:OW_TEST_KEY")
    assert "hunter2" not in str(caught.value)


def test_public_names_are_sorted():
    assert sealing.__all__ == sorted(sealing.__all__)
    assert all(hasattr(sealing, name) for name in sealing.__all__)
