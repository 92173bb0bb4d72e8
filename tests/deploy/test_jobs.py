"""jobs.yaml: valid for Kubernetes, suspended, with few rights; and its command, run as a pod would."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime

import kubernetes_validate
import pytest
import yaml

from overwinter.deploy.job_tree import JobTree, StageJob
from overwinter.deploy.jobs import DURATION, LATEST, NEEDS, PROJECT, Jobs, Room

VERSION = "1.34"
IMAGE = "registry.example/project@sha256:" + "0" * 64
TRAIN = StageJob(stage="train", key="a" * 64, overrides=("train.epochs=2",), needs=(), duration_s=60.0)
SPARSIFY = StageJob(stage="sparsify", key="b" * 64, overrides=("train.epochs=2",), needs=("a" * 64,), duration_s=30.4)
TREE = JobTree("tree", (TRAIN, SPARSIFY), datetime(2026, 7, 1, 12, tzinfo=UTC))


def rendered(tree=TREE, **settings):
    text = Jobs(**{"image": IMAGE, "claim": "state", **settings}).render(tree)
    assert "&id" not in text
    documents = list(yaml.safe_load_all(text))
    for each in documents:
        kubernetes_validate.validate(each, VERSION, strict=True)
    return text, documents


def of_kind(kind, documents):
    return [each for each in documents if each["kind"] == kind]


def pod_of(job):
    return job["spec"]["template"]["spec"]


def test_every_stage_is_a_suspended_job_that_knows_what_it_waits_for():
    text, documents = rendered()
    train, sparsify = of_kind("Job", documents)
    assert (train["spec"]["suspend"], sparsify["spec"]["suspend"]) == (True, True)
    assert train["metadata"]["annotations"] == {NEEDS: "", DURATION: "60", LATEST: "2026-07-01T11:58:29+00:00"}
    assert sparsify["metadata"]["annotations"][NEEDS] == train["metadata"]["name"] == "tree-train-aaaaaaaa"
    assert pod_of(train)["containers"][0]["args"] == ["train", "train.epochs=2"]
    assert "2 Jobs" in text
    assert "Must have ended by 2026-07-01T12:00:00Z." in text


def test_a_refusal_ends_a_job_and_a_lost_node_does_not_count():
    (job, _) = of_kind("Job", rendered()[1])
    lost, refused = job["spec"]["podFailurePolicy"]["rules"]
    assert (lost["action"], refused["action"]) == ("Ignore", "FailJob")
    assert refused["onExitCodes"] == {"containerName": "stage", "operator": "In", "values": [2, 3, 4]}
    assert job["spec"]["podReplacementPolicy"] == "Failed"


def test_pods_have_no_rights_that_they_do_not_need():
    documents = rendered()[1]
    (cron,) = of_kind("CronJob", documents)
    pods = [pod_of(job) for job in of_kind("Job", documents)]
    releasing = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    for pod in (*pods, releasing):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"] == container["resources"]["requests"]
    assert all(pod["automountServiceAccountToken"] is False for pod in pods)
    assert releasing["serviceAccountName"] == "tree-release"
    (role,) = of_kind("Role", documents)
    assert [rule["verbs"] for rule in role["rules"]] == [["list"], ["patch"], ["patch"]]
    assert role["rules"][1]["resourceNames"] == [job["metadata"]["name"] for job in of_kind("Job", documents)]
    assert role["rules"][2]["resourceNames"] == [cron["metadata"]["name"]]
    stage, release = of_kind("NetworkPolicy", documents)
    assert stage["spec"]["egress"] == stage["spec"]["ingress"] == release["spec"]["ingress"] == []
    assert release["spec"]["egress"]


def test_a_network_source_is_reached_and_gets_its_credentials_from_a_secret():
    text, documents = rendered(asks_outside=True, variables=("TOKEN",), carbon=("carbon=electricity_maps",))
    key = {"secretKeyRef": {"name": "tree-carbon", "key": "TOKEN"}}
    (cron,) = of_kind("CronJob", documents)
    container = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "TOKEN", "valueFrom": key} in container["env"]
    assert container["command"][-3:] == ["--release", "tree", "carbon=electricity_maps"]
    assert of_kind("NetworkPolicy", documents)[0]["spec"]["egress"]
    assert "kubectl create secret generic tree-carbon" in text


def test_what_is_at_an_address_is_reached_with_credentials_from_a_secret_of_the_users():
    addresses = ("s3://seasons/set",)
    text, documents = rendered(addresses=addresses, secrets=("storage",), ports=(9000,))
    for job in of_kind("Job", documents):
        (container,) = pod_of(job)["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "storage"}}]
        assert {"name": "XDG_CACHE_HOME", "value": "/work/.overwinter/cache"} in container["env"]
    (cron,) = of_kind("CronJob", documents)
    assert "envFrom" not in cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    stage, release = of_kind("NetworkPolicy", documents)
    ports = [port["port"] for rule in stage["spec"]["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 443, 9000]
    assert release == of_kind("NetworkPolicy", rendered()[1])[1]
    assert "# Stages read s3://seasons/set.\n" in text
    assert "kubectl create secret generic storage --from-env-file=FILE" in text
    assert "No --secret was given" in rendered(addresses=addresses)[0]


def test_resources_per_stage():
    rooms = {"train": Room(cpus=4, memory="8Gi", gpus=1)}
    train, sparsify = of_kind("Job", rendered(rooms=rooms)[1])
    assert pod_of(train)["containers"][0]["resources"]["limits"] == {
        "cpu": "4",
        "memory": "8Gi",
        "ephemeral-storage": "4Gi",
        "nvidia.com/gpu": "1",
    }
    assert "nvidia.com/gpu" not in pod_of(sparsify)["containers"][0]["resources"]["limits"]


def test_what_cannot_wait_and_what_is_not_pinned_is_told():
    unknown = JobTree("tree", (StageJob(**{**vars(TRAIN), "duration_s": None}),), TREE.deadline_utc)
    text, (*_,) = rendered(unknown, image="registry.example/project:1")
    assert "The duration of train is not known" in text
    assert "named by a tag" in text
    assert "no --deadline was given" in rendered(JobTree("tree", (TRAIN,), None))[0]


def test_the_validation_can_fail():
    job = of_kind("Job", rendered()[1])[0]
    job["spec"]["suspendd"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, VERSION, strict=True)


def test_a_pod_copies_the_project_without_its_state_and_runs_the_stage(tmp_path, monkeypatch):
    project, work, programs = (tmp_path / name for name in ("project", "work", "bin"))
    for folder in (project / ".overwinter", project / "configs", work / ".overwinter", programs):
        folder.mkdir(parents=True)
    (project / ".overwinter" / "ledger.sqlite").write_text("the image's")
    (work / ".overwinter" / "ledger.sqlite").write_text("shared")
    for name in ("dvc", "overwinter"):
        (programs / name).write_text(f'#!/bin/sh\nprintf "%s|" {name} "$@"\nls\n')
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    container = pod_of(of_kind("Job", rendered()[1])[0])["containers"][0]
    command = [word.replace(PROJECT, str(project)) for word in (*container["command"], *container["args"])]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=True)
    dvc, ran, *_ = done.stdout.splitlines()
    assert dvc == "dvc|config|--local|core.no_scm|true|configs"
    assert ran == "overwinter|run|--until|train|train.epochs=2|configs"
    assert (work / ".overwinter" / "ledger.sqlite").read_text() == "shared"
