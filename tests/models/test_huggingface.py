import json

import pytest
import torch

from overwinter import models
from overwinter.errors import ConfigError, IntegrityError
from overwinter.models.transformers_library import quiet
from overwinter.signature import Signature
from tests.support.decoders import decoder
from tests.support.networks import LLAMA

transformers = pytest.importorskip("transformers", reason="the extra llm is not installed")

TOKENS = torch.tensor([[3, 5, 8, 13], [21, 2, 3, 4]])


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def folder(tmp_path, request):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**LLAMA, bos_token_id=1, eos_token_id=2, tie_word_embeddings=request.param)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


def test_it_answers_as_transformers_does(folder):
    expected = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    model = models.pretrained(root=str(folder))
    with torch.inference_mode():
        assert torch.equal(model(TOKENS), expected(input_ids=TOKENS).logits)


def test_it_may_be_in_s3(folder, s3, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    s3.makedirs("models", exist_ok=True)
    s3.put(str(folder), f"models/{tmp_path.name}", recursive=True)
    model, at_home = (models.pretrained(root=root) for root in (f"s3://models/{tmp_path.name}", str(folder)))
    with torch.inference_mode():
        assert torch.equal(model(TOKENS), at_home(TOKENS))


def test_a_saved_one_needs_not_the_folder_it_came_from(folder, tmp_path):
    model = models.pretrained(root=str(folder))
    saved = models.save_model(
        tmp_path / "saved",
        model,
        variant="dense",
        model_config=model.saved_as(),
        signature=Signature.of_one([4], dtype="int64"),
        lineage={},
    )
    for file in folder.iterdir():
        file.unlink()
    loaded = models.load_model(tmp_path / "saved", trusted=[])
    with torch.inference_mode():
        assert torch.equal(loaded(TOKENS), model(TOKENS))
    tied = model.config.get("tie_word_embeddings", True)
    assert ("network.lm_head.weight" in saved["tensors"]) is not tied
    assert (loaded.network.lm_head.weight is loaded.network.model.embed_tokens.weight) is tied


def test_a_place_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"model\.root='.*none' does not exist"):
        models.pretrained(root=str(tmp_path / "none"))


def test_an_unknown_architecture_is_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no_such_model"}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match="no_such_model"):
        models.pretrained(root=str(tmp_path))


def test_pickled_weights_are_not_read(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="pickle"):
        models.pretrained(root=str(folder))


def test_another_file_than_the_digest_names_is_refused(folder):
    with pytest.raises(IntegrityError, match=r"model\.sha256"):
        models.pretrained(root=str(folder), sha256="0" * 64)


def test_missing_weights_are_refused(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    weights.pop("model.norm.weight")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(IntegrityError, match=r"model\.norm\.weight"):
        models.pretrained(root=str(folder))


def test_a_file_that_is_no_gguf_is_refused(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ConfigError, match="neither a folder nor a"):
        models.pretrained(root=str(tmp_path / "model.bin"))


def save_family(folder, family, **changes):
    model = decoder(family, **changes)
    model.network.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("family", ["gemma3_text", "gpt2", "jamba", "mixtral"])
def test_families_that_write_token_by_token_are_read(tmp_path, family):
    models.pretrained(root=save_family(tmp_path, family))


def test_an_encoder_that_is_given_as_a_language_model_is_refused(tmp_path):
    """Its class is BertLMHeadModel, and its configuration says that it is no decoder."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = transformers.BertConfig(**sizes, intermediate_size=24, is_decoder=False, initializer_range=0.5)
    with quiet():
        transformers.BertLMHeadModel(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"BertLMHeadModel in which a token is predicted from later ones"):
        models.pretrained(root=str(tmp_path))


def test_a_model_without_a_cache_of_keys_and_values_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"MambaForCausalLM, which keeps no cache of keys and values"):
        models.pretrained(root=save_family(tmp_path, "mamba"))
