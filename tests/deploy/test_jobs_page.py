"""The commands of docs/kubernetes-jobs.md, run as they stand there."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml

from overwinter import cli

PAGE = (Path(__file__).parents[2] / "docs" / "kubernetes-jobs.md").read_text()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # the driver's own
def test_the_documented_tree_on_s3_is_rendered(machines, s3, capsys):
    s3.mkdir("seasons")
    s3.pipe("seasons/fashion/train-images-idx3-ubyte.gz", b"x")
    create, line = PAGE.split("```console\n")[2].split("```")[0].splitlines()
    assert cli.main(shlex.split(line)[1:]) == 0
    capsys.readouterr()
    text = (machines.project.root / "deploy/job/jobs.yaml").read_text()
    assert "# Stages read s3://seasons/fashion." in text
    assert create.partition("=")[0] in text


def test_the_documented_trees_are_rendered_and_released(machines, fake_cluster, capsys):
    *renderings, apply = PAGE.split("```console\n")[1].split("```")[0].splitlines()
    for line in reversed(renderings):  # the first one is released below
        program, *words = shlex.split(line)
        assert (program, cli.main(words)) == ("overwinter", 0)
    assert capsys.readouterr().out.splitlines()[-1] == f"Next: {apply}"
    documents = yaml.safe_load_all((machines.project.root / "deploy/job/jobs.yaml").read_text())
    fake_cluster.jobs = {each["metadata"]["name"]: each for each in documents if each["kind"] == "Job"}
    program, *words = shlex.split(PAGE.split("```sh\n")[1].split("```")[0].splitlines()[1])
    address = words.index("http://127.0.0.1:8001")
    words[address], words[words.index("default")] = fake_cluster.address, "work"
    assert cli.main(words) == 0
    assert "digits-train-" in capsys.readouterr().out
