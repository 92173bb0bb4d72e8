import re

import pytest
import torch

from overwinter.errors import ConfigError, IntegrityError
from overwinter.models import build_model, own_models, rebuild_model


class Thing:
    def __init__(self):
        pytest.fail("it was called")


def no_module():
    return "text"


def factory(width):
    return torch.nn.Linear(2, width)


def test_equal_seeds_make_equal_weights(config):
    first, second, other = (build_model(config, trusted=[], seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.head.weight, second.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)


def test_the_global_generator_is_left_as_it_was(config):
    before = torch.random.get_rng_state()
    build_model(config, trusted=[], seed=5)
    assert torch.equal(before, torch.random.get_rng_state())


def test_what_is_no_module_is_refused():
    with pytest.raises(ConfigError, match=r"made a str, not a torch\.nn\.Module"):
        build_model({"_target_": f"{__name__}.no_module"}, trusted=[__name__])
    with pytest.raises(ConfigError, match=r"is the class Thing, not a class that derives from torch\.nn\.Module"):
        build_model({"_target_": f"{__name__}.Thing"}, trusted=[__name__])


def test_a_function_makes_a_model_of_ones_own_configuration_and_none_of_a_strangers():
    node = {"_target_": f"{__name__}.factory", "width": 3}
    assert build_model(node, trusted=[__name__]).out_features == 3
    saved = {"model": node, "files": {}, "tensors": {}}
    with own_models():
        assert rebuild_model(saved, trusted=[__name__]).out_features == 3
        with own_models(False), pytest.raises(ConfigError, match="is a function, not a class"):
            rebuild_model(saved, trusted=[__name__])
    with pytest.raises(ConfigError, match="is a function, not a class"):
        rebuild_model(saved, trusted=[__name__])


def test_untrusted_code_is_refused():
    with pytest.raises(ConfigError, match=r"trusted_targets=\[stranger\]"):
        build_model({"_target_": "stranger.Net"}, trusted=[])


@pytest.mark.parametrize("target", ["subprocess.Popen", "builtins.eval"])
def test_to_trust_pythons_own_code_is_never_the_advice(target):
    with pytest.raises(ConfigError, match=f"'{target}' is not trusted") as raised:
        build_model({"_target_": target, "args": "true"}, trusted=[])
    assert "trusted_targets" not in str(raised.value)


@pytest.mark.parametrize(("key", "value"), [("input_shape", "abc"), ("channels", [1.5, 2]), ("dropout", [])])
def test_saved_arguments_of_a_wrong_kind_are_damage_that_is_named(config, key, value):
    saved = {"model": {**config, key: value}, "files": {}, "tensors": {}}
    with pytest.raises(IntegrityError, match=rf"^model\.json names .*model\.{key}={re.escape(repr(value))}"):
        rebuild_model(saved, trusted=[])
