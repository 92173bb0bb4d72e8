from types import SimpleNamespace

import pytest

from overwinter.config.groups.figures import (
    check_figure_names,
    check_target_names,
    refuse_unknown_figures,
)
from overwinter.config.groups.task import OwnTaskConfig
from overwinter.errors import ConfigError
from overwinter.tasks import Classification, Measure
from overwinter.tasks.settings import (
    ClassificationTaskConfig,
    LanguageModelingTaskConfig,
    RegressionTaskConfig,
)


def config(task=None, *, stages=("train", "evaluate"), **changes):
    evaluate = {"max_losses": {}, "measures": {}, "corruptions": ["noise"]}
    quality = {"at_least": {}, "at_most": {}, "min_quality": None}
    for name, value in changes.items():
        (evaluate if name in evaluate else quality)[name] = value
    return SimpleNamespace(
        task=task or ClassificationTaskConfig(),
        evaluate=SimpleNamespace(**evaluate),
        budget=SimpleNamespace(quality=SimpleNamespace(**quality)),
        pipeline=SimpleNamespace(stages=dict.fromkeys(stages)),
    )


@pytest.mark.parametrize(
    ("task", "changes"),
    [
        (None, {}),
        (None, {"max_losses": {"worst_class_accuracy": 0.1, "top5_accuracy": 0, "accuracy_noise": 0.2}}),
        (None, {"max_losses": {"own": 0.1, "calibration_error": 0}, "measures": {"own": {}}}),
        (None, {"at_least": {"agreement_with_dense": 0.9, "accuracy_low": 0.8, "responses_per_s": 10}}),
        (None, {"at_most": {"size_bytes": 1e6, "accuracy_loss_high": 0.02}, "min_quality": 0.9}),
        (RegressionTaskConfig(), {"at_most": {"rmse": 500}, "max_losses": {"mae": 0.02}, "min_quality": -1}),
        (LanguageModelingTaskConfig(), {"max_losses": {"token_accuracy": 0.01}, "min_quality": 25}),
    ],
)
def test_figures_that_comparison_json_will_have_may_be_limited(task, changes):
    check_figure_names(config(task, **changes))


@pytest.mark.parametrize(
    ("task", "changes", "message"),
    [
        (None, {"max_losses": {"worst_clas_accuracy": 0.1}}, "Did you mean 'worst_class_accuracy'"),
        (None, {"max_losses": {"accuracy_blur": 0.1}}, "evaluate.max_losses names 'accuracy_blur', which is unknown"),
        (None, {"at_most": {"rmse": 5}}, "budget.quality.at_most names 'rmse', which is unknown. Known: accuracy, "),
        (None, {"at_least": {"worst_class": 5}}, "budget.quality.at_least names 'worst_class'"),
        (RegressionTaskConfig(), {"at_least": {"accuracy": 0.9}}, "Known: r2, rmse, mae, "),
        (RegressionTaskConfig(), {"max_losses": {"r2": 0.9}}, "evaluate.max_losses names 'r2'"),
        (None, {"measures": {"accuracy": {}}}, r"evaluate\.measures\.accuracy: this is the name of a built-in figure"),
        (None, {"measures": {"size_bytes": {}}}, "size_bytes: this is the name of a built-in figure"),
        (
            None,
            {"min_quality": 97},
            "budget.quality.min_quality=97: accuracy, the headline measure, is from 0 to 1",
        ),
    ],
)
def test_other_names_are_refused_with_the_list_and_the_nearest(task, changes, message):
    with pytest.raises(ConfigError, match=message):
        check_figure_names(config(task, **changes))


def test_without_an_evaluation_other_figures_may_be_judged():
    check_figure_names(config(stages=["train"], at_least={"f2": 0.5}))


def test_the_measures_of_ones_own_task_are_known_when_it_is_loaded():
    own = config(OwnTaskConfig(target="mine.Task"), at_least={"dice": 0.9}, max_losses={"hausdorff": 0.1})
    check_figure_names(own)
    task = SimpleNamespace(headline=Measure(name="dice"), measures={"dice": None, "hausdorff": None})
    refuse_unknown_figures(own, task)
    with pytest.raises(ConfigError, match="'hausdorff', which is unknown"):
        refuse_unknown_figures(own, Classification(["a", "b"]))


def test_the_target_of_a_fit_is_not_looked_up_in_ones_own_task():
    check_target_names(SimpleNamespace(task=OwnTaskConfig(target="mine.Task"), train=SimpleNamespace(to={"dice": 0.9})))
