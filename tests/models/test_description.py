import pytest

from overwinter import manifest
from overwinter.errors import IntegrityError
from overwinter.models import already_verified, load_description, signature_of
from overwinter.signature import Signature


def reseal(folder, **changes):
    path = folder / "model.json"
    content = manifest.read_sealed(path, remedy="") | changes
    manifest.write_sealed(path, {key: value for key, value in content.items() if value != "left out"})


def test_a_newer_schema_is_refused(convnet, config, save, tmp_path):
    save(convnet, config)
    reseal(tmp_path / "model", schema=2)
    with pytest.raises(IntegrityError, match="schema 2; this Overwinter reads 1"):
        load_description(tmp_path / "model")


@pytest.mark.parametrize("key", ["variant", "tensors", "files", "signature", "quantization"])
def test_a_missing_key_is_named(convnet, config, save, tmp_path, key):
    save(convnet, config)
    reseal(tmp_path / "model", **{key: "left out"})
    if key == "quantization":  # none is what an unquantized model has
        assert load_description(tmp_path / "model").get(key) is None
        return
    with pytest.raises(IntegrityError, match=f"lacks {key}"):
        load_description(tmp_path / "model")


def test_files_are_not_digested_twice_where_they_were_verified(convnet, config, save, tmp_path):
    save(convnet, config)
    weights = tmp_path / "model" / "weights.safetensors"
    weights.write_bytes(b"altered" + weights.read_bytes()[7:])
    with already_verified(tmp_path / "model"):
        load_description(tmp_path / "model")
        with already_verified(tmp_path / "another"), pytest.raises(IntegrityError, match="altered"):
            load_description(tmp_path / "model")
    with pytest.raises(IntegrityError, match="altered"):
        load_description(tmp_path / "model")


def test_a_model_of_before_signatures_is_read(convnet, config, save, tmp_path):
    save(convnet, config)
    reseal(tmp_path / "model", signature="left out", output="left out", input_shape=[1, 8, 8])
    assert signature_of(load_description(tmp_path / "model")) == Signature.of_one([1, 8, 8])
    assert load_description(tmp_path / "model")["output"] is None
