"""`overwinter deploy job`: what it renders, what its release does on a stand-in cluster, and what it refuses."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import fsspec
import pytest
import yaml

from overwinter.cli import main
from tests.support.two_machines import STAGES

USUAL = ("--image", "registry.example/project:1", "--claim", "state", "--name", "tree")


@pytest.fixture
def render(machines, capsys):
    """Return what `overwinter deploy job` writes."""

    def rendered(*words):
        assert main(["deploy", "job", *USUAL, *words]) == 0
        output = capsys.readouterr()
        assert "Next: kubectl apply -f deploy/job/jobs.yaml" in output.out
        assert "named by a tag" in output.err
        documents = yaml.safe_load_all((machines.project.root / "deploy/job/jobs.yaml").read_text())
        return {each["metadata"]["name"]: each for each in documents if each["kind"] == "Job"}

    return rendered


@pytest.fixture
def applied(render, fake_cluster):
    """Return a function that applies a tree, as kubectl does, and returns its release."""

    def apply(*words):
        fake_cluster.jobs = render(*words)
        fake_cluster.cron_jobs = {"tree-release": {"spec": {}}}
        return lambda *more: main(
            ["deploy", "job", "--release", "tree", "--api", fake_cluster.address, "--namespace", "work", *more]
        )

    return apply


def suspended(fake_cluster):
    return {name.split("-")[1] for name, job in fake_cluster.jobs.items() if job["spec"]["suspend"]}


def finish(fake_cluster, stage, condition="Complete"):
    for name, job in fake_cluster.jobs.items():
        if name.split("-")[1] == stage:
            job["status"] = {"conditions": [{"type": condition, "status": "True"}]}


def test_one_job_per_stage(render):
    jobs = render("train.epochs=2")
    assert [name.split("-")[1] for name in jobs] == list(STAGES)


def test_a_sweep_shares_stages(render):
    jobs = render("-m", "sparsify.amount=0.5,0.7", "--until", "quantize")
    assert sorted(name.split("-")[1] for name in jobs) == ["quantize", "quantize", "sparsify", "sparsify", "train"]


def test_durations_come_from_the_ledger(machines, render):
    machines.ran(machines.own, joules=600.0)
    (train,) = [job for name, job in render("--until", "train", "--deadline", "12h").items()]
    notes = train["metadata"]["annotations"]
    assert float(notes["overwinter/duration-s"]) >= 60
    latest = datetime.fromisoformat(notes["overwinter/latest-start"])
    assert timedelta(hours=11) < latest - datetime.now(UTC) < timedelta(hours=12)


def test_resources_of_a_stage(render):
    jobs = render("--resources", "train=cpus:4,gpus:1")
    limits = {
        name.split("-")[1]: job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
        for name, job in jobs.items()
    }
    assert limits["train"] == limits["sparsify"] | {"cpu": "4", "nvidia.com/gpu": "1"}


def test_what_stages_read_at_an_address_is_reached_and_no_credential_is_written(machines, render, monkeypatch):
    fsspec.filesystem("memory").pipe("/jobs/a.csv", b"1")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-credential-of-mine")
    words = ("+data.root=memory://jobs", "--secret", "storage", "--port", "9000")
    for job in render(*words).values():
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "storage"}}]
    text = (machines.project.root / "deploy/job/jobs.yaml").read_text()
    assert "Stages read memory://jobs." in text
    assert "a-credential-of-mine" not in text


def test_stages_are_released_one_after_another(applied, fake_cluster, capsys):
    release = applied()
    assert release() == 0
    assert suspended(fake_cluster) == set(STAGES) - {"train"}
    assert "has no forecast, so nothing waits for it" in capsys.readouterr().out
    assert release() == 0  # nothing more while it runs
    assert suspended(fake_cluster) == set(STAGES) - {"train"}
    for stage, following in itertools.pairwise(STAGES):
        finish(fake_cluster, stage)
        assert release() == 0
        assert following not in suspended(fake_cluster)
    assert fake_cluster.cron_jobs["tree-release"]["spec"] == {"suspend": True}


def test_what_comes_after_a_failure_stays_suspended(applied, fake_cluster, capsys):
    release = applied()
    finish(fake_cluster, "train", "Failed")
    assert release() == 1
    output = capsys.readouterr().out
    assert "failed; see `kubectl logs job/tree-train-" in output
    assert output.count("stays suspended") == len(STAGES) - 1
    assert suspended(fake_cluster) == set(STAGES)


def test_a_stage_waits_for_a_cleaner_hour_within_the_deadline(machines, applied, fake_cluster, capsys):
    machines.ran(machines.own, joules=600.0)
    now_utc = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [now_utc + timedelta(hours=hour) for hour in range(-24 * 30, 24)]
    clean = {(now_utc.hour + 3) % 24, (now_utc.hour + 4) % 24}
    rows = [f"{hour.isoformat()},{100 if hour.hour in clean else 500}" for hour in hours]
    (machines.project.root / "grid.csv").write_text("\n".join(["time_utc,g_per_kwh", *rows]))
    release = applied("--deadline", "12h")
    assert release("carbon=trace", "carbon.path=grid.csv") == 0
    assert "waits until" in capsys.readouterr().out
    assert suspended(fake_cluster) == set(STAGES)
    fake_cluster.date = format_datetime(now_utc + timedelta(hours=3, minutes=10), usegmt=True)
    assert release("carbon=trace", "carbon.path=grid.csv") == 0
    assert "the cluster's counts" in capsys.readouterr().out
    assert "train" not in suspended(fake_cluster)


def test_a_tree_that_was_not_applied(machines, fake_cluster, capsys):
    del machines
    words = ["deploy", "job", "--release", "tree", "--api", fake_cluster.address, "--namespace", "work"]
    assert main(words) == 2
    assert "there are no such Jobs in work" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--claim", "state"], "--image is missing"),
        ([*USUAL, "--deadline", "2020-01-01T00:00:00Z"], "is in the past"),
        ([*USUAL, "--until", "trian"], "Did you mean 'train'"),
        ([*USUAL, "--resources", "trian=cpus:1"], "there is no such stage"),
        ([*USUAL, "--resources", "train=cpus=4"], "cannot be read"),
        ([*USUAL, "train.epochs=0"], "train.epochs=0"),
        ([*USUAL, "--image", "no image"], "is not an image name"),
        ([*USUAL, "--claim", "a b"], "PersistentVolumeClaim"),
        ([*USUAL, "--secret", "a=b"], "--secret 'a=b' is not the name of a Secret"),
        ([*USUAL, "--port", "0"], "--port 0 must be from 1"),
        ([*USUAL, "+data.root=s3://me:password@host/set"], "has a password or a signature in its address"),
        ([*USUAL, "+data.root=memory://nowhere"], "'memory://nowhere' does not exist"),
        ([*USUAL, "--name", "Tree"], "--name 'Tree'"),
        (["--release", "tree", "--api", "https://cluster.example"], "kubectl proxy"),
        ([*USUAL, "-m", "+sweep=tpe", "sparsify.amount=0.5,0.7"], "a search chooses its points"),
    ],
)
def test_wrong_words_are_explained(machines, capsys, words, message):
    del machines
    assert main(["deploy", "job", *words]) == 2
    assert message in capsys.readouterr().err
