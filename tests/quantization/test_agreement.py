"""Whether a language model's variant is judged, layer by layer, by the outputs that it will be served with."""

import numpy as np

from overwinter import models, quantization, runtime
from overwinter.quantization import agreement
from overwinter.quantization.integer_variants import Int4Nearest
from overwinter.tasks import LanguageModeling
from tests.support.settings import quantize_settings


def test_a_language_models_variant_answers_as_it_is_served_without_being_dequantized(save_own, tmp_path):
    tokens = np.arange(64, dtype=np.int64).reshape(8, 8) % 5
    folder, variant = save_own("Reader"), tmp_path / "variant"
    request = quantization.Request(
        model=models.load_model(folder, trusted=["nets_to_quantize"]),
        description=models.load_description(folder),
        calibration=(tokens,),
        task=LanguageModeling(()),
        settings=quantize_settings("int4_nearest"),
        lineage={},
        trusted=["nets_to_quantize"],
        out=variant,
    )
    variant.mkdir()
    Int4Nearest().quantize(request)
    session = runtime.open_session(variant, "torch", 1, trusted=["nets_to_quantize"])
    asked = agreement._session(request)
    assert np.array_equal(session.run(tokens), asked.run(tokens))
    assert models.integer_layers(asked._model)
