"""A model of tokens from a text to a response: exported, put to sleep with its tokenizer, woken, asked."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from overwinter import models, runtime
from overwinter.bundle import BundleFacts, hibernate, wake
from overwinter.data import TokenizedText
from overwinter.inputs import to_tensors
from overwinter.serving.worker.embeddings import embed
from overwinter.serving.worker.inference import infer
from overwinter.serving.worker.predict import predict

tokenizers = pytest.importorskip("tokenizers", reason="the extra llm is not installed")
TEXTS = ["the cat sat", "cat", "the the cat", "sat the cat sat"]
CODE = """
import torch

class Encoder(torch.nn.Module):
    def __init__(self, words, width, classes):
        super().__init__()
        self.embedding = torch.nn.Embedding(words, width)
        self.head = torch.nn.Linear(width, classes) if classes else None

    def forward(self, input_ids, attention_mask):
        weights = attention_mask.float().unsqueeze(-1)
        pooled = (self.embedding(input_ids) * weights).sum(1) / weights.sum(1).clamp(min=1)
        return {"logits": self.head(pooled)} if self.head is not None else pooled
"""
LEAN = """
import sys
from overwinter.bundle import wake
assert wake(sys.argv[1]).predict(["the cat"])[0]["label"] in ("yes", "no")
loaded = {"torch", "transformers", "hydra", "omegaconf", "PIL"} & set(sys.modules)
assert not loaded, loaded
"""


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    extras = tmp_path_factory.mktemp("extras")
    (extras / "tokenizer").mkdir()
    words = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "the", "cat", "sat"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(extras / "tokenizer" / "tokenizer.json"))
    (extras / "tokenizer" / "tokenizer_config.json").write_text('{"pad_token": "[PAD]"}')
    return TokenizedText(extras / "tokenizer", max_length=8)


@pytest.fixture
def asleep(text, tmp_path, monkeypatch):
    """Return a bundle of a model with so many classes, or of an encoder."""

    def asleep(classes, *, name="onnxruntime"):
        (tmp_path / "reader.py").write_text(CODE)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "reader", raising=False)
        config = {"_target_": "reader.Encoder", "words": 5, "width": 6, "classes": classes}
        torch.manual_seed(0)
        model = models.build_model(config, trusted=["reader"]).eval()
        singles = [to_tensors(text.prepare([each])) for each in TEXTS]
        signature = models.find_signature(model, singles)
        saved, payload = tmp_path / "saved", tmp_path / "payload"
        models.save_model(saved, model, variant="dense", model_config=config, signature=signature, lineage={})
        payload.mkdir()
        runtime.build(saved, name, payload, examples=text.prepare(TEXTS), trusted=["reader"])
        facts = BundleFacts(
            variant="dense",
            runtime=name,
            signature=signature,
            labels=("no", "yes") if classes else (),
            preprocessing=text.to_json(),
            production_energy_j=None,
            lineage={},
            task={"name": "classification" if classes else "embeddings"},
        )
        return hibernate(
            tmp_path / "bundle",
            payload=payload,
            facts=facts,
            canary_inputs=text.prepare(TEXTS),
            canary_raw=TEXTS,
            canary_tolerance=1e-3,
            extras=text.extras.parent,
            trusted=["reader"],
        )

    return asleep


def of_json(reply):
    return json.loads(reply.body)


def test_a_text_gets_a_response_by_every_way(asleep):
    bundle = asleep(2)
    assert [str(spec) for spec in bundle.signature.inputs] == [
        "input_ids: int64 [any, any]",
        "attention_mask: int64 [any, any]",
    ]
    assert bundle.canary.raw == TEXTS
    model = wake(bundle.folder)
    expected = model.predict(["cat sat", "the"])
    ask = {"name": "m", "max_values": 1000}
    said = of_json(predict(model, {}, json.dumps({"instances": ["cat sat", "the"]}).encode(), **ask))
    assert said["predictions"] == expected
    plain = of_json(predict(model, {"content-type": "text/plain"}, b"cat sat", **ask))["predictions"]
    assert plain[0]["probability"] == pytest.approx(expected[0]["probability"], rel=1e-5)
    raw = {"name": "raw", "datatype": "BYTES", "shape": [2], "data": ["cat sat", "the"]}
    outputs = {
        each["name"]: each
        for each in of_json(infer(model, {}, json.dumps({"inputs": [raw]}).encode(), **ask))["outputs"]
    }
    assert outputs["label"]["data"] == [each["label"] for each in expected]


def test_an_encoder_embeds(asleep):
    model = wake(asleep(0).folder)
    body = json.dumps({"model": "m", "input": ["cat sat", "the"]}).encode()
    content = of_json(embed(model, {}, body, name="m", max_values=1000))
    assert content["usage"]["prompt_tokens"] == 3
    outputs = model.run(model.prepare(["cat sat", "the"]))
    np.testing.assert_allclose([each["embedding"] for each in content["data"]], outputs, rtol=1e-5)


def test_a_text_wakes_a_graph_without_torch(asleep):
    command = [sys.executable, "-W", "error", "-c", LEAN, str(asleep(2).folder)]
    subprocess.run(command, env={"PYTHONPATH": os.pathsep.join(sys.path)}, check=True)


def test_torch_serves_it_too(asleep):
    bundle = asleep(2, name="torch")
    assert wake(bundle.folder, trusted=["reader"]).predict(["cat"])[0]["label"] in ("no", "yes")
