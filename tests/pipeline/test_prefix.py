"""Prefix keys: they change exactly when DVC would run a stage again, on what is known before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec
import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from overwinter.config import Config, Project, compose, validate
from overwinter.config.groups import StageSpec
from overwinter.pipeline.prefix import PrefixKeys, prefix_keys
from overwinter.pipeline.render import rendered_stages

ROOT = Path(__file__).parents[2]
STAGES = ("train", "sparsify", "quantize", "evaluate", "hibernate")
NET = "import torch\n\nclass Net(torch.nn.Module):\n    dropout = 0.1\n"
CHOICES = (
    ("seed=0", "seed=1"),
    ("train.weight_decay=0", "train.weight_decay=1", "train.weight_decay=1.0"),
    ("sparsify=channels", "sparsify=none", "sparsify=magnitude"),
    ("quantize=int8_static", "quantize=none", "quantize=int8_dynamic"),
    ("evaluate.repeats=3", "evaluate.repeats=5"),
    ("hibernate.wake_repeats=1", "hibernate.wake_repeats=2"),
    ("budget.total=null", "budget.total='2 kJ'"),
    ("carbon=constant", "carbon=country"),
    ("energy.sample_interval_s=0.1", "energy.sample_interval_s=0.2"),
)


@dataclass(frozen=True)
class _Composed:
    config: Config
    parameters: dict[str, Any]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with stage programs, a data file and code of its own."""
    for name in STAGES:
        (tmp_path / "stages").mkdir(exist_ok=True)
        (tmp_path / "stages" / f"{name}.py").write_text(f"# {name}\n")
    (tmp_path / "my_nets").mkdir()
    (tmp_path / "my_nets" / "__init__.py").write_text(NET)
    (tmp_path / "data.csv").write_text("1,2\n")
    return Project(root=tmp_path, configs=ROOT / "configs", config_name="config")


def composed(project: Project, *overrides: str) -> _Composed:
    text = compose(project, overrides)
    return _Composed(validate(text), yaml.safe_load(text))


def keys(project: Project, *overrides: str) -> dict[str, str]:
    one = composed(project, *overrides)
    return prefix_keys(one.config, project, one.parameters)


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in STAGES if before[name] != after[name]}


OWN = ("model._target_=my_nets.Net", "trusted_targets=[my_nets]", "+data.root=data.csv")


@pytest.mark.parametrize(
    ("path", "from_stage"),
    [("stages/train.py", 0), ("stages/quantize.py", 2), ("my_nets/__init__.py", 0), ("data.csv", 0)],
)
def test_a_changed_file_changes_the_stages_that_read_it_and_all_that_follow(project, path, from_stage):
    before = keys(project, *OWN)
    file = project.root / path
    file.write_text(file.read_text().replace("#", "##").replace("1", "2"))
    assert changed(before, keys(project, *OWN)) == set(STAGES[from_stage:])


@pytest.mark.parametrize(
    ("override", "stages"),
    [
        ("train.epochs=3", set(STAGES)),
        ("sparsify.amount=0.7", set(STAGES[1:])),
        ("quantize=none", set(STAGES[2:])),
        ("evaluate.repeats=5", set(STAGES[3:])),
        ("hibernate.wake_repeats=1", {"hibernate"}),
        ("budget.total='1 kJ'", set()),
        ("energy.sample_interval_s=0.2", set()),
        ("pipeline.programs=programs", set(STAGES)),
    ],
)
def test_a_changed_parameter_changes_the_stages_that_declare_it_and_all_that_follow(project, override, stages):
    assert changed(keys(project), keys(project, override)) == stages


def test_another_version_of_overwinter_is_another_result(project, monkeypatch):
    before = keys(project)
    monkeypatch.setattr("overwinter.pipeline.prefix.__version__", "99")
    assert changed(before, keys(project)) == set(STAGES)


def test_a_stage_in_between_changes_what_waits_for_its_gate(project):
    one = composed(project)
    before = prefix_keys(one.config, project, one.parameters)
    stages = one.config.pipeline.stages
    last = {name: stages.pop(name) for name in ("evaluate", "hibernate")}
    stages |= {
        "prune": StageSpec(needs=["train"], params=["seed"], outs=["model"], reports=[], program="train"),
        **last,
    }
    after = prefix_keys(one.config, project, one.parameters)
    assert changed(before, after) == {"evaluate", "hibernate"}


def _as_dvc_sees_it(one: _Composed, project: Project) -> dict[str, Any]:
    """Return, per stage, what DVC's run cache compares; of outputs of earlier stages, what makes them."""
    stages = rendered_stages(one.config, project)
    seen: dict[str, Any] = {}
    for name in STAGES:
        stage = stages[name]
        deps = {
            path: seen.get(path.split("/")[1], path) if path.startswith("outputs/") else path for path in stage["deps"]
        }
        params = {key: repr(one.parameters.get(key)) for key in stage["params"]}
        seen[name] = (stage["cmd"], deps, params, stage["outs"])
    return seen


_drawn = st.tuples(*(st.sampled_from(choice) for choice in CHOICES))


@settings(max_examples=8, phases=[Phase.explicit, Phase.generate])  # to shrink composes for minutes
@given(first=_drawn, second=_drawn)
def test_keys_are_equal_exactly_if_dvc_sees_equal_stages(first, second):
    project = Project(root=ROOT, configs=ROOT / "configs", config_name="config")
    same = PrefixKeys(project)
    one, other = (composed(project, *drawn) for drawn in (first, second))
    ones, others = (same.of(each.config, each.parameters) for each in (one, other))
    seen, also_seen = (_as_dvc_sees_it(each, project) for each in (one, other))
    assert {name: ones[name] == others[name] for name in STAGES} == {
        name: seen[name] == also_seen[name] for name in STAGES
    }
    assert ones == prefix_keys(one.config, project, one.parameters)


def test_what_is_at_an_address_counts_by_its_version(project: Project) -> None:
    files = fsspec.filesystem("memory")
    files.pipe("/prefix/a.csv", b"1")
    before = keys(project, "+data.root=memory://prefix")
    assert keys(project, "+data.root=memory://prefix") == before
    files.pipe("/prefix/a.csv", b"2")
    assert not set(keys(project, "+data.root=memory://prefix").values()) & set(before.values())
