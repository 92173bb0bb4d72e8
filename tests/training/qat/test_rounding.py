import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overwinter.training.qat.rounding import lessened, relaxed, straight_through

LOW, HIGH = torch.tensor(-8.0), torch.tensor(7.0)


def sampled(values, *, hard=False, noise=0.3, temperature=1.0, neighbours=2):
    return relaxed(
        values, LOW, HIGH, noise=torch.tensor(noise), temperature=temperature, neighbours=neighbours, hard=hard
    )


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=20))
def test_straight_through_gives_the_nearest_grid_point(numbers):
    values = torch.tensor(numbers)
    assert torch.equal(straight_through(values, LOW, HIGH), values.round().clamp(-8, 7))


def test_straight_through_lets_the_gradient_pass_where_nothing_was_clipped():
    values = torch.tensor([-9.0, -7.6, 0.4, 6.9, 8.0], requires_grad=True)
    straight_through(values, LOW, HIGH).sum().backward()
    assert values.grad.tolist() == [0, 1, 1, 1, 0]


@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=20), st.integers(0, 9), st.booleans())
def test_a_relaxed_sample_stays_on_the_grid_and_its_gradients_are_finite(numbers, seed, hard):
    torch.manual_seed(seed)
    values = torch.tensor(numbers, requires_grad=True)
    result = sampled(values, hard=hard)
    result.sum().backward()
    assert bool(((result >= LOW) & (result <= HIGH)).all())
    assert bool(torch.isfinite(values.grad).all())
    assert not hard or torch.equal(result, result.round())


def test_hard_samples_follow_the_probabilities_of_the_cells():
    torch.manual_seed(0)
    value, noise = 2.3, 0.25
    samples = sampled(torch.full((200_000,), value), hard=True, noise=noise)
    edges = torch.tensor([1.5, 2.5, 3.5])
    below = torch.sigmoid((edges - value) / noise)
    expected = {2: float(below[1] - below[0]), 3: float(below[2] - below[1])}
    for point, probability in expected.items():
        assert float((samples == point).float().mean()) == pytest.approx(probability, abs=0.006)


@pytest.mark.parametrize("temperature", [0.3, 1.0])
@pytest.mark.parametrize("neighbours", [1, 3])
def test_its_slopes_are_those_of_its_samples(temperature, neighbours):
    values = torch.linspace(-7.9, 6.9, 24, dtype=torch.float64).requires_grad_()  # no clipping, no half step
    noise = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)

    def same_sample(values, noise):
        torch.manual_seed(5)
        return relaxed(values, LOW, HIGH, noise=noise, temperature=temperature, neighbours=neighbours, hard=False)

    assert torch.autograd.gradcheck(same_sample, (values, noise))


def test_a_hard_sample_has_the_slopes_of_the_relaxed_one():
    slopes = []
    for hard in (False, True):
        values = torch.linspace(-7.9, 6.9, 24).requires_grad_()
        torch.manual_seed(5)
        sampled(values, hard=hard).sum().backward()
        slopes.append(values.grad)
    assert torch.equal(*slopes)
    assert slopes[0].abs().max() > 0


def test_little_noise_and_a_low_temperature_round_to_nearest():
    values = torch.tensor([-3.2, 0.3, 5.7])
    assert torch.allclose(sampled(values, noise=0.01, temperature=0.01), values.round())


def test_the_noise_learns_too():
    noise = torch.tensor(0.3, requires_grad=True)
    torch.manual_seed(1)
    relaxed(torch.rand(50), LOW, HIGH, noise=noise, temperature=1.0, neighbours=1, hard=False).square().sum().backward()
    assert noise.grad is not None
    assert float(noise.grad) != 0


def test_lessened_changes_the_gradient_only():
    values = torch.tensor([1.5, 2.0], requires_grad=True)
    result = lessened(values, 0.25)
    result.sum().backward()
    assert torch.equal(result, values)
    assert values.grad.tolist() == [0.25, 0.25]
