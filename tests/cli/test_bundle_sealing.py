import json

import pytest

from overwinter.cli import main
from tests.support.bundles import two_inputs


@pytest.fixture
def bundle(tmp_path, monkeypatch, own_home):
    monkeypatch.chdir(tmp_path)
    lineage = {"inputs": {"train/model": "abc"}}
    return two_inputs(tmp_path / "bundle", lineage=lineage, licence="Apache-2.0").folder


@pytest.fixture
def do(bundle, capsys):
    """Run `overwinter bundle`; return the exit code and what it said: JSON, or the complaint."""

    def do(*words):
        code = main(["bundle", *words, "--json"])
        output = capsys.readouterr()
        assert "Traceback" not in output.err
        return code, json.loads(output.out) if code == 0 else output.err

    return do


def test_a_bundle_is_signed_sealed_rekeyed_and_opened(do, tmp_path):
    assert do("keygen", "sign", "key")[0] == do("keygen", "encrypt", "e1")[0] == do("keygen", "encrypt", "e2")[0] == 0
    assert {(tmp_path / name).stat().st_mode & 0o777 for name in ("key", "e1", "e2")} == {0o600}
    _, signed = do("sign", "bundle", "--sign-key", "file:key")
    assert do("seal", "bundle", "b.sealed", "--key", "file:e1")[0] == 0
    assert (tmp_path / "b.sealed").stat().st_mode & 0o777 == 0o600
    code, found = do("inspect", "b.sealed", "--key", "file:e1", "--trusted", "key.pub")
    assert (code, found["sealed"], found["signed_by"]) == (0, True, [signed["signed_by"]])
    assert found["licence"] == "Apache-2.0"
    assert do("rekey", "b.sealed", "--key", "file:e1", "--new-key", "file:e2")[0] == 0
    code, message = do("verify", "b.sealed", "--key", "file:e1")
    assert code == 4
    assert "encrypted for other keys" in message
    assert do("open", "b.sealed", "opened", "--key", "file:e2", "--trusted", "key.pub")[0] == 0
    assert (tmp_path / "opened" / "payload" / "model.onnx").read_bytes() == b"model"


def test_what_is_not_as_it_must_be_exits_with_4(do):
    do("keygen", "sign", "key")
    code, message = do("verify", "bundle", "--trusted", "key.pub")
    assert code == 4
    assert "is not signed" in message
    assert do("verify", "bundle", "--digest", "0" * 64)[0] == 4
    assert do("verify", "bundle", "--lineage", "inputs.train/model=abc")[0] == 0
    assert do("verify", "bundle", "--lineage", "inputs.train/model=other")[0] == 4
    assert do("wake", "bundle")[0] == 4  # b"model" is no model


def test_wrong_usage_exits_with_2(do, tmp_path):
    assert do("keygen", "encrypt", "e")[0] == 0
    code, message = do("keygen", "encrypt", "e")
    assert (code, "exists already" in message) == (2, True)
    assert do("verify", "bundle", "--lineage", "nothing")[0] == 2
    assert do("seal", "bundle", "out", "--key", "deadbeef")[0] == 2
    assert not (tmp_path / "out").exists()


def test_a_bundle_goes_through_a_store(do, tmp_path):
    code, first = do("publish", "bundle", "store#digits")
    assert (code, first["version"], first["alias"]) == (0, 1, "champion")
    do("keygen", "sign", "key")
    do("sign", "bundle", "--sign-key", "file:key")
    assert do("publish", "bundle", "store#digits@champion")[1]["version"] == 2
    assert do("list", "store#digits")[1]["aliases"] == {"champion": 2, "previous": 1}
    assert do("rollback", "store#digits")[1]["aliases"] == {"champion": 1, "previous": 2}
    assert do("alias", "store#digits@2", "canary")[1]["aliases"]["canary"] == 2
    assert do("verify", "store#digits@canary")[1]["digest"] == first["digest"]
    assert do("fetch", "store#digits@1", "fetched")[0] == 0
    assert do("verify", "fetched")[1]["digest"] == first["digest"]
    assert do("gc", "store", "--keep", "0")[1] == {"versions_forgotten": 0, "files_removed": 0}
    assert do("pin", "store#digits")[1]["pinned_change"] == 4
    (tmp_path / "store" / "names" / "digits" / "0000000004.json").unlink()
    code, message = do("wake", "store#digits")
    assert code == 4
    assert "went back" in message


def test_wrong_addresses_exit_with_2(do):
    assert do("list", "store")[0] == 2
    assert do("fetch", "store#nothing", "out")[0] == 2
    assert do("publish", "bundle", "store#digits@7")[0] == 2
