"""Integers as ONNX Runtime's products store them: the values are those of a GGUF file's blocks."""

import numpy as np
import pytest

from overwinter.models.gguf_blocks import FORMATS, take_apart
from overwinter.runtime.onnx_language_integers import gguf_sources

gguf = pytest.importorskip("gguf", reason="the extra llm is not installed")


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_stored_rows_have_the_values_of_the_file(kind):
    size, of_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    data = np.random.default_rng(0).integers(0, 60, (6, 3 * of_bytes), dtype=np.uint8)  # no float16 that is infinite
    matrix = take_apart(data, kind)
    stored = gguf_sources({"layer": matrix})["layer"].rows(slice(2, 5))
    codes = stored.codes.numpy().reshape(*stored.scale.shape, -1) - float(1 << (stored.layout.bits - 1))
    values = codes * stored.scale.numpy()[..., None]
    if stored.minimum is not None:
        values += (stored.minimum + stored.layout.middle * stored.scale).numpy()[..., None]
    expected = matrix.dequantize()[2:5]
    np.testing.assert_allclose(values.reshape(3, 3 * size), expected, rtol=0, atol=1e-6 * np.abs(expected).max())
