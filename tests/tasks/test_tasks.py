"""Every task keeps the contract: its targets, loss, measures, divergence, agreement and responses."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from overwinter import tasks
from overwinter.errors import ConfigError
from tests.tasks.contracts import CONTRACTS, LABELS, RANDOM, logits, measured

NAMES = sorted(CONTRACTS)


@pytest.fixture(params=NAMES)
def contract(request):
    return CONTRACTS[request.param]


def perfect(name, outputs, targets):
    if name in ("regression", "forecasting", "embeddings"):
        return targets.reshape(outputs.shape)
    if name == "multilabel":
        return 40.0 * (2 * targets - 1)
    axis = 1 if name == "segmentation" else -1
    return np.moveaxis(40.0 * np.eye(outputs.shape[axis])[targets], -1, axis)


def divergence(task, outputs, reference, temperature=1.0):
    return task.divergence(torch.as_tensor(outputs), torch.as_tensor(reference), temperature).numpy()


def test_targets_and_outputs_that_fit_are_taken(contract):
    task, outputs, targets = contract
    read = task.read_targets(targets)
    assert np.array_equal(read, targets)
    task.check_outputs(outputs, read)


def test_the_loss_is_a_finite_scalar_with_a_gradient(contract):
    task, outputs, targets = contract
    leaf = torch.tensor(outputs, requires_grad=True)
    loss = task.loss(leaf, torch.as_tensor(targets))
    loss.backward()
    assert loss.shape == ()
    assert torch.isfinite(loss)
    assert leaf.grad.abs().sum() > 0


def test_half_precision_outputs_have_a_loss_in_single_precision(contract):
    task, outputs, targets = contract
    assert task.loss(torch.as_tensor(outputs).bfloat16(), torch.as_tensor(targets)).dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "shape"),
    [("language_modeling", (2, 5, 7)), ("token_classification", (2, 5, 3)), ("segmentation", (2, 3, 4, 4))],
)
@pytest.mark.parametrize("innermost", [False, True], ids=["as_made", "classes_innermost"])
def test_the_loss_is_torchs_cross_entropy_with_its_gradient_however_the_logits_lie(name, shape, innermost):
    task = tasks.load_task({"name": name}, "abc")
    made = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    outputs = made.movedim(task.class_axis, -1).contiguous().movedim(-1, task.class_axis) if innermost else made
    targets = torch.zeros(made.movedim(task.class_axis, 1)[:, 0].shape, dtype=torch.int64)
    targets[0, 1:] = 2
    targets[1, 0] = tasks.IGNORED

    losses, slopes = [], []
    for of in (task.loss, lambda found, wanted: cross_entropy(found.movedim(task.class_axis, 1), wanted)):
        logits = outputs.clone(memory_format=torch.preserve_format).requires_grad_()
        losses.append(of(logits, targets))
        slopes.append(torch.autograd.grad(losses[-1], logits)[0])
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("name", NAMES)
def test_perfect_outputs_are_the_best_by_every_measure_and_by_the_loss(name):
    task, outputs, targets = CONTRACTS[name]
    best = perfect(name, outputs, targets)
    found, others = measured(task, best, targets), measured(task, outputs, targets)
    assert set(found) == set(task.measures)
    assert task.headline.name in found
    for measure in task.measures.values():
        assert measure.loss(others[measure.name], dense=found[measure.name]) > 0, measure.name
    losses = [float(task.loss(torch.as_tensor(each), torch.as_tensor(targets))) for each in (best, outputs)]
    assert losses[0] < losses[1]


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(NAMES), order=st.permutations(range(8)), cut=st.integers(min_value=1, max_value=7))
def test_rows_joined_in_any_order_and_parts_give_the_same_figures(name, order, cut):
    task, outputs, targets = CONTRACTS[name]
    parts = [task.rows(outputs[part], targets[part]) for part in (order[:cut], order[cut:])]
    assert task.measure(tasks.join_rows(parts)) == pytest.approx(measured(task, outputs, targets))


def test_divergence_is_zero_from_itself_and_grows_with_the_change(contract):
    task, outputs, _ = contract
    noise = RANDOM.normal(size=outputs.shape).astype(np.float32)
    same, near, far = (divergence(task, outputs + scale * noise, outputs) for scale in (0.0, 0.01, 0.5))
    assert same.shape == near.shape == (len(outputs),)
    assert same == pytest.approx(0.0, abs=1e-9)
    assert 0 < near.mean() < far.mean()


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(NAMES), scale=st.floats(0, 30, width=32), temperature=st.sampled_from([0.5, 1.0, 4.0]))
def test_divergence_is_never_negative_and_its_gradient_is_finite(name, scale, temperature):
    task, outputs, _ = CONTRACTS[name]
    leaf = torch.tensor(outputs * np.float32(scale), requires_grad=True)
    found = task.divergence(leaf, torch.as_tensor(outputs), temperature)
    found.sum().backward()
    assert (found > -1e-6).all()
    assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize("name", ["regression", "forecasting"])
def test_one_sample_alone_has_a_divergence(name):
    task, outputs, _ = CONTRACTS[name]
    assert np.isfinite(divergence(task, outputs[:1] + 1, outputs[:1])).all()


def test_outputs_agree_with_themselves_and_less_with_others(contract):
    task, outputs, _ = contract
    same, other = task.agreement(outputs, outputs), task.agreement(np.roll(outputs, 1, axis=0), outputs)
    assert same.tolist() == [1.0] * len(outputs)
    assert other.shape == (len(outputs),)
    assert 0 <= other.min() <= other.mean() < 1


def test_a_response_is_json(contract):
    task, outputs, _ = contract
    assert json.loads(json.dumps(task.respond(outputs[0])))


def test_outputs_of_another_shape_are_refused_with_both_shapes(contract):
    task, outputs, targets = contract
    with pytest.raises(ConfigError, match="returns"):
        task.check_outputs(np.concatenate([outputs, outputs], axis=1), targets)


@pytest.mark.parametrize(
    ("task", "targets", "hint"),
    [
        (tasks.Classification(LABELS), np.array([0.25, 0.5]), r"between 0.25 and 0.5.*task=regression\?"),
        (tasks.Classification(LABELS), np.array([0, 3]), "the target 3"),
        (tasks.Classification(LABELS), np.array([326.0, 340.0]), r"the target 340.*task=regression\?"),
        (tasks.Classification(LABELS), np.array([-100, 2]), "the target -100"),
        (tasks.Classification(LABELS), np.array([1.0, np.nan]), "1 of 2 target values are NaN"),
        (tasks.Classification(LABELS), np.array(["cat", "dog"]), "such as .*cat.*labels"),
        (tasks.Classification(()), np.array([0, 1]), "names no classes"),
        (tasks.Classification(LABELS), np.eye(len(LABELS)), r"the place of the 1 in each row, or task=multilabel\?"),
        (tasks.Classification(LABELS), np.zeros((2, len(LABELS)), int), r"sample\. task=multilabel\?"),
        (tasks.Classification(LABELS), np.full((2, 3), 0.5), r"task=multilabel or task=regression\?"),
        (tasks.Classification(LABELS), np.zeros((2, 9), int), r"task=segmentation or task=token_classification\?"),
        (tasks.Multilabel(LABELS), np.array([0, 1]), r"task=classification\?"),
        (tasks.Multilabel(LABELS), np.array([[0, 1, 2]]), r"the target 2.*task=regression\?"),
        (tasks.Regression(["x"]), np.array([1.0, np.nan]), "1 of 2 target values are NaN"),
        (tasks.Regression(["x"]), np.array([True, False]), r"task=classification"),
        (tasks.Regression(["x"]), np.zeros((2, 3, 4)), r"task=forecasting"),
        (tasks.TokenClassification(LABELS), np.array([0, 1]), r"task=classification\?"),
        (tasks.Segmentation(LABELS), np.zeros((2, 3), int), r"task=token_classification\?"),
        (tasks.Forecasting(["x"]), np.zeros(4), r"task=regression\?"),
        (tasks.LanguageModeling(), np.zeros((2, 3)), "number of the next token"),
        (tasks.LanguageModeling(), np.full((2, 3), -1), "the target -1"),
    ],
)
def test_targets_of_another_task_are_refused_with_what_would_fit(task, targets, hint):
    with pytest.raises(ConfigError, match=hint):
        task.read_targets(targets)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_class_numbers_of_any_type_are_read_as_int64(dtype, shape):
    read = tasks.Classification(LABELS).read_targets(np.array([0, 1], dtype).reshape(shape))
    assert read.dtype == np.int64
    assert read.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("task", "targets", "dtype", "shape"),
    [
        (tasks.Multilabel(LABELS), np.ones((2, 3), bool), np.float32, (2, 3)),
        (tasks.Regression(["x"]), np.ones((2, 1), np.int32), np.float32, (2, 1)),
        (tasks.Forecasting(["x"]), np.ones((2, 4), np.float64), np.float32, (2, 4)),
        (tasks.Segmentation(LABELS), np.ones((2, 1, 4, 5), np.uint8), np.int64, (2, 4, 5)),
        (tasks.LanguageModeling(), np.ones((2, 4), np.int32), np.int64, (2, 4)),
    ],
)
def test_targets_are_read_in_the_type_of_the_task(task, targets, dtype, shape):
    read = task.read_targets(targets)
    assert (read.dtype, read.shape) == (dtype, shape)


def test_what_does_not_count_changes_no_figure():
    task = CONTRACTS["token_classification"][0]
    outputs, targets = logits(2, 4, 3), np.array([[0, 1, 2, 0], [1, 1, 0, 2]])
    longer = np.concatenate([outputs, logits(2, 2, 3)], axis=1)
    padded = np.concatenate([targets, np.full((2, 2), -100)], axis=1)
    assert measured(task, longer, padded) == measured(task, outputs, targets)
    losses = [
        float(task.loss(torch.as_tensor(each), torch.as_tensor(wanted)))
        for each, wanted in ((outputs, targets), (longer, padded))
    ]
    assert losses[0] == pytest.approx(losses[1])


@pytest.mark.parametrize("name", ["token_classification", "segmentation", "language_modeling"])
def test_a_batch_in_which_nothing_counts_teaches_nothing_and_data_of_such_batches_are_refused(name):
    task, outputs, targets = CONTRACTS[name]
    none = task.read_targets(np.full_like(targets, -100))
    leaf = torch.tensor(outputs, requires_grad=True)
    task.loss(leaf, torch.as_tensor(none)).backward()
    assert not leaf.grad.any()
    with pytest.raises(ConfigError, match="does not count"):
        measured(task, outputs, none)


def test_a_forecast_of_one_step_is_measured_by_the_spread_of_the_targets():
    truth = np.array([[1.0], [3.0]])
    assert measured(tasks.Forecasting(["co2"]), truth + 0.5, truth)["mae_over_mean_change"] == pytest.approx(0.5)


def test_values_in_other_units_count_alike_for_divergence():
    task = tasks.Regression(["price", "share"])
    reference = logits(8, 2)
    scaled = reference * np.float32([1000.0, 1.0])
    noise = 0.1 * logits(8, 2)
    assert divergence(task, scaled + noise * np.float32([1000.0, 1.0]), scaled) == pytest.approx(
        divergence(task, reference + noise, reference), rel=1e-4
    )
