import json

import pytest
import torch

from overwinter import models
from overwinter.errors import ConfigError
from overwinter.models.hub import hub_folder, is_on_hub
from tests.support.networks import LLAMA

transformers = pytest.importorskip("transformers", reason="the extra llm is not installed")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
PLACE = f"hf:someone/tiny@{COMMIT}"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The hub's cache, in which one commit of a model lies; the hub itself cannot be reached."""
    import huggingface_hub.constants as settings

    monkeypatch.setattr(settings, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(settings, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "hub" / "models--someone--tiny" / "snapshots" / COMMIT
    transformers.LlamaForCausalLM(transformers.LlamaConfig(**LLAMA)).save_pretrained(folder)
    return folder


def test_a_commit_in_the_cache_is_read_without_the_network(cache):
    assert hub_folder(PLACE) == cache
    model = models.pretrained(root=PLACE)
    assert model(torch.tensor([[1, 2]])).shape == (1, 2, LLAMA["vocab_size"])


def test_neither_pickle_nor_code_is_asked_for(cache, monkeypatch):
    from fnmatch import fnmatch

    import huggingface_hub

    asked = {}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **given: asked.update(given) or str(cache))
    hub_folder(PLACE)
    assert asked["revision"] == COMMIT

    def fetched(name):
        return any(fnmatch(name, pattern) for pattern in asked["allow_patterns"])

    assert all(map(fetched, ["config.json", "model-00001-of-2.safetensors", "1_Pooling/config.json", "tokenizer.json"]))
    assert not any(
        map(fetched, ["pytorch_model.bin", "modeling_own.py", "model.pt", "training_args.bin", "model.onnx"])
    )


def test_a_commit_that_is_nowhere_is_told(cache):
    with pytest.raises(ConfigError, match=r"(?s)could not be fetched: .*hf download someone/tiny --revision 9999"):
        hub_folder(f"hf:someone/tiny@{'9' * 40}")


@pytest.mark.parametrize(
    "place", ["hf:tiny", "hf:someone/tiny", "hf:someone/tiny@main", f"hf:someone/../tiny@{COMMIT}"]
)
def test_a_model_without_its_commit_is_refused(place):
    assert is_on_hub(place)
    with pytest.raises(ConfigError, match="must be hf:OWNER/NAME@COMMIT"):
        hub_folder(place)


def test_a_folder_of_the_hub_without_safetensors_is_refused(cache):
    (cache / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="Weights in pickle are not read"):
        models.pretrained(root=PLACE)


def test_a_configuration_that_wants_its_authors_code_is_refused(cache):
    config = json.loads((cache / "config.json").read_text())
    (cache / "config.json").write_text(json.dumps(config | {"model_type": "own", "auto_map": {"AutoConfig": "own.C"}}))
    with pytest.raises(ConfigError, match="without code of the model's authors"):
        models.pretrained(root=PLACE)
