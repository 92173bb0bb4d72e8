"""`overwinter export`: what it prints, and its exit codes."""

import json
import shutil

import pytest

from overwinter import manifest
from overwinter.cli import main
from tests.support.exporting import outputs, put_to_sleep, save_tokenizer

pytest.importorskip("transformers", reason="the extra llm is not installed")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return outputs(tmp_path_factory.mktemp("project"))


def test_it_says_what_was_written_and_how_far_it_is(saved, tmp_path, capsys):
    assert main(["export", "compressed-tensors", str(saved), str(tmp_path / "out")]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith(f"int4_nearest as compressed-tensors in {tmp_path / 'out'}: ")
    assert "nats from the saved model's predictions as overwinter.formats reads it" in first
    assert any(line.startswith("  model.safetensors") for line in lines)


def test_json_has_the_same(saved, tmp_path, capsys):
    assert main(["export", "compressed-tensors", str(saved), str(tmp_path / "out"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["variant"] == "int4_nearest"
    assert report["divergence_nats"] < 1e-4
    assert report["files"]["config.json"] > 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["ggf", "SAVED", "OUT"], 2, "invalid choice"),
        (["compressed-tensors", "SAVED", "HERE"], 2, "is not empty"),
        (["compressed-tensors", "SAVED", "FILE"], 2, "file is a file. Name another folder."),
        (["compressed-tensors", "SAVED", "FILE/OUT"], 2, "file is a file. Name another folder."),
        (["compressed-tensors", "SAVED", "/proc/x/y"], 2, "/proc/x/y cannot be written: No such file or directory. N"),
        (["compressed-tensors", "MISSING", "OUT"], 2, "There is no saved model or bundle at"),
        (["compressed-tensors", "SAVED", "OUT", "--digest", "abcdef01"], 2, "has no signature, key or digest"),
        (["compressed-tensors", "BUNDLE", "OUT", "--digest", "abcdef01"], 4, "digest"),
    ],
)
def test_exit_codes(saved, tmp_path_factory, capsys, words, code, says):
    here = tmp_path_factory.mktemp("here")
    (here / "file").touch()
    places = {"SAVED": saved, "OUT": here / "out", "HERE": here, "MISSING": here / "none", "FILE": here / "file"}
    places["FILE/OUT"] = here / "file" / "out"
    if "BUNDLE" in words:
        places["BUNDLE"] = put_to_sleep(saved, here / "asleep")
    try:
        found = main(["export", *(str(places.get(word, word)) for word in words)])
    except SystemExit as end:  # argparse's own
        found = end.code
    assert (found, says in capsys.readouterr().err) == (code, True)
    assert not (here / "out").exists()


@pytest.mark.parametrize("form", ["compressed-tensors", "gguf"])
@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("tokenizer.json", '{"model": {"vocab', "cannot be read"),
        ("tokenizer.json", "{}", "is no tokenizer"),
        ("tokenizer_config.json", "{", "cannot be read"),
    ],
)
def test_a_damaged_tokenizer_is_named(saved, tmp_path, capsys, form, name, content, says):
    tokenizer = save_tokenizer(tmp_path / "tokenizer")
    (tokenizer / name).write_text(content)
    words = [form, str(saved), str(tmp_path / "out"), "--tokenizer", str(tokenizer)]
    assert main(["export", *words]) == 4
    assert f"{tokenizer / name} {says}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "hint"), [("mine.Net", "add its package: --trust-code mine"), ("os.system", "os is part of Python")]
)
def test_untrusted_code_comes_with_this_commands_option_unless_it_is_pythons_own(saved, tmp_path, capsys, target, hint):
    copied = shutil.copytree(saved, tmp_path / "saved")
    content = manifest.read_sealed(copied / "model.json", remedy="")
    manifest.write_sealed(copied / "model.json", content | {"model": {"_target_": target}})
    assert main(["export", "onnx", str(copied), str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert hint in said
    assert "trusted_targets" not in said
