"""`overwinter export`: what it prints, and its exit codes."""

import json

import pytest

from overwinter.cli import main
from tests.support.exporting import outputs, put_to_sleep

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
        (["compressed-tensors", "MISSING", "OUT"], 4, "There is no bundle at"),
        (["compressed-tensors", "SAVED", "OUT", "--digest", "abcdef01"], 2, "has no signature, key or digest"),
        (["compressed-tensors", "BUNDLE", "OUT", "--digest", "abcdef01"], 4, "digest"),
    ],
)
def test_exit_codes(saved, tmp_path_factory, capsys, words, code, says):
    here = tmp_path_factory.mktemp("here")
    (here / "file").touch()
    places = {"SAVED": saved, "OUT": here / "out", "HERE": here, "MISSING": here / "none"}
    if "BUNDLE" in words:
        places["BUNDLE"] = put_to_sleep(saved, here / "asleep")
    try:
        found = main(["export", *(str(places.get(word, word)) for word in words)])
    except SystemExit as end:  # argparse's own
        found = end.code
    assert (found, says in capsys.readouterr().err) == (code, True)
    assert not (here / "out").exists()
