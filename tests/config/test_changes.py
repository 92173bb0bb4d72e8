"""Changes between two configurations, in words."""

from overwinter.config.changes import ABSENT, at, differences


def testdifferences_name_the_leaf_with_old_and_new_value():
    assert differences("train", {"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 3}}) == ["train.b.c: 2 -> 3"]
    assert differences("train", {"a": 1}, {"b": 1}) == ["train.a: 1 -> none", "train.b: none -> 1"]
    assert differences("x", [1], [1, 2]) == ["x: [1] -> [1, 2]"]


def test_settings_that_another_choice_brings_along_are_counted():
    old = {"version": 1, "methods": [], "only": 1}
    new = {"version": 2, "methods": ["int8_static"], "samples": 256, "skip": []}
    assert differences("quantize", old, new) == [
        "quantize.version: 1 -> 2",
        'quantize.methods: [] -> ["int8_static"]',
        "quantize.only: 1 -> none",
        "quantize: 2 more settings",
    ]
    assert differences("quantize", new, old)[-1] == "quantize: 2 fewer settings"


def test_of_whole_configurations_the_keys_have_no_prefix():
    assert differences("", {"seed": 0, "train": {"epochs": 1}}, {"seed": 1, "train": {"epochs": 2}}) == [
        "seed: 0 -> 1",
        "train.epochs: 1 -> 2",
    ]
    assert differences("", {}, {"one": 1, "two": 2}) == ["the configuration: 2 more settings"]


def test_a_dotted_key_is_found_nested_or_as_it_was_declared():
    assert at({"data": {"root": "y"}}, "data.root") == at({"data.root": "y"}, "data.root") == "y"
    assert at({"data": 3}, "data.root") is ABSENT
