import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from overwinter.config.expansion import refuse_expansion
from overwinter.errors import ConfigError


def laughs(levels, reference):
    return {"a0": ["x" * 100] * 10} | {f"a{i}": [reference.format(f"a{i - 1}")] * 10 for i in range(1, levels)}


@pytest.mark.parametrize(
    "content",
    [
        laughs(20, "${{{}}}"),
        laughs(20, "${{oc.select:{}}}"),
        laughs(20, "${{oc.decode:${{{}}}}}"),
        laughs(20, "text ${{{}}} text"),
        {"deep": laughs(20, "${{deep.{}}}")},
        {"deep": laughs(20, "${{..{}}}")},
        {"a0": "x" * 1000} | {f"a{i}": f"${{.a{i - 1}}}" * 5 for i in range(1, 20)},
        {"a": "x" * 1000, "b": ["${a}"] * 3000},
        {"a": ["x" * 1000, "y"], "b": ["${a[0]}"] * 3000},
        {f"a{i}": f"${{a{i + 1}}}" for i in range(3000)},
    ],
)
def test_interpolations_that_stand_for_too_much_are_refused(content):
    with pytest.raises(ConfigError, match="exceeds 2048 KiB"):
        refuse_expansion(OmegaConf.create(content))


@pytest.mark.parametrize(
    "content",
    [
        {"a": 1, "b": "${a}", "c": {"d": "${b}", "e": "${.d}", "f": ["${..d}", "${c.f[0]}"]}},
        {"a": "${a}"},
        {"a": "${b}", "b": "${a}"},
        {"a": "${missing}", "b": "${oc.env:HOME}", "c": "???", "d": None},
    ],
)
def test_others_pass_and_what_leads_nowhere_is_left_to_omegaconf(content):
    refuse_expansion(OmegaConf.create(content))


@given(st.integers(0, 5), st.integers(1, 8))
def test_what_passes_is_no_larger_when_it_is_resolved(levels, width):
    content = {"a0": "x" * 50} | {f"a{i}": f"${{a{i - 1}}}" * width for i in range(1, levels)}
    config = OmegaConf.create(content)
    try:
        refuse_expansion(config)
    except ConfigError:
        assert 50 * width ** (levels - 1) > 1 << 16
    else:
        assert len(OmegaConf.to_yaml(config, resolve=True)) < 4 << 20
