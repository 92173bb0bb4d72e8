import pytest
import torch

from overwinter.errors import ConfigError
from overwinter.models import build_model


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
        build_model({"_target_": "overwinter.units.format_bytes", "size_bytes": 1}, trusted=[])


def test_untrusted_code_is_refused():
    with pytest.raises(ConfigError, match="trusted_targets"):
        build_model({"_target_": "subprocess.Popen", "args": "true"}, trusted=[])
