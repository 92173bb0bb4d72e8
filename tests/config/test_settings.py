"""A schema says which values its keys take, and every kind of schema is checked by it."""

from dataclasses import dataclass, fields

import pytest
from omegaconf import MISSING, OmegaConf

from overwinter.config import check_settings, setting
from overwinter.config.settings import setting_of
from overwinter.errors import ConfigError


@dataclass
class Window:
    hours: float = setting("length of the window", above=0, below=24)


@dataclass
class Limits:
    share: float = setting("share of the whole", at_least=0, at_most=1)


@dataclass
class Group:
    count: int = setting("how many", at_least=1)
    wait_s: float | None = setting("longest wait; null: none", above=0)
    gain: float = setting("any number")
    mode: str = setting("what to do", choices=("stop", "warn"))
    sizes: list[int] = setting("each a size", at_least=1)
    modes: list[str] = setting("each a mode", choices=("stop", "warn"))
    idle_w: dict[str, float] = setting("watts by device", at_least=0)
    open: bool = setting("whether it is open")
    untold: float = MISSING
    windows: list[Window] = setting("windows", default_factory=list)
    named: dict[str, Limits] = setting("limits by name", default_factory=dict)
    limits: Limits = setting("limits", default_factory=Limits)


GOOD = {
    "count": 1,
    "wait_s": None,
    "gain": -2.5,
    "mode": "stop",
    "sizes": [1, 2],
    "modes": ["warn"],
    "idle_w": {"gpu:0": 0},
    "open": False,
    "untold": -1,
    "windows": [{"hours": 8}],
    "named": {"a": {"share": 1}},
    "limits": {"share": 0},
}


def typed(**changes):
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Group), {**GOOD, **changes}))


def test_good_values_pass():
    check_settings(typed(), key="group")
    check_settings(typed(wait_s=0.1, sizes=[], idle_w={}), key="group")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": 0}, "group.count=0 must be at least 1: how many."),
        ({"wait_s": 0}, "group.wait_s=0.0 must be above 0: longest wait; null: none."),
        ({"wait_s": float("inf")}, "group.wait_s=inf must be above 0: longest wait; null: none."),
        ({"gain": float("nan")}, "group.gain=nan must be finite: any number."),
        ({"mode": "stopp"}, "group.mode='stopp' is unknown. Allowed: stop, warn. Did you mean 'stop'?"),
        ({"sizes": [1, 0]}, "group.sizes=[1, 0] has 0; each must be at least 1: each a size."),
        ({"modes": ["x"]}, "group.modes='x' is unknown. Allowed: stop, warn."),
        ({"idle_w": {"gpu:0": -1}}, "group.idle_w.gpu:0=-1.0 must be at least 0: watts by device."),
        ({"windows": [{"hours": 24}]}, "group.windows.hours=24.0 must be above 0 and below 24: length of the window."),
        (
            {"named": {"a": {"share": 2}}},
            "group.named.a.share=2.0 must be at least 0 and at most 1: share of the whole.",
        ),
        ({"limits": {"share": -1}}, "group.limits.share=-1.0 must be at least 0 and at most 1: share of the whole."),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(change, message):
    with pytest.raises(ConfigError) as caught:
        check_settings(typed(**change), key="group")
    assert str(caught.value) == message


def test_the_whole_configuration_has_no_key_before_it():
    with pytest.raises(ConfigError, match=r"^count=0 must"):
        check_settings(typed(count=0))


def test_a_value_must_be_given_unless_there_is_a_default():
    assert OmegaConf.missing_keys(OmegaConf.structured(Window)) == {"hours"}


def test_only_a_setting_has_a_description():
    described = {field.name: setting_of(field) for field in fields(Group)}
    assert described["count"].description == "how many"
    assert described["untold"] is None
