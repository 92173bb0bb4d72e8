import pytest

from overwinter.config import check_settings
from overwinter.errors import ConfigError
from overwinter.quantization.settings import (
    CALIBRATION_METHODS,
    CalibratedQuantizeConfig,
    GridConfig,
    MixedConfig,
    QuantizeConfig,
    ScaleDistillationConfig,
)


def scale_distillation(**changes):
    return ScaleDistillationConfig(**{"steps": 0, "learning_rate": 0.001, "batch_size": 4, "zeros": False} | changes)


def grid(**changes):
    return {"head": GridConfig(**{"bits": 8, "group_size": None, "symmetric": True} | changes)}


def limits(size=None, nats=None):
    return MixedConfig(max_size_ratio=size, max_divergence=nats)


def check(**changes):
    values = {
        "methods": ["int8_static"],
        "calibration_samples": 256,
        "calibration_text": "data",
        "calibration_method": "minmax",
        "skip": [],
        "overrides": {},
        "embedding": "int8",
        "head": "as_embedding",
        "scale_distillation": scale_distillation(),
        "sensitivity_samples": 0,
        "mixed": MixedConfig(max_size_ratio=None, max_divergence=None),
        "min_agreement": 0.5,
    }
    settings = CalibratedQuantizeConfig(version=1, **values | changes)
    check_settings(settings, key="quantize")
    settings.check("quantize")


def test_good_values_pass():
    check()
    check(methods=["int8_static", "int8_dynamic"], calibration_method="entropy")
    check(calibration_text="both", overrides=grid(), scale_distillation=scale_distillation(steps=10))
    check(methods=["mixed"], mixed=limits(nats=0.01))
    QuantizeConfig(version=1, methods=[]).check("quantize")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"calibration_samples": 0}, "quantize.calibration_samples=0"),
        ({"calibration_method": "percentil"}, "'percentil' is unknown.*Did you mean 'percentile'"),
        ({"methods": ["int8_static", "int8_static"]}, "names int8_static twice"),
        ({"calibration_text": "genrated"}, "calibration_text='genrated' is unknown.*Did you mean 'generated'"),
        (
            {"calibration_text": "both"},
            r"calibration_text=both adds .* quantize\.scale_distillation\.steps=0 distils none",
        ),
        ({"overrides": grid(bits=16)}, r"quantize\.overrides\.head\.bits=16 must be at least 2 and at most 8"),
        ({"overrides": grid(group_size=0)}, r"quantize\.overrides\.head\.group_size=0"),
        ({"scale_distillation": scale_distillation(steps=-1)}, r"quantize\.scale_distillation\.steps=-1"),
        (
            {"scale_distillation": scale_distillation(learning_rate=0.0)},
            r"quantize\.scale_distillation\.learning_rate=0\.0",
        ),
        ({"scale_distillation": scale_distillation(batch_size=0)}, r"quantize\.scale_distillation\.batch_size=0"),
        ({"sensitivity_samples": -1}, r"quantize\.sensitivity_samples=-1"),
        ({"min_agreement": 1.5}, r"quantize\.min_agreement=1\.5"),
        ({"methods": ["mixed"]}, "needs one limit.*neither is set"),
        ({"methods": ["mixed"], "mixed": limits(0.3, 0.1)}, "max_size_ratio and max_divergence is set"),
        ({"methods": ["mixed"], "mixed": limits(size=-0.1)}, r"quantize\.mixed\.max_size_ratio=-0\.1"),
    ],
)
def test_bad_values_are_refused_with_their_key(changes, message):
    with pytest.raises(ConfigError, match=message):
        check(**changes)


def test_the_known_calibration_methods_are_those_of_the_quantizer():
    from overwinter.quantization.int8_static import _METHODS

    assert sorted(_METHODS) == sorted(CALIBRATION_METHODS)
