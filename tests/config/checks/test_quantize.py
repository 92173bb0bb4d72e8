from types import SimpleNamespace

import pytest

from overwinter.config.checks.quantize import check_quantize
from overwinter.config.groups import CalibratedQuantizeConfig, QuantizeConfig
from overwinter.errors import ConfigError


def check(**changes):
    values = {
        "methods": ["int8_static"],
        "calibration_samples": 256,
        "calibration_method": "minmax",
        "skip": [],
    }
    check_quantize(SimpleNamespace(quantize=CalibratedQuantizeConfig(version=1, **values | changes)))


def test_good_values_pass():
    check()
    check(methods=["int8_static", "int8_dynamic"], calibration_method="entropy")
    check_quantize(SimpleNamespace(quantize=QuantizeConfig(version=1, methods=[])))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"calibration_samples": 0}, "quantize.calibration_samples=0"),
        ({"calibration_method": "percentil"}, "'percentil' is unknown.*Did you mean 'percentile'"),
        ({"methods": ["int8_static", "int8_static"]}, "names int8_static twice"),
    ],
)
def test_bad_values_are_refused_with_their_key(changes, message):
    with pytest.raises(ConfigError, match=message):
        check(**changes)


def test_the_known_calibration_methods_are_those_of_the_quantizer():
    from overwinter.config.checks.quantize import CALIBRATION_METHODS
    from overwinter.quantization.int8_static import _METHODS

    assert sorted(_METHODS) == sorted(CALIBRATION_METHODS)
