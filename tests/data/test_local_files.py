import subprocess
import sys
from types import SimpleNamespace

import fsspec
import pytest

from overwinter.data.local_files import check_data, check_data_files, remote_places, remote_versions
from overwinter.errors import ConfigError


def test_a_root_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"data\.root='.*none' does not exist"):
        check_data_files({"_target_": "my_package.Data", "root": str(tmp_path / "none")})


def test_a_root_may_be_in_an_installed_package():
    check_data_files({"_target_": "my_package.Data", "root": "package:numpy/__init__.py"})
    with pytest.raises(ConfigError, match="the package 'absent_xyz' is not installed"):
        check_data_files({"_target_": "my_package.Data", "root": "package:absent_xyz/table.csv"})


@pytest.mark.parametrize("config", [{}, {"_target_": ""}, {"_target_": 3}])
def test_a_missing_target_is_refused(config):
    with pytest.raises(ConfigError, match=r"data\._target_ is missing"):
        check_data_files(config)


def test_a_root_of_the_wrong_type_is_refused():
    with pytest.raises(ConfigError, match=r"data\.root=3 must be a path"):
        check_data_files({"_target_": "my_package.Data", "root": 3})


def test_data_without_files_passes():
    check_data_files({"_target_": "overwinter.data.Digits"})


def test_the_check_needs_no_torch():
    program = "import sys, overwinter.data.local_files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("target", ["my_package.Data", "overwinter.data.FashionMnist", "overwinter.data.Text"])
def test_a_root_at_an_address_is_looked_at(target):
    files = fsspec.filesystem("memory")
    files.store.clear()
    config = {"_target_": target, "root": "memory://texts", "length": 8}
    with pytest.raises(ConfigError, match="'memory://texts' does not exist"):
        check_data_files(config)
    files.pipe("/texts/a.txt", b"words")
    check_data_files(config)
    assert list(remote_versions(configured(config))["data"]) == ["memory://texts"]


def configured(data, model=None, teacher=None):
    return SimpleNamespace(data=data, model=model or {}, train=SimpleNamespace(teacher=teacher))


def test_a_text_may_be_in_several_places():
    def places(**data):
        return remote_places(configured({"_target_": "overwinter.data.Text", **data}))

    found = {"data": {"s3://seasons/*.txt": "data.root"}}
    assert places(paths=["plays/*.txt", "s3://seasons/*.txt"]) == found
    assert list(places(root="s3://seasons", paths=["plays/*.txt"])["data"]) == ["s3://seasons/plays/*.txt"]
    assert places(root=None, paths=[]) == {}


def test_a_model_and_its_tokenizer_may_be_at_an_address():
    data = {"_target_": "my_package.Data", "root": "data/mine", "tokenizer": "s3://models/small"}
    assert remote_places(configured(data, {"root": "s3://models/small"})) == {
        "data": {"s3://models/small": "data.tokenizer"},
        "model": {"s3://models/small": "model.root"},
    }
    hub = f"hf:owner/name@{'0' * 40}"
    assert remote_places(configured({"tokenizer": hub}, {"root": hub})) == {}


def test_a_teacher_at_an_address_is_refused_by_name():
    data = {"_target_": "overwinter.data.Digits"}
    with pytest.raises(ConfigError, match=r"train\.teacher='s3://models/teacher' is not on this machine"):
        check_data(configured(data, teacher="s3://models/teacher"))
