"""The group `serve/`: what is refused before anything is served."""

import pytest

from overwinter.cli.service import load_service
from overwinter.config.groups.serve import is_loopback
from overwinter.errors import ConfigError


def test_the_default_is_valid_and_for_this_machine_alone():
    serve = load_service().serve
    assert is_loopback(serve.host)
    assert (serve.power_draw.source, serve.replicas.min) == (None, 0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("serve.prt=1", "Could not override|serve.prt"),
        ("serve.port=65536", "serve.port=65536"),
        ("serve.port=http", "serve.port"),
        ("serve.host=0.0.0.0", "serve.access.token_file"),
        ("serve.host=example.org", "serve.access.token_file"),
        ("serve.access.token_file=nowhere", "does not exist"),
        ("serve.limits.queue=0", "serve.limits.queue"),
        ("serve.limits.response_s=0", "serve.limits.response_s"),
        ("serve.worker.threads=0", "serve.worker.threads"),
        ("serve.sleep.levels=[]", "serve.sleep.levels"),
        ("serve.sleep.levels=[off,parked]", "serve.sleep.levels"),
        ("serve.sleep.levels=[deep]", "serve.sleep.levels"),
        ("serve.sleep.policy=brake_even", "break_even"),
        ("serve.sleep.policy=fixed", "timeout_s"),
        ("serve.sleep.policy=scheduled", "serve.sleep.windows"),
        ("serve.sleep.windows=[{start: never, end: 0 8 * * *}]", "serve.sleep"),
        ("serve.sleep.wake_p95_s=-1", "serve.sleep.wake_p95_s"),
        ("serve.power_draw.parked_w=1", "serve.power_draw.parked_w=1 must be below serve.power_draw.ready_w"),
        ("serve.replicas.min=2", "serve.replicas.max"),
        ("serve.replicas.wait_s=0", "serve.replicas.wait_s"),
        ("serve.access.tls_cert=pyproject.toml", "tls_cert and serve.access.tls_key need each other"),
        ("serve.access.client_ca=pyproject.toml", "client_ca needs TLS"),
        ("serve.idle_exit_s=0", "serve.idle_exit_s"),
        ("serve.persistence.prefix_cache=true", "serve.state"),
        ("serve.persistence.response_cache_bytes=9", "serve.state"),
        ("serve.deferral.requests=0", "serve.deferral.requests"),
        ("serve.limits.response_tokens=0", "serve.limits.response_tokens"),
        ("carbon.intensity_g_per_kwh=-1", "carbon.intensity_g_per_kwh"),
        ("carbon=nowhere", "nowhere"),
    ],
)
def test_a_wrong_value_is_named(override, message):
    with pytest.raises(ConfigError, match=message):
        load_service([override])


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False)],
)
def test_loopback_is_known(host, loopback):
    assert is_loopback(host) is loopback


def test_another_address_needs_a_token(tmp_path):
    (tmp_path / "token").touch()
    assert load_service(["serve.host=0.0.0.0", f"serve.access.token_file={tmp_path / 'token'}"])
