"""A language model in every format, loaded and asked to write by the program that the format is for."""

import functools
import json

import numpy as np
import pytest

from overwinter.errors import ConfigError
from overwinter.export import export, open_source
from overwinter.models import Grid, load_model, pretrained
from overwinter.models.given import AS_GIVEN, GIVEN, save_given
from overwinter.runtime.torch_language import TorchLanguageSession
from overwinter.signature import Signature
from tests.support.exporting import outputs, put_to_sleep, save_int4
from tests.support.gguf_files import write_gguf

pytest.importorskip("transformers", reason="the extra llm is not installed")

PROMPT = "hello"  # its next tokens are no near ties, which rounding would change
WRITTEN = 4


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def saved(project):
    return outputs(project)


@pytest.fixture(scope="module")
def expected(saved):
    """The tokens that the saved model writes after the prompt's."""

    def expected(prompt):
        session = TorchLanguageSession(load_model(saved, trusted=[]))
        written = list(prompt)
        logits, kept = session.step(np.array([written]))
        for _ in range(WRITTEN):
            written.append(int(logits[0].argmax()))
            logits, kept = session.step(np.array([written[-1:]]), kept)
        return written

    return expected


def test_onnxruntime_genai_writes_what_the_model_does(saved, tmp_path, expected):
    genai = pytest.importorskip("onnxruntime_genai", reason="the extra onnx-llm is not installed")
    exported = export(open_source(str(saved)), "onnx", tmp_path / "out")
    assert exported.divergence_nats < 0.02
    assert exported.read_by == "onnxruntime-genai"
    model = genai.Model(str(tmp_path / "out"))
    tokenizer, settings = genai.Tokenizer(model), genai.GeneratorParams(model)
    prompt = [int(token) for token in tokenizer.encode(PROMPT)]
    settings.set_search_options(max_length=len(prompt) + WRITTEN, do_sample=False)
    generator = genai.Generator(model, settings)
    generator.append_tokens(prompt)
    while not generator.is_done():
        generator.generate_next_token()
    written = [int(token) for token in generator.get_sequence(0)]
    assert written == expected(prompt)
    assert tokenizer.decode(generator.get_sequence(0)).startswith(PROMPT)


def openvino_genai_tokens(genai, path):
    """The tokens of a prompt, and those that openvino-genai's pipeline writes after them."""
    pipeline, settings = genai.LLMPipeline(str(path), "CPU"), genai.GenerationConfig()
    settings.max_new_tokens, settings.do_sample, settings.ignore_eos = WRITTEN, False, True
    given = pipeline.get_tokenizer().encode(PROMPT, add_special_tokens=False)
    written = pipeline.generate(given, settings).tokens[0]
    return [int(token) for token in given.input_ids.data[0]], [int(token) for token in written]


def test_openvino_genai_writes_what_the_model_does(saved, tmp_path, expected):
    genai = pytest.importorskip("openvino_genai", reason="the extra openvino is not installed")
    exported = export(open_source(str(saved)), "openvino", tmp_path / "out")
    assert exported.divergence_nats < 0.02
    assert exported.read_by == "openvino"
    prompt, written = openvino_genai_tokens(genai, tmp_path / "out")
    assert [*prompt, *written] == expected(prompt)


def test_openvino_genai_reads_the_gguf_file(saved, tmp_path, expected):
    genai = pytest.importorskip("openvino_genai", reason="the extra openvino is not installed")
    export(open_source(str(saved)), "gguf", tmp_path / "out")
    prompt, written = openvino_genai_tokens(genai, tmp_path / "out" / "model.gguf")
    assert [*prompt, *written] == expected(prompt)


def test_transformers_reads_the_gguf_file(saved, tmp_path):
    exported = export(open_source(str(saved)), "gguf", tmp_path / "out")
    assert exported.divergence_nats < 1e-3
    assert set(exported.files) == {"model.gguf"}
    assert exported.notes == ("tensors: 14 Q4_1, 5 F32, 1 Q8_0",)


def test_llama_cpp_writes_what_the_model_does(saved, tmp_path, expected):
    llama_cpp = pytest.importorskip("llama_cpp", reason="the extra llama-cpp is not installed")
    export(open_source(str(saved)), "gguf", tmp_path / "out")
    model = llama_cpp.Llama(str(tmp_path / "out" / "model.gguf"), n_ctx=64, n_threads=1)
    prompt = model.tokenize(PROMPT.encode(), add_bos=False)
    written = [token for token, _ in zip(model.generate(prompt, temp=0.0), range(WRITTEN), strict=False)]
    assert [*prompt, *written] == expected(prompt)


@pytest.mark.parametrize("name", ["gguf", "compressed-tensors"])
def test_a_bundle_with_weights_is_exported(saved, project, tmp_path, name):
    bundle = put_to_sleep(saved, tmp_path / "asleep")
    assert export(open_source(str(bundle)), name, tmp_path / "out").divergence_nats < 1e-3


def test_a_file_as_it_was_given_is_copied(tmp_path):
    path = write_gguf(tmp_path / "given.gguf")
    for variant in GIVEN:
        folder = tmp_path / variant
        model = pretrained(root=str(path))
        signature = Signature.of_one([None], dtype="int64")
        save_given(folder, path, variant=variant, model_config=model.saved_as(), signature=signature, lineage={})
        exported = export(open_source(str(folder)), "gguf", tmp_path / f"{variant} out")
        assert exported.notes == ("the file is that of the source, byte for byte",)
        assert (tmp_path / f"{variant} out" / "model.gguf").read_bytes() == path.read_bytes()
        with pytest.raises(ConfigError, match="have float minima"):
            export(open_source(str(folder)), "compressed-tensors", tmp_path / "out")


@pytest.mark.parametrize(("name", "package"), [("onnx", "onnxruntime_genai"), ("openvino", "openvino_genai")])
def test_a_files_own_integers_are_exported(saved, project, tmp_path, name, package):
    pytest.importorskip(package, reason=f"an extra for {name} is not installed")
    export(open_source(str(saved)), "gguf", tmp_path / "file")
    path, folder = tmp_path / "file" / "model.gguf", tmp_path / "given"
    model, signature = pretrained(root=str(path)), Signature.of_one([None], dtype="int64")
    save_given(folder, path, variant=AS_GIVEN, model_config=model.saved_as(), signature=signature, lineage={})
    source = open_source(str(folder), tokenizer=project / "outputs" / "train" / "tokenizer")
    assert export(source, name, tmp_path / "out").divergence_nats < 0.02


@pytest.fixture(scope="module")
def graphs(saved, tmp_path_factory):
    """Runtime -> a bundle of its files, without weights that torch could load."""

    def graphs(runtime, package):
        pytest.importorskip(package, reason=f"an extra for {runtime} is not installed")
        return put_to_sleep(saved, tmp_path_factory.mktemp(runtime), runtime=runtime)

    return functools.cache(graphs)


GRAPHS = {"onnx": ("onnxruntime", "onnxruntime_genai"), "openvino": ("openvino", "openvino_genai")}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_bundle_of_a_runtime_becomes_its_pipelines_folder(graphs, tmp_path, name):
    exported = export(open_source(str(graphs(*GRAPHS[name]))), name, tmp_path / "out")
    assert exported.divergence_nats < 0.01  # openvino-genai keeps keys and values in 8 bits
    if name == "onnx":
        import onnxruntime_genai

        config = json.loads((tmp_path / "out" / "genai_config.json").read_text())["model"]
        assert (config["decoder"]["hidden_size"], config["decoder"]["num_attention_heads"]) == (64, 4)
        assert (config["vocab_size"], config["context_length"], config["eos_token_id"]) == (288, 128, 259)
        onnxruntime_genai.Model(str(tmp_path / "out"))
    else:
        import openvino_genai

        assert openvino_genai_tokens(openvino_genai, tmp_path / "out")


def test_a_bundle_of_a_graph_has_no_weights_to_write(graphs, tmp_path):
    source = open_source(str(graphs(*GRAPHS["onnx"])))
    for name in ("gguf", "openvino", "compressed-tensors"):
        with pytest.raises(
            ConfigError, match=r"holds what onnxruntime runs and no weights.*quantize/model/int4_nearest"
        ):
            export(source, name, tmp_path / "out")


def test_another_models_tokenizer_is_refused(project, saved, tmp_path):
    small = save_int4(project / "outputs" / "quantize" / "model" / "small", grid=Grid(bits=8), vocab_size=200)
    with pytest.raises(ConfigError, match="and the model knows 200: it is another model's"):
        export(open_source(str(small)), "compressed-tensors", tmp_path / "out")
