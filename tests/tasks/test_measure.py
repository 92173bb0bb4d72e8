import math

import pytest

from overwinter.tasks import Measure

ACCURACY = Measure(name="accuracy")
RMSE = Measure(name="rmse", higher_is_better=False, unit="USD", relative=True)


@pytest.mark.parametrize(
    ("measure", "value", "dense", "loss"),
    [
        (ACCURACY, 0.97, 0.98, 0.01),
        (ACCURACY, 0.99, 0.98, -0.01),
        (Measure(name="calibration_error", higher_is_better=False), 0.05, 0.02, 0.03),
        (RMSE, 550.0, 500.0, 0.1),
        (RMSE, 0.0, 0.0, 0.0),
        (RMSE, 1.0, 0.0, math.inf),
    ],
)
def test_a_loss_is_in_points_or_a_share_of_the_dense_figure(measure, value, dense, loss):
    assert measure.loss(value, dense) == pytest.approx(loss)


@pytest.mark.parametrize(
    ("measure", "value", "words"),
    [
        (ACCURACY, 0.982, "98.20 %"),
        (RMSE, 512.4, "512 USD"),
        (Measure(name="perplexity", higher_is_better=False, relative=True), 2.314, "2.31"),
        (Measure(name="rmse", unit="ppm", relative=True), 0.6012, "0.601 ppm"),
        (Measure(name="r2", share=False), 0.98134, "0.981"),
    ],
)
def test_a_figure_is_described_with_its_unit(measure, value, words):
    assert measure.describe(value) == words


def test_a_loss_is_described_in_points_or_per_cent():
    assert (ACCURACY.describe_loss(0.012), RMSE.describe_loss(0.012)) == ("1.20 points", "1.20 %")
    assert Measure(name="r2", share=False).describe_loss(0.0123) == "0.0123"


def test_a_figure_is_named_for_people():
    assert Measure(name="f1_macro").describe_named(0.5) == "macro F1 50.00 %"
    assert Measure(name="top5_accuracy").title == "top5 accuracy"
