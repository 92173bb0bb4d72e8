"""The points of a sweep share the keys of the stages that they have in common."""

import pytest

from overwinter.config import find_project, load_config
from overwinter.errors import ConfigError
from overwinter.pipeline.prefix import prefix_keys
from overwinter.sweep import make_points


@pytest.fixture(scope="module")
def project():
    return find_project()


def test_points_with_a_common_prefix_share_its_keys(project):
    batch = [["quantize=none"], ["quantize=int8_dynamic"], ["train.epochs=3", "quantize=none"]]
    none, dynamic, longer = make_points(project, batch, until="evaluate")
    assert list(none.keys) == ["train", "sparsify", "quantize", "evaluate"]
    assert [stage for stage in none.keys if none.keys[stage] == dynamic.keys[stage]] == ["train", "sparsify"]
    assert not set(none.keys.values()) & set(longer.keys.values())


def test_equal_jobs_are_one_point_and_hydras_own_settings_are_no_part_of_it(project):
    one, other = make_points(project, [["seed=1", "hydra.launcher.workers=2"], ["seed=1"]], until="hibernate")
    assert one == other
    assert one.overrides == ("seed=1",)
    assert list(one.keys)[-1] == "hibernate"


def test_a_wrong_point_is_named_before_any_work(project):
    with pytest.raises(ConfigError, match=r"train\.epochs=0.*must be at least 1"):
        make_points(project, [["seed=1"], ["train.epochs=0"]], until="evaluate")


def test_of_many_wrong_points_the_first_are_named_and_the_rest_is_not_checked(project):
    batch = [["seed=1"], *([f"train.epochs={-number}"] for number in range(300))]
    with pytest.raises(ConfigError) as caught:
        make_points(project, batch, until="evaluate")
    assert [f"train.epochs={number}" in str(caught.value) for number in (0, -1, -2, -3)] == [True, True, True, False]
    assert "8 of the first 9 points are wrong" in str(caught.value)
    assert "The other 292 were not checked" in str(caught.value)


def test_points_with_the_same_error_are_named_once(project):
    batch = [[f"seed={seed}", choice] for seed in (1, 2) for choice in ("quantize=none", "quantize=nothing")]
    with pytest.raises(ConfigError) as caught:
        make_points(project, batch, until="evaluate")
    assert "seed=1 quantize=nothing (and 1 more): quantize=nothing: there is no such option" in str(caught.value)
    assert "2 of the first 4 points are wrong; nothing was started." in str(caught.value)


def test_one_wrong_point_is_told_without_counting(project):
    with pytest.raises(ConfigError) as caught:
        make_points(project, [["train.epochs=0"]], until="evaluate")
    assert "points are wrong" not in str(caught.value)


def test_a_message_that_begins_with_the_point_does_not_name_it_twice(project):
    with pytest.raises(ConfigError, match=r"^quantize=nothing: there is no such option"):
        make_points(project, [["quantize=nothing"]], until="evaluate")


def test_a_sweep_without_points_is_refused(project):
    with pytest.raises(ConfigError, match="no points"):
        make_points(project, [], until="evaluate")


def test_the_keys_are_those_that_the_stages_record(project):
    (point,) = make_points(project, [[]], until="hibernate")
    assert point.keys == prefix_keys(load_config(project), project)
