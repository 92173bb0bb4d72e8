import contextlib

import fsspec
import pytest

from overwinter.errors import ConfigError
from overwinter.models.local_files import check_model_files, model_path

PRETRAINED = {"_target_": "overwinter.models.pretrained", "root": "/nowhere"}


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        (None, "model.root=None must name a folder or a .gguf file"),
        ("HuggingFaceTB/SmolLM2-135M", "is not on this machine.*model.root=hf:OWNER/NAME@COMMIT.*hf download"),
        ("hf://owner/name", "must be hf:OWNER/NAME@COMMIT"),
        ("hf:owner/name@main", "must be hf:OWNER/NAME@COMMIT"),
        ("memory://nowhere/model.gguf", "does not exist"),
        ("/nowhere/at/all", "does not exist"),
        ("package:no_such_package/model.gguf", "'no_such_package' is not installed"),
    ],
)
def test_what_is_not_on_this_machine_is_refused(root, expected):
    with pytest.raises(ConfigError, match=expected):
        model_path(root)


def test_what_is_no_model_is_refused_step_by_step(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"neither a folder nor a \.gguf file"):
        model_path(str(tmp_path / "model.bin"))
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        model_path(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="pickle"):
        model_path(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"x")
    assert model_path(str(tmp_path)) == tmp_path


def test_a_missing_package_is_named_before_anything_runs(tmp_path, monkeypatch):
    (tmp_path / "model.gguf").write_bytes(b"x")
    settings = PRETRAINED | {"root": str(tmp_path / "model.gguf")}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "gguf" else object())
    with pytest.raises(ConfigError, match=r"need the package gguf.*\n.*overwinter\[llm\]"):
        check_model_files(settings)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    check_model_files(settings)
    check_model_files({"_target_": "my.Net"})


def test_a_model_on_the_hub_is_not_fetched_by_the_check():
    check_model_files(PRETRAINED | {"root": f"hf:owner/name@{'0' * 40}"})
    with pytest.raises(ConfigError, match="40 hexadecimal digits"):
        check_model_files(PRETRAINED | {"root": "hf:owner/name"})


@pytest.fixture
def memory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = fsspec.filesystem("memory")
    files.store.clear()
    return files


def test_a_model_at_an_address_is_looked_at_without_being_fetched(memory, tmp_path):
    settings = PRETRAINED | {"root": "memory://models/small"}
    for name, expected in (
        ("onnx/model.safetensors", r"has no config\.json"),
        ("config.json", r"has no \*\.safetensors"),
        ("model.safetensors", ""),
    ):
        memory.pipe(f"/models/small/{name}", b"{}")
        with pytest.raises(ConfigError, match=expected) if expected else contextlib.nullcontext():
            check_model_files(settings)
    assert not (tmp_path / "cache").exists()
    with pytest.raises(ConfigError, match=r"neither a folder nor a \.gguf file"):
        check_model_files(PRETRAINED | {"root": "memory://models/small/config.json"})


def test_a_model_at_an_address_is_copied_and_keeps_its_names(memory, tmp_path):
    memory.pipe({"/models/small/config.json": b"{}", "/models/small/model.safetensors": b"x", "/models/a.gguf": b"g"})
    folder, file = model_path("memory://models/small"), model_path("memory://models/a.gguf")
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    assert (file.name, file.read_bytes()) == ("a.gguf", b"g")
    assert folder.is_relative_to(tmp_path)
