"""Sources, refusals, and what is in the folder afterwards: everything or nothing."""

import json
import stat

import numpy as np
import pytest

from overwinter.bundle import Keys, seal_bundle
from overwinter.bundle.sealed import load_wrapping_key
from overwinter.errors import ConfigError, IntegrityError, OverwinterError
from overwinter.export import export, open_source
from overwinter.export import writing as writing_module
from overwinter.export.compressed_tensors_format import CompressedTensorsFormat
from tests.support.exporting import TOKENS, outputs, put_to_sleep
from tests.support.networks import language_model, save_language_model

pytest.importorskip("transformers", reason="the extra llm is not installed")

NAME = "compressed-tensors"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def saved(project):
    return outputs(project)


@pytest.fixture(scope="module")
def bundle(saved, project):
    return put_to_sleep(saved, project / "asleep")


def test_a_saved_model_is_exported_with_the_tokenizer_beside_it(saved, tmp_path):
    exported = export(open_source(str(saved)), NAME, tmp_path / "new" / "out")
    assert (exported.variant, exported.read_by) == ("int4_nearest", "overwinter.formats")
    assert exported.notes[0].endswith("no integer embedding or head: 8-bit lm_head and 8-bit model.embed_tokens")
    assert 0 <= exported.divergence_nats < 1e-4
    found = {path.name: path.stat().st_size for path in (tmp_path / "new" / "out").iterdir()}
    assert found == exported.files
    assert set(found) == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new" / "out").iterdir()} == {0o644}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_a_bundle_is_compared_on_its_recorded_text(bundle, tmp_path):
    source = open_source(str(bundle))
    assert np.array_equal(source.samples, TOKENS)
    assert export(source, NAME, tmp_path / "out").divergence_nats < 1e-4


def test_a_sealed_bundle_needs_its_key(bundle, tmp_path):
    (tmp_path / "key").write_text("ab" * 32)
    (tmp_path / "key").chmod(0o600)
    key = f"file:{tmp_path / 'key'}"
    seal_bundle(bundle, tmp_path / "sealed", [load_wrapping_key(key)])
    with pytest.raises(IntegrityError):
        open_source(str(tmp_path / "sealed"))
    source = open_source(str(tmp_path / "sealed"), keys=Keys(opening=(key,)))
    assert export(source, NAME, tmp_path / "out").divergence_nats < 1e-4


def test_an_altered_bundle_is_refused(saved, project, tmp_path):
    bundle = put_to_sleep(saved, tmp_path / "asleep")
    path = bundle / "payload" / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(IntegrityError):
        open_source(str(bundle))


def test_several_variants_are_named(saved):
    (saved.parent / "variants.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"holds 1 variants: int4_nearest\. Name one"):
        open_source(str(saved.parent))


def test_a_saved_model_has_no_signature(saved, tmp_path):
    with pytest.raises(ConfigError, match="a saved model, which has no signature"):
        open_source(str(saved), keys=Keys(trusted=(tmp_path / "key.pub",)))


def test_a_folder_that_is_in_use_is_left_alone(saved, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="is not empty"):
        export(open_source(str(saved)), NAME, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    saved = save_language_model(tmp_path / "saved", language_model())
    with pytest.raises(ConfigError, match=r"\(dense\) cannot be exported as compressed-tensors: it holds integer"):
        export(open_source(str(saved)), NAME, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_a_tokenizer_it_is_refused(saved, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in saved.iterdir():
        (alone / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ConfigError, match="--tokenizer outputs/train/tokenizer"):
        export(open_source(str(alone)), NAME, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"has no tokenizer\.json"):
        open_source(str(alone), tokenizer=tmp_path)


@pytest.mark.parametrize("broken", ["write", "read"])
def test_a_failure_leaves_nothing(saved, tmp_path, monkeypatch, broken):
    def fail(self, source, folder):
        (folder / "half").write_text("half")
        raise OverwinterError("it broke")

    monkeypatch.setattr(CompressedTensorsFormat, broken, fail)
    with pytest.raises(OverwinterError, match="it broke"):
        export(open_source(str(saved)), NAME, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("found", [0.5, float("nan")])
def test_other_predictions_are_not_exported(saved, tmp_path, monkeypatch, found):
    monkeypatch.setattr(writing_module, "apart", lambda source, logits: found)
    with pytest.raises(OverwinterError, match="predicts otherwise than the saved model"):
        export(open_source(str(saved)), NAME, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_written_value_that_is_wrong_is_found(saved, tmp_path, monkeypatch):
    real = CompressedTensorsFormat.write

    def wrong(self, source, folder):
        notes = real(self, source, folder)
        from safetensors.torch import load_file, save_file

        tensors = load_file(folder / "model.safetensors")
        tensors["model.layers.0.mlp.down_proj.weight_packed"] *= 3
        save_file(tensors, folder / "model.safetensors")
        return notes

    monkeypatch.setattr(CompressedTensorsFormat, "write", wrong)
    with pytest.raises(OverwinterError, match="predicts otherwise"):
        export(open_source(str(saved)), NAME, tmp_path / "out")


def test_the_configuration_says_the_grids(saved, tmp_path):
    export(open_source(str(saved)), NAME, tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["quantization_config"]["config_groups"]["group_0"]["weights"]["group_size"] == 32
