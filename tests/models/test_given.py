"""The file that a model came in, saved as variants."""

import pytest

from overwinter import models
from overwinter.errors import IntegrityError
from overwinter.models.given import AS_GIVEN, GIVEN_FILE, INPUT_FILE, is_given, save_given
from overwinter.runtime import refusal
from overwinter.signature import Signature
from tests.support.gguf_files import write_gguf

pytest.importorskip("transformers", reason="the extra llm is not installed")


def save(folder, path, variant):
    dense = models.pretrained(root=str(path))
    return save_given(
        folder,
        path,
        variant=variant,
        model_config=dense.saved_as(),
        signature=Signature.of_one([4], dtype="int64"),
        lineage={},
    )


@pytest.mark.parametrize("variant", [AS_GIVEN, INPUT_FILE])
def test_a_variant_is_the_file_itself(tmp_path, variant):
    path = write_gguf(tmp_path / "of_a_user.gguf")
    saved = save(tmp_path / variant, path, variant)
    assert (tmp_path / variant / GIVEN_FILE).read_bytes() == path.read_bytes()
    assert models.load_description(tmp_path / variant) == saved
    assert is_given(saved)
    assert models.stored_bytes(saved) == path.stat().st_size
    assert saved["quantization"] == {"method": variant, "formats": "dequantized Q4_1 (embedding Q8_0)"}


def test_torch_refuses_it_in_words(tmp_path):
    save(tmp_path / "saved", write_gguf(tmp_path / "of_a_user.gguf"), AS_GIVEN)
    for runtime in ("torch", "torch-bf16"):
        assert "would compute what dense computes" in refusal(tmp_path / "saved", runtime)


def test_a_dense_model_is_not_given(tmp_path):
    model = models.pretrained(root=str(write_gguf(tmp_path / "of_a_user.gguf")))
    saved = models.save_model(
        tmp_path / "saved",
        model,
        variant="dense",
        model_config=model.saved_as(),
        signature=Signature.of_one([4], dtype="int64"),
        lineage={},
    )
    assert not is_given(saved)


def test_an_altered_file_is_found(tmp_path):
    save(tmp_path / "saved", write_gguf(tmp_path / "of_a_user.gguf"), INPUT_FILE)
    with (tmp_path / "saved" / GIVEN_FILE).open("ab") as file:
        file.write(b"x")
    with pytest.raises(IntegrityError, match=GIVEN_FILE):
        models.load_description(tmp_path / "saved")
