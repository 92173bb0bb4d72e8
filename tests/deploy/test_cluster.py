"""Requests to Kubernetes, on a stand-in: what they change, and what is said when they fail."""

from __future__ import annotations

import pytest

from overwinter.deploy.cluster import Cluster
from overwinter.errors import ConfigError, IntegrityError, OverwinterError

STAGE = {"app.kubernetes.io/instance": "tree", "app.kubernetes.io/component": "stage"}


@pytest.fixture
def cluster(fake_cluster):
    fake_cluster.jobs = {
        "a": {"metadata": {"name": "a", "labels": STAGE}, "spec": {"suspend": True}},
        "other": {"metadata": {"name": "other", "labels": {}}, "spec": {"suspend": True}},
    }
    fake_cluster.cron_jobs = {"tree-release": {"spec": {"suspend": False}}}
    return Cluster.through_proxy(fake_cluster.address, "work")


def test_only_the_jobs_of_the_tree_are_listed_with_the_servers_time(cluster, fake_cluster):
    fake_cluster.date = "Wed, 01 Jul 2026 12:00:00 GMT"
    items, now_utc = cluster.jobs("tree")
    assert [each["metadata"]["name"] for each in items] == ["a"]
    assert f"{now_utc:%Y-%m-%d %H:%M}" == "2026-07-01 12:00"


def test_a_job_is_resumed_and_a_schedule_suspended(cluster, fake_cluster):
    cluster.resume("a")
    cluster.suspend_schedule("tree-release")
    assert fake_cluster.jobs["a"]["spec"] == {"suspend": False}
    assert fake_cluster.cron_jobs["tree-release"]["spec"] == {"suspend": True}
    assert fake_cluster.tokens == [None, None]


def test_a_token_is_sent(fake_cluster):
    Cluster(address=fake_cluster.address, namespace="work", token="secret").jobs("tree")
    assert fake_cluster.tokens == ["Bearer secret"]


def test_a_refusal_names_what_was_asked(cluster, fake_cluster):
    fake_cluster.status = 403
    with pytest.raises(OverwinterError, match=r"refuses PATCH jobs/a in work: 403"):
        cluster.resume("a")
    assert fake_cluster.jobs["a"]["spec"] == {"suspend": True}


def test_a_date_that_cannot_be_read_is_none(cluster, fake_cluster):
    fake_cluster.date = "noon"
    assert cluster.jobs("tree")[1] is None


def test_nobody_answers():
    with pytest.raises(OverwinterError, match="nothing was changed"):
        Cluster.through_proxy("http://127.0.0.1:9", "work").jobs("tree")


def test_another_program_answers(cluster, monkeypatch):
    monkeypatch.setattr("overwinter.deploy.cluster.json.loads", lambda _: ["not", "kubernetes"])
    with pytest.raises(IntegrityError, match="Check --api"):
        cluster.jobs("tree")


@pytest.mark.parametrize("address", ["https://cluster.example", "http://cluster.example:8001", "cluster"])
def test_credentials_are_never_needed_elsewhere_than_in_a_pod(address):
    with pytest.raises(ConfigError, match="kubectl proxy"):
        Cluster.through_proxy(address, "work")


def test_in_a_pod(tmp_path):
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "namespace").write_text("work")
    found = Cluster.around({"KUBERNETES_SERVICE_HOST": "fd00::1"}, tmp_path)
    assert (found.address, found.namespace, found.token) == ("https://[fd00::1]:443", "work", "secret")
    assert found.certificate == tmp_path / "ca.crt"


@pytest.mark.parametrize("environ", [{}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}])
def test_outside_of_a_pod_it_says_what_to_run(tmp_path, environ):
    with pytest.raises(ConfigError, match="kubectl proxy"):
        Cluster.around(environ, tmp_path)
