import gc

import numpy as np
import pytest

from overwinter.bundle import Expected, Keys, open_bundle, private, read_bundle, seal_bundle, sealing, sign_bundle
from overwinter.bundle.sealed import load_signing_key, load_wrapping_key
from overwinter.errors import ConfigError, IntegrityError, OverwinterError


@pytest.fixture
def sealed(tmp_path, signed, secret):
    seal_bundle(signed, tmp_path / "bundle.sealed", [load_wrapping_key(secret)])
    return tmp_path / "bundle.sealed"


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_sealed_bundle_is_the_same_bundle(sealed, signed, secret, key_pair):
    bundle = read_bundle(sealed, keys=Keys(trusted=(key_pair[1],), opening=(secret,)))
    plain = read_bundle(signed)
    assert (bundle.digest, bundle.size_bytes, bundle.lineage) == (plain.digest, plain.size_bytes, plain.lineage)
    assert bundle.sealed
    assert bundle.source == sealed
    assert bundle.signed_by
    assert contents(bundle.folder) == contents(signed)
    np.testing.assert_array_equal(bundle.canary.outputs, plain.canary.outputs)


def test_it_says_nothing_of_names_and_shapes(sealed):
    raw = sealed.read_bytes()
    assert not any(word in raw for word in (b"model.onnx", b"signature", b"payload", b"int8_static", b"labels"))
    assert sealed.stat().st_mode & 0o777 == 0o600


def test_its_files_are_gone_with_the_bundle(sealed, secret):
    bundle = read_bundle(sealed, keys=Keys(opening=(secret,)))
    folder = bundle.folder
    assert all(path.is_symlink() for path in folder.rglob("*") if not path.is_dir())
    assert str((bundle.payload / "model.onnx").readlink()).startswith("/proc/")
    with pytest.raises(PermissionError):
        (bundle.payload / "model.onnx").write_bytes(b"other")
    del bundle
    gc.collect()
    assert not folder.exists()


def test_without_the_key_nothing_is_read(sealed):
    with pytest.raises(IntegrityError, match="encrypted for other keys"):
        read_bundle(sealed)


def test_anyone_who_holds_the_key_must_still_have_signed(tmp_path, write, secret, key_pair):
    write(tmp_path / "unsigned")
    seal_bundle(tmp_path / "unsigned", tmp_path / "sealed", [load_wrapping_key(secret)])
    with pytest.raises(IntegrityError, match="is not signed"):
        read_bundle(tmp_path / "sealed", keys=Keys(trusted=(key_pair[1],), opening=(secret,)))


def test_it_opens_into_a_private_folder(tmp_path, sealed, signed, secret):
    open_bundle(sealed, tmp_path / "new" / "opened", keys=Keys(opening=(secret,)))
    opened = tmp_path / "new" / "opened"
    assert contents(opened) == contents(signed)
    assert {path.stat().st_mode & 0o777 for path in opened.rglob("*") if path.is_file()} == {0o600}
    with pytest.raises(OverwinterError, match="exists already"):
        open_bundle(sealed, opened, keys=Keys(opening=(secret,)))


def test_what_is_refused_is_not_opened(tmp_path, sealed, secret):
    with pytest.raises(IntegrityError):
        open_bundle(sealed, tmp_path / "opened", keys=Keys(opening=(secret,)), expected=Expected(digest="0" * 64))
    assert not (tmp_path / "opened").exists()


def test_a_bundle_needs_a_key_to_be_sealed(tmp_path, signed):
    with pytest.raises(ConfigError, match="needs a key"):
        seal_bundle(signed, tmp_path / "out", [])


def test_what_was_verified_is_sealed(tmp_path, signed, secret, key_pair, monkeypatch):
    model = (signed / "payload" / "model.onnx").read_bytes()
    real = sealing.seal

    def seal(*arguments):
        (signed / "payload" / "model.onnx").write_bytes(model[::-1])
        real(*arguments)

    monkeypatch.setattr(sealing, "seal", seal)
    seal_bundle(signed, tmp_path / "out", [load_wrapping_key(secret)])
    bundle = read_bundle(tmp_path / "out", keys=Keys(trusted=(key_pair[1],), opening=(secret,)))
    assert (bundle.payload / "model.onnx").read_bytes() == model


def test_another_bundle_than_expected_is_neither_signed_nor_sealed(tmp_path, write, secret, key_pair):
    write(tmp_path / "bundle")
    other = Expected(digest="0" * 64)
    with pytest.raises(IntegrityError, match="another bundle"):
        sign_bundle(tmp_path / "bundle", load_signing_key(f"file:{key_pair[0]}"), expected=other)
    with pytest.raises(IntegrityError, match="another bundle"):
        seal_bundle(tmp_path / "bundle", tmp_path / "out", [load_wrapping_key(secret)], expected=other)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "bundle" / "signature.json").exists()


def test_what_was_encrypted_never_reaches_a_disk(sealed, secret, monkeypatch):
    monkeypatch.setattr(private, "_SMALL_BYTES", 0)
    monkeypatch.setattr(private, "available_bytes", lambda: 0)
    bundle = read_bundle(sealed, keys=Keys(opening=(secret,)))
    assert str((bundle.payload / "model.onnx").readlink().readlink()).startswith("/memfd:")
