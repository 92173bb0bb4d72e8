from __future__ import annotations

from functools import lru_cache

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from overwinter.cli.service import load_service
from overwinter.deploy import Cron, Vm
from overwinter.deploy.deployment import read_trusted, variables_of
from overwinter.errors import ConfigError

WINDOW = "{start:'0 8 * * 1-5',end:'0 18 * * 1-5',time_zone:Europe/Berlin}"


def test_the_words_compose_to_the_same_configuration(deployed):
    overrides = [
        f"serve.sleep.windows=[{WINDOW}]",
        "serve.sleep.policy=fixed",
        "+serve.sleep.options.timeout_s=90",
        "serve.sleep.levels=[parked,'off']",
        "serve.limits.response_s=30",
    ]
    deployment = deployed(*overrides)
    words = deployment.words("/b", host="127.0.0.1", port=8080)
    assert words[:2] == ["serve", "/b"]
    assert load_service(words[2:]).serve == deployment.serve


def test_what_is_as_the_server_has_it_is_not_repeated(deployed):
    assert deployed().words("/b") == ["serve", "/b"]
    assert deployed("serve.limits.queue=5").words("/b", limits__queue=None) == ["serve", "/b"]


def test_whom_to_trust_is_reported_wherever_it_runs(deployed, tmp_path):
    (tmp_path / "signer.pub").write_text("a key")
    deployment = deployed("serve.limits.queue=5", trusted=read_trusted([tmp_path / "signer.pub"]))
    here, there = str(tmp_path / "signer.pub"), "/keys/trusted-0.pem"
    assert deployment.words("/b")[2:] == ["serve.limits.queue=5", "--trusted", here]
    assert deployment.keys_in("/keys") == {there: "a key"}
    assert deployment.words("/b", trusted=deployment.keys_in("/keys"))[-2:] == ["--trusted", there]
    with pytest.raises(ConfigError, match="--trusted"):
        read_trusted([tmp_path / "none.pem"])


def test_what_nothing_hands_on_is_asked_for(deployed):
    assert deployed().asked_for() == []
    reported = "The server needs in its environment: NAME, WORD."
    deployment = deployed(variables=("NAME", "WORD"))
    for renderer in (
        Cron(program="/bin/true", script="/s", state="/t"),
        Vm(source="s", package="p", token_command="t", instance_type="i", clients=()),
    ):
        assert all(reported in text for name, text in renderer.render(deployment).items() if not name.endswith(".json"))


def test_credentials_are_looked_for_in_fallbacks_too():
    watttime = {"source": "watttime", "user_env": "NAME", "password_env": "WORD", "fallback": {}}
    maps = {"source": "electricity_maps", "token_env": "TOKEN", "fallback": {"next": watttime, "last": {"source": "x"}}}
    assert variables_of(maps) == ("NAME", "TOKEN", "WORD")
    assert variables_of({"source": "constant"}) == ()


@given(st.text(st.characters(codec="ascii", exclude_categories=["C"]), min_size=1) | st.sampled_from(["null", "true"]))
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_survives_hydras_grammar(deployed, text):
    assume("${" not in text)  # an interpolation, there too
    (word,) = deployed_once(deployed).words("/b", access__token_file=text)[2:]
    assert OverridesParser.create().parse_override(word).value() == text


@lru_cache(maxsize=1)
def deployed_once(deployed):
    return deployed()


@pytest.mark.parametrize(
    ("overrides", "own", "may_stop", "why"),
    [
        ([], {}, True, "Scales to zero after 300 s"),
        ([], {"fixed_idle_s": 42.0}, True, "after 42 s without a request (--idle-s)"),
        (["serve.sleep.policy=fixed", "+serve.sleep.options.timeout_s=90"], {}, True, "after 90 s"),
        (["serve.replicas.min=1"], {}, False, "serve.replicas.min=1"),
        (["serve.sleep.levels=[parked]"], {}, False, "`off` is not among"),
        (["serve.sleep.wake_p95_s=5"], {}, False, "a start takes 60 s"),
        (["serve.sleep.wake_p95_s=5"], {"start_s": 4.0}, True, "Scales to zero"),
    ],
)
def test_when_nothing_may_run_and_why(deployed, overrides, own, may_stop, why):
    deployment = deployed(*overrides, **own)
    assert (deployment.may_stop, deployment.min_replicas) == (may_stop, 0 if may_stop else 1)
    assert why in deployment.rules()[0]


@pytest.mark.parametrize(
    "own", [{"name": "My Model"}, {"name": "a" * 41}, {"fixed_idle_s": 0.0}, {"start_s": -1.0}, {"start_s": 1e9}]
)
def test_what_cannot_be_deployed_is_refused(deployed, own):
    with pytest.raises(ConfigError, match="must be"):
        deployed(**own)
