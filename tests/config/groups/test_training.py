"""What distributed training cannot do, and targets that no fit can reach, are refused before anything runs, by name."""

import pytest
import yaml

from overwinter.config import compose, validate
from overwinter.errors import ConfigError

TWO = ["train.distributed=ddp", "train.processes=2"]
MISSPELT = (
    r"^train\.to={'acuracy': 0\.9} names 'acuracy', which the task classification does not measure\. "
    r"Known: accuracy, .*\. Did you mean 'accuracy'\?\nSet train\.to={MEASURE: VALUE} with one of them, or null"
)


def checked(project, *overrides):
    return validate(compose(project, list(overrides)))


@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_two_processes_on_one_machine_need_nothing_else(project, kind):
    config = checked(project, f"train.distributed={kind}", "train.processes=2")
    assert (config.train.processes, config.train.nodes, config.torchrun.rendezvous) == (2, 1, None)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.processes=2"], "need train.distributed=ddp or fsdp"),
        (["train.batch_sizes=[0, 32]"], r"^train\.batch_sizes=\[0, 32\] has 0; each must be at least 1: "),
        (["train.distributed=dpp"], "train.distributed"),
        ([*TWO, "train=rigl", "sparsify=none"], "does not work with train.sparse,"),
        ([*TWO, "train=qat_int8", "sparsify=none"], "does not work with train.qat,"),
        ([*TWO, "train.shrink={amount: 0.5, at: [0.1]}"], "does not work with train.shrink,"),
        ([*TWO, "train.batch_sizes=[32, 64]"], "does not work with train.batch_sizes,"),
        ([*TWO, "train.compile=auto"], "does not work with train.compile=auto,"),
        ([*TWO, "train.whitening_samples=100"], "does not work with train.whitening_samples,"),
        (
            [*TWO, "train.method=pretrained", "model=huggingface", "model.root=x"],
            "does not work with train.method=pretrained,",
        ),
        (["train.distributed=fsdp", "train.muon_learning_rate=0.02"], "does not work with train.muon_learning_rate,"),
        (
            ["train.distributed=fsdp", "train=lora", "model=huggingface", "model.root=x"],
            "does not work with train.lora,",
        ),
        ([*TWO, "train.batch_size=1"], "has no sample for some of the 2 processes"),
        ([*TWO, "train.nodes=2"], "machines need torchrun.rendezvous"),
        ([*TWO, "torchrun.rendezvous=node1"], "must be host:port"),
        ([*TWO, "device=cuda:1"], "names one GPU"),
    ],
)
def test_what_does_not_work_is_refused_by_name(project, overrides, message):
    with pytest.raises(ConfigError, match=message):
        checked(project, *overrides)


@pytest.mark.parametrize("to", ["{accuracy: 0.9}", "{top5_accuracy: 0.9}"])
def test_a_target_is_a_measure_of_the_task(project, to):
    checked(project, f"train.to={to}", f"+sparsify.fit.to={to}")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["train.to={acuracy: 0.9}"], MISSPELT),
        (["train.to={accuracy: 91}"], r"^train\.to={'accuracy': 91(\.0)?}: accuracy is from 0 to 1, so 0\.9 is 90 %"),
        (["task=regression", "train.to={accuracy: 0.9}"], r"the task regression .* Known: r2, rmse, mae\."),
        (
            ["task=forecasting", "train.to={r2: 0.9}"],
            r"the task forecasting .* Known: mae_over_mean_change, mae, rmse\.",
        ),
        (["train.to={accuracy: 0.9, f1_macro: 0.9}"], r"must name one measure and its value, such as {accuracy: 0\.9}"),
        (["+sparsify.fit.to={acuracy: 0.9}"], r"^sparsify\.fit\.to={'acuracy': 0\.9} names 'acuracy'"),
    ],
)
def test_what_the_task_does_not_measure_is_no_target_of_a_fit(project, overrides, message):
    with pytest.raises(ConfigError, match=message):
        checked(project, *overrides)


def test_how_processes_meet_is_no_parameter_of_a_stage(project):
    """Another address or number of restarts gives the same result."""
    stages = yaml.safe_load(compose(project))["pipeline"]["stages"]
    assert not [name for name, stage in stages.items() if "torchrun" in stage["params"]]
