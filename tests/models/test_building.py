import pytest
import torch

from overwinter.errors import ConfigError
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
    with pytest.raises(ConfigError, match="trusted_targets"):
        build_model({"_target_": "subprocess.Popen", "args": "true"}, trusted=[])
