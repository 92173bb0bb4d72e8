import contextlib

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from overwinter.carbon.constant import ConstantCarbonConfig
from overwinter.config import compose, validate, validation
from overwinter.errors import ConfigError
from overwinter.sparsity.settings import ChannelsConfig

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)


@pytest.fixture
def content(project):
    return yaml.safe_load(compose(project))


def _validated(content):
    return validate(yaml.safe_dump(content, sort_keys=False), source="params.yaml")


def test_groups_take_the_schema_of_their_option(content):
    config = _validated(content)
    assert isinstance(config.sparsify, ChannelsConfig)
    assert isinstance(config.carbon, ConstantCarbonConfig)
    assert config.pipeline.stages["sparsify"].needs == ["train"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trian": {}}, "Did you mean 'train'"),
        ({"train": 3}, "train"),
        ({"sparsify": None}, "sparsify"),
        ({"sparsify": {"method": "magic"}}, "Known: channels, magnitude, none"),
        ({"seed": -1}, "seed=-1"),
        ({"threads": 0}, "threads=0"),
        ({"device": "tpu"}, "device='tpu'"),
        ({"model": {}}, "model._target_ is missing"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(content, change, message):
    with pytest.raises(ConfigError) as caught:
        _validated({**content, **change})
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "just words", "[1, 2]", "a: [", "a: ${b}"])
def test_what_is_no_configuration_is_refused(text):
    with pytest.raises(ConfigError):
        validate(text)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from(["seed", "task", "train", "sparsify", "quantize", "evaluate", "budget", "pipeline", "data"]),
    value=LEAVES,
)
def test_whatever_stands_in_a_group_it_is_valid_or_a_config_error(content, key, value):
    with contextlib.suppress(ConfigError):  # anything else is a traceback in the user's face
        _validated({**content, key: value})


def test_a_stage_stands_behind_those_that_it_needs_wherever_it_is_listed(content):
    stages = content["pipeline"]["stages"]
    stages["distill"] = {"needs": ["train"], "params": ["seed"]}
    stages["evaluate"]["needs"] = ["train", "distill", "sparsify", "quantize"]
    assert list(_validated(content).pipeline.stages) == [
        "train",
        "sparsify",
        "quantize",
        "distill",
        "evaluate",
        "hibernate",
    ]


@pytest.mark.parametrize(
    ("stages", "message"),
    [
        ({}, "pipeline.stages is empty"),
        ({"Train": {"needs": [], "params": []}}, "lower-case"),
        ({"gate": {"needs": [], "params": []}}, "lower-case"),
        ({"a": {"needs": ["b"], "params": []}}, "'b' is not an earlier stage"),
        ({"a": {"needs": ["a"], "params": []}}, "'a' is not an earlier stage"),
        ({"a": {"needs": ["b"], "params": []}, "b": {"needs": ["a"], "params": []}}, "'b' is not an earlier stage"),
        ({"a": {"needs": [], "params": ["trian"]}}, "Did you mean 'train'"),
        ({"a": {"needs": [], "params": [], "outs": []}}, "outs is empty"),
    ],
)
def test_stages_that_cannot_be_put_in_order_are_refused(content, stages, message):
    content["pipeline"]["stages"] = stages
    with pytest.raises(ConfigError, match=message):
        _validated(content)


_TRICKY = st.sampled_from(
    [
        "1e-3",
        "1e5",
        ".5",
        "1_000",
        "0o17",
        "017",
        "0x1f",
        "12:30",
        "2026-11-30",
        "yes",
        "~",
        "''",
        "1.",
        "-.inf",
        ".nan",
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    content=st.dictionaries(
        st.text(min_size=1, max_size=5), LEAVES | st.lists(LEAVES, max_size=3), min_size=1, max_size=4
    ),
    tricky=st.lists(_TRICKY, max_size=5),
)
def test_text_is_read_as_omegaconf_reads_it(content, tricky):
    text = yaml.safe_dump(content, sort_keys=False)
    text += "".join(f"key {place}: {value}\n" for place, value in enumerate(tricky))
    try:
        expected = OmegaConf.create(text)
    except Exception:  # noqa: BLE001 - whatever OmegaConf refuses
        with pytest.raises(Exception):  # noqa: B017, PT011 - is refused here too, here or by OmegaConf
            OmegaConf.create(validation._loaded(text))
    else:
        found = validation._loaded(text)
        assert repr(OmegaConf.to_container(OmegaConf.create(found))) == repr(OmegaConf.to_container(expected))


def test_a_key_that_is_given_twice_is_refused():
    with pytest.raises(ConfigError, match="duplicate key seed"):
        validate("seed: 1\nseed: 2\n")
