import json
import warnings

import numpy as np
import onnxruntime
import pytest
import torch

from overwinter import models
from overwinter.errors import ConfigError, IntegrityError

transformers = pytest.importorskip("transformers", reason="the extra llm is not installed")

BERT = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
}
VIT = {key: BERT[key] for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")}
IDS = torch.tensor([[2, 5, 8, 3, 0, 0], [2, 7, 9, 11, 4, 3]])
TEXT = {"input_ids": IDS, "attention_mask": (IDS > 0).long(), "token_type_ids": torch.zeros_like(IDS)}
PIXELS = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
NAMES = {0: "calm", 1: "storm", 2: "snow"}


def network(kind, **settings):
    torch.manual_seed(0)
    sizes = VIT | {"image_size": 16, "patch_size": 8} if kind.startswith("ViT") else BERT
    config = transformers.ViTConfig if kind.startswith("ViT") else transformers.BertConfig
    return getattr(transformers, kind)(config(**sizes, **settings)).eval()


@pytest.fixture
def folder(tmp_path):
    def write(kind, **settings):
        network(kind, **settings).save_pretrained(tmp_path / kind)
        return tmp_path / kind

    return write


def read(folder, **given):
    node = {"_target_": "overwinter.models.pretrained", "root": str(folder), **given}
    return models.build_model(node, trusted=[], seed=3).eval()


@pytest.mark.parametrize(
    ("kind", "head", "batch"),
    [
        ("BertForSequenceClassification", "sequence_classification", TEXT),
        ("BertForTokenClassification", "token_classification", TEXT),
        ("ViTForImageClassification", "image_classification", {"pixel_values": PIXELS}),
    ],
)
def test_a_classifier_answers_as_transformers_does(folder, tmp_path, kind, head, batch):
    path = folder(kind, id2label=NAMES, label2id={name: number for number, name in NAMES.items()})
    model = read(path)
    assert (model.head, model.labels, model.fresh) == (head, ("calm", "storm", "snow"), ())
    with torch.inference_mode():
        expected = network(kind, num_labels=3)(**batch).logits
        assert torch.allclose(model(batch), expected, atol=1e-6)
        assert torch.equal(model(next(iter(batch.values()))), model({next(iter(batch)): next(iter(batch.values()))}))

    signature = models.find_signature(model, [{name: tensor[:1] for name, tensor in batch.items()}])
    models.save_model(tmp_path / "saved", model, variant="dense", model_config={}, signature=signature, lineage={})
    for file in path.iterdir():
        file.unlink()
    loaded = models.load_model(tmp_path / "saved", trusted=[])  # as an untrusted bundle does
    with torch.inference_mode():
        assert torch.equal(loaded(batch), model(batch))
    assert loaded.labels == model.labels


def test_an_encoder_pools_its_states(folder):
    path = folder("BertModel")
    expected = network("BertModel")(**TEXT).last_hidden_state
    weights = TEXT["attention_mask"][..., None]
    mean = (expected * weights).sum(1) / weights.sum(1)
    with torch.inference_mode():
        assert torch.allclose(read(path)(TEXT), mean, atol=1e-6)
        assert torch.allclose(read(path)(IDS), network("BertModel")(IDS).last_hidden_state.mean(1), atol=1e-6)
        (path / "modules.json").write_text(
            json.dumps([{"type": "x.Pooling", "path": "pool"}, {"type": "x.Normalize", "path": "2"}])
        )
        (path / "pool").mkdir()
        (path / "pool" / "config.json").write_text(json.dumps({"pooling_mode_cls_token": True}))
        model = read(path)
        first = torch.nn.functional.normalize(expected[:, 0], dim=-1)
        assert torch.allclose(model(TEXT), first, atol=1e-6)
    assert not any("pooler" in name for name in model.state_dict())


def test_an_encoder_of_images_pools_without_a_mask(folder):
    with torch.inference_mode():
        expected = network("ViTModel")(PIXELS).last_hidden_state.mean(1)
        assert torch.allclose(read(folder("ViTModel"))(PIXELS), expected, atol=1e-6)


def test_a_new_head_is_drawn_by_the_seed(folder):
    path = folder("BertModel")
    first, second = (read(path, head="sequence_classification", classes=5) for _ in range(2))
    assert first.fresh == ("classifier.bias", "classifier.weight")
    assert torch.equal(first.network.classifier.weight, second.network.classifier.weight)
    name = "embeddings.word_embeddings.weight"
    assert torch.equal(first.network.bert.get_parameter(name), network("BertModel").get_parameter(name))
    assert first(TEXT).shape == (2, 5)
    assert first.labels == ()


def test_a_new_head_on_the_pooled_states(folder, tmp_path):
    path = folder("BertModel")
    (path / "modules.json").write_text(json.dumps([{"type": "x.Normalize", "path": "2"}]))
    first, second = (read(path, head="pooled_classification", classes=5) for _ in range(2))
    assert first.fresh == ("classifier.bias", "classifier.weight")
    assert torch.equal(first.classifier.weight, second.classifier.weight)
    with torch.inference_mode():
        pooled = read(path, head="embedding")
        pooled.normalize = False  # a length carries information too
        assert torch.allclose(first(TEXT), first.classifier(pooled(TEXT)), atol=1e-6)

    signature = models.find_signature(first, [{name: tensor[:1] for name, tensor in TEXT.items()}])
    models.save_model(tmp_path / "saved", first, variant="dense", model_config={}, signature=signature, lineage={})
    with torch.inference_mode():
        assert torch.equal(models.load_model(tmp_path / "saved", trusted=[])(TEXT), first(TEXT))


def test_a_head_of_another_size_is_drawn_anew(folder):
    path = folder("BertForSequenceClassification", id2label=NAMES)
    model = read(path, classes=4)
    assert (model(TEXT).shape, model.fresh, model.labels) == ((2, 4), ("classifier.bias", "classifier.weight"), ())
    assert read(path, classes=3).fresh == ()
    assert read(path, classes=3).labels == ("calm", "storm", "snow")


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("BertModel", {"head": "sequence_classification"}, "has no head for sequence classification.*model.classes"),
        (
            "BertModel",
            {"head": "pooled_classification"},
            "pooled_classification is always a new one. Set model.classes",
        ),
        ("BertModel", {"head": "causal"}, "model.head='causal' is none that .* can have: causal_lm, sequence_class"),
        ("BertForQuestionAnswering", {}, "architecture 'BertForQuestionAnswering', whose head is not known"),
        ("ViTModel", {"head": "token_classification", "classes": 2}, "cannot be read"),
    ],
)
def test_a_head_that_cannot_be_had_is_told(folder, kind, given, message):
    with pytest.raises(ConfigError, match=message):
        read(folder(kind), **given)


def test_weights_that_are_missing_are_told(folder):
    from safetensors.torch import load_file, save_file

    path = folder("BertForSequenceClassification")
    weights = load_file(path / "model.safetensors")
    del weights["bert.encoder.layer.0.output.dense.weight"]
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(IntegrityError, match=r"lacks weights.*layer\.0\.output\.dense\.weight"):
        read(path, classes=2)


def test_arguments_that_are_none_of_the_choices_are_told():
    with pytest.raises(ConfigError, match=r"model.head='x' is none of sequence_classification"):
        models.PretrainedModel(config={"model_type": "bert"}, head="x")
    with pytest.raises(ConfigError, match=r"model.pooling='max' is none of mean, cls"):
        models.PretrainedModel(config={"model_type": "bert"}, head="embedding", pooling="max")
    with pytest.raises(ConfigError, match=r"model.head=embedding with classes=3: pooled_classification alone"):
        models.PretrainedModel(config={"model_type": "bert"}, head="embedding", classes=3)


def test_a_drawn_one_learns():
    model = models.PretrainedModel(config={"model_type": "bert", **BERT}, head="sequence_classification")
    torch.autograd.backward(model(**TEXT).sum())
    assert model.network.classifier.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("head", ["sequence_classification", "token_classification", "embedding"])
def test_onnx_follows_the_mask_at_other_lengths(tmp_path, head, padded):
    traced = TEXT if padded else TEXT | {"attention_mask": torch.ones_like(IDS)}
    model = models.adapt(models.PretrainedModel(config={"model_type": "bert", **BERT}, head=head)).eval()
    names = list(TEXT)
    axes = {name: {0: "batch", 1: "length"} for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(
            models.Positional(model, names),
            tuple(traced.values()),
            tmp_path / "model.onnx",
            dynamo=False,
            opset_version=17,
            input_names=names,
            dynamic_axes=axes,
        )
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for batch, length, end in ((1, 9, 9), (5, 4, 2)):
        ids = torch.randint(1, 40, (batch, length), generator=torch.Generator().manual_seed(length))
        mask = torch.ones_like(ids)
        mask[0, end:] = 0
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
        (found,) = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
        np.testing.assert_allclose(found, model(given).detach().numpy(), atol=1e-4)
