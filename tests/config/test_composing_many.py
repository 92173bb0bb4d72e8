"""Many points composed from copies: each equal to a composition of its own, byte for byte, right or wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from overwinter.config import Config, compose, find_project, validate
from overwinter.config import composing_many as many
from overwinter.config.composing_many import Composer, Composition
from overwinter.config.composition import read_parameters
from overwinter.errors import ConfigError

ROOT = Path(__file__).parents[2]
CASES = (ROOT, ROOT / "pipelines" / "tabular", ROOT / "pipelines" / "qat")
POINTS = 200
GROUPS = (
    ("sparsify=channels", "sparsify=none", "sparsify=magnitude"),
    ("quantize=int8_static", "quantize=none", "quantize=int8_dynamic"),
    ("carbon=constant", "carbon=country"),
    ("power=none", "power=schedule"),
    ("runtime=all", "runtime=torch", "runtime=null"),
    ("budget=default", "budget=saving"),
)
VALUES = (
    "train.epochs=7",
    "train.learning_rate=1e-3",
    "train.weight_decay=1",
    "train.schedule=null",
    "train={epochs:9,batch_size:32}",
    "train.batch_size=${evaluate.threads}",
    "sparsify.fit.epochs=${train.epochs}",
    "seed=3",
    "threads=null",
    "device='cuda:1'",
    "trusted_targets=[my_package,other]",
    "budget.total='2 kJ and 10 min'",
    "budget.stages.train=1 mJ",
    "+extensions.mine={a:1,b:[x,2,3.5,true,null]}",
    "++extensions.mine.c='yes'",
    "++extensions.deep.er.key=1e5",
    "~model.dropout",
    "~extensions",
    "+evaluate.max_losses.own=0.1",
    "evaluate.batch_sizes=[1,8]",
    "evaluate.batch_sizes.0=4",
    "ledger.project='a: b # c'",
    'ledger.project="it\'s 12:30"',
    "ledger.project=2026-01-01",
    "ledger.project='1_000'",
    "hibernate.notes='  two  spaces, äöü ☃ '",
    "hibernate.notes='\\${not.an.interpolation}'",
    "hardware.idle_w={cpu:3}",
    "model.dropout=0.25",
    "+model.extra=[[1,2],{a:b}]",
    "energy.sources=[]",
    "hydra.verbose=true",
    # Wrong, each in its own way.
    "nokey=1",
    "train.epoch=1",
    "train.epochs=abc",
    "seed=-1",
    "+seed=4",
    "sparsify=magnitud",
    "quantize@extensions=none",
    "ledger.project=${oc.env:HOME}",
    "ledger.project=${hydra:runtime.cwd}",
    "model.dropout=???",
    "budget.total.energy=1J",
    "seed=1,2",
    "train.epochs",
)
_Outcome = tuple[str, Config] | str


def _alone(project, overrides: list[str]) -> _Outcome:
    text = compose(project, overrides)
    return text, validate(text)


def _outcome(work: Callable[[], _Outcome]) -> _Outcome:
    try:
        return work()
    except ConfigError as error:
        return str(error)


def _drawn(source: random.Random) -> list[str]:
    """Return overrides, one in five of them wrong; the first words of VALUES are right."""
    wrong = VALUES.index("nokey=1")
    values = source.sample(VALUES[:wrong], source.randint(0, 4))
    values += source.sample(VALUES[wrong:], 1) if source.random() < 0.2 else []
    drawn = [*(source.choice(group) for group in source.sample(GROUPS, source.randint(0, 3))), *values]
    source.shuffle(drawn)
    return drawn


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_random_points_are_those_that_hydra_composes_alone(case):
    project, source = find_project(case), random.Random(20)
    composer = Composer(project)
    for _ in range(POINTS // len(CASES) + 1):
        overrides = _drawn(source)
        expected = _outcome(lambda overrides=overrides: _alone(project, overrides))

        def quickly(overrides: list[str] = overrides) -> _Outcome:
            made = composer.compose(overrides)
            assert made.parameters == read_parameters(made.params)
            return made.params, made.config

        assert _outcome(quickly) == expected, overrides


@pytest.mark.parametrize("override", VALUES[::2])  # the slow test takes all of them
def test_each_kind_of_override_gives_the_same_alone(project, override):
    composer = Composer(project)
    expected = _outcome(lambda: _alone(project, [override]))

    def quickly() -> _Outcome:
        made = composer.compose([override])
        return made.params, made.config

    assert _outcome(quickly) == expected


def _composed_in_full(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    full: list[list[str]] = []

    def noted(project, overrides):
        full.append(list(overrides))
        return compose(project, overrides)

    monkeypatch.setattr(many, "compose", noted)
    return full


def test_values_are_set_on_copies_and_groups_composed_once(project, monkeypatch):
    full = _composed_in_full(monkeypatch)
    composed: list[tuple[str, ...]] = []
    monkeypatch.setattr(Composer, "_composed", _noting(Composer._composed, composed))
    composer = Composer(project)
    for sparsify in ("sparsify=none", "sparsify=channels"):
        for epochs in range(2, 6):
            composer.compose([sparsify, f"train.epochs={epochs}"])
    assert full == []
    assert composed == [("sparsify=none",), ("sparsify=channels",)]


def _noting(work, composed):
    def noted(self, groups):
        composed.append(groups)
        return work(self, groups)

    return noted


def test_a_point_leaves_no_trace_in_the_next(project):
    composer = Composer(project)
    before = composer.compose([])
    composer.compose(["++extensions.mine.a=1", "~model.dropout", "evaluate.batch_sizes=[1,32,64]"])
    assert composer.compose([]) == before


@pytest.mark.parametrize("override", ["hydra.verbose=true", "quantize@extensions=none"])
def test_what_is_not_certain_is_composed_in_full(project, monkeypatch, override):
    full = _composed_in_full(monkeypatch)
    composer = Composer(project)
    _outcome(lambda: composer.compose([override]).params)
    assert full == [[override]]


def test_equal_groups_are_one_object(project):
    composer = Composer(project)
    one, other = (composer.compose([f"train.epochs={epochs}"]) for epochs in (2, 3))
    assert isinstance(one, Composition)
    assert one.config.evaluate is other.config.evaluate
    assert one.config.train != other.config.train
