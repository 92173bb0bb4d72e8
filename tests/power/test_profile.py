import json
from dataclasses import replace

import pytest

from overwinter.errors import ConfigError, IntegrityError
from overwinter.power.interface import OperatingPoint
from overwinter.power.profile import Profile, ProfileKey, load_profile, save_profile, workload_digest

KEY = ProfileKey(device_model="Tesla V100", driver="550.1", workload=workload_digest({"batch_size": 8}))
PROFILE = Profile(key=KEY, points=(OperatingPoint(limit_w=100, power_w=90, speed_per_s=2.5, trials=7),))


def test_a_profile_comes_back_as_it_was(tmp_path):
    save_profile(tmp_path / "p.json", PROFILE)
    assert load_profile(tmp_path / "p.json", KEY) == PROFILE


def test_a_profile_without_trials_counts_one_each(tmp_path):
    path = tmp_path / "p.json"
    save_profile(path, PROFILE)
    path.write_text(path.read_text().replace('"trials": 7', '"trials": 1').replace(', "trials": 1', ""))
    assert load_profile(path, KEY).points[0].trials == 1


@pytest.mark.parametrize("name", ["device_model", "driver", "workload"])
def test_a_profile_of_something_else_is_refused(tmp_path, name):
    save_profile(tmp_path / "p.json", PROFILE)
    with pytest.raises(ConfigError, match=f"was measured for {name.replace('_', ' ')}"):
        load_profile(tmp_path / "p.json", replace(KEY, **{name: "another"}))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content.pop("points"),
        lambda content: content.update(schema=9),
        lambda content: content["points"][0].update(speed_per_s=-1),
        lambda content: content["points"][0].update(power_w="much"),
        lambda content: content["points"][0].update(trials=0),
        lambda content: content.update(key=7),
    ],
)
def test_a_damaged_profile_is_refused(tmp_path, damage):
    path = tmp_path / "p.json"
    save_profile(path, PROFILE)
    content = json.loads(path.read_text())
    damage(content)
    path.write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match=r"p\.json"):
        load_profile(path, KEY)


def test_the_digest_follows_the_content_and_not_its_order():
    assert workload_digest({"a": 1, "b": 2}) == workload_digest({"b": 2, "a": 1}) != workload_digest({"a": 2, "b": 2})
