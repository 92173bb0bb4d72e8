from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from overwinter.errors import ConfigError, OverwinterError
from overwinter.models import counted_sparsity, load_model, own_models, prunable_weights, save_model
from overwinter.signature import Signature
from overwinter.sparsity import Magnitude, MaskHook
from overwinter.tasks import Classification
from overwinter.training import fit

TASK = Classification(["a", "b"])


def new_model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 36, 16),
        nn.Linear(16, 2),
    )


def zeros(weight):
    return 1.0 - int(torch.count_nonzero(weight)) / weight.numel()


def run(model, hook, total=20, noise=0.1):
    """Steps of an optimizer that changes every weight, also the removed ones."""
    for step in range(1, total + 1):
        hook.before_step(step, total)
        with torch.no_grad():
            for weight in prunable_weights(model).values():
                weight.add_(noise * torch.randn_like(weight))
        hook.after_step(step, total)
        yield step


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("amount", [0.0, 0.3, 0.9])
def test_the_asked_share_is_zero_at_the_end(magnitude_config, train, scope, amount):
    model = new_model()
    sparsifier = Magnitude(magnitude_config(amount=amount, scope=scope))
    (hook,) = sparsifier.prepare(model, train)
    list(run(model, hook))
    assert counted_sparsity(model) == pytest.approx(amount, abs=0.01)
    assert sparsifier.report(model).reached == pytest.approx(counted_sparsity(model))
    if scope == "layer":
        assert all(zeros(each) == pytest.approx(amount, abs=0.02) for each in prunable_weights(model).values())


def test_masks_hold_and_only_grow(magnitude_config, train):
    model = new_model()
    (hook,) = Magnitude(magnitude_config()).prepare(model, train)
    gone = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in prunable_weights(model).items()}
    for _ in run(model, hook):
        for name, weight in prunable_weights(model).items():
            assert (weight[gone[name]] == 0).all()
            gone[name] = weight == 0
    assert hook.settled(20, 20)


def test_the_smallest_weights_go_first():
    weight = torch.tensor([0.4, -0.1, 0.3, -0.2])
    hook = MaskHook({"w": weight}, amount=0.5, scope="layer", ramp_fraction=1.0, update_interval_steps=1)
    hook.after_step(1, 1)
    assert weight.tolist() == pytest.approx([0.4, 0.0, 0.3, 0.0])


def test_global_scope_ranks_all_layers_together():
    large, small = torch.arange(10.0, 20.0), torch.arange(1.0, 11.0)
    hook = MaskHook(
        {"large": large, "small": small},
        amount=0.4,
        scope="global",
        ramp_fraction=1.0,
        update_interval_steps=1,
    )
    hook.after_step(1, 1)
    assert zeros(large) == 0.0
    assert zeros(small) == pytest.approx(0.8)


@given(amount=st.floats(0, 0.99), ramp=st.floats(0.01, 1), total=st.integers(1, 300))
def test_the_schedule_is_cubic_and_reaches_the_amount(amount, ramp, total):
    hook = MaskHook({}, amount=amount, scope="global", ramp_fraction=ramp, update_interval_steps=1)
    asked = [hook.sparsity_at(step, total) for step in range(total + 1)]
    assert asked == sorted(asked)
    assert asked[0] == 0.0
    assert asked[-1] == pytest.approx(amount)
    assert hook.settled(total, total)


def test_half_way_the_cubic_schedule_is_at_seven_eighths():
    hook = MaskHook({}, amount=0.8, scope="global", ramp_fraction=0.5, update_interval_steps=1)
    assert hook.sparsity_at(50, 200) == pytest.approx(0.8 * 7 / 8)
    assert not hook.settled(99, 200)
    assert hook.settled(100, 200)


def test_a_layer_that_would_vanish_is_refused_before_the_fine_tuning(magnitude_config, train):
    model = nn.Sequential(nn.Linear(10, 10), nn.Linear(10, 5))
    with torch.no_grad():
        model[1].weight.fill_(1e-6)
    with pytest.raises(OverwinterError, match="Every weight of 1 would be removed"):
        Magnitude(magnitude_config(amount=0.5)).prepare(model, train)


def test_a_layer_that_vanishes_while_it_is_trained_keeps_its_largest_weight():
    weights = {"large": torch.arange(1.0, 11.0), "small": torch.tensor([0.1, 0.1, 0.2, 0.1])}
    hook = MaskHook(weights, amount=0.5, scope="global", ramp_fraction=1.0, update_interval_steps=1)
    hook.after_step(1, 1)
    assert weights["small"].tolist() == pytest.approx([0.0, 0.0, 0.2, 0.0])


def test_equal_magnitudes_are_not_all_removed_at_once():
    weight = torch.ones(10)
    hook = MaskHook({"w": weight}, amount=0.3, scope="layer", ramp_fraction=1.0, update_interval_steps=1)
    hook.after_step(1, 1)
    assert zeros(weight) == pytest.approx(0.3)


def test_removed_weights_are_zero_bit_for_bit():
    weight = torch.tensor([-0.1, 0.1, 1.0, -1.0])
    hook = MaskHook({"w": weight}, amount=0.5, scope="layer", ramp_fraction=1.0, update_interval_steps=1)
    hook.after_step(1, 1)
    assert not torch.signbit(weight[:2]).any()


def test_skipped_layers_keep_their_weights_and_are_listed(magnitude_config, train):
    model = new_model()
    sparsifier = Magnitude(magnitude_config(skip=["5"]))
    (hook,) = sparsifier.prepare(model, train)
    list(run(model, hook))
    assert zeros(model[5].weight) == 0.0
    report = sparsifier.report(model)
    assert report.left_alone == {"5": "named in sparsify.skip"}
    assert [layer.name for layer in report.layers] == ["0", "4"]


def test_a_pattern_that_matches_nothing_is_refused(magnitude_config, train):
    with pytest.raises(ConfigError, match=r"sparsify\.skip='haed' matches no layer"):
        Magnitude(magnitude_config(skip=["haed"])).prepare(new_model(), train)


def test_layers_of_other_kinds_are_listed(magnitude_config, train):
    model = nn.Sequential(nn.Embedding(3, 4), nn.Linear(4, 2))
    sparsifier = Magnitude(magnitude_config())
    assert sparsifier.report(model).left_alone == {"0": "Embedding is neither Linear nor a convolution"}


def fine_tuned(sparsifier, train, settings, folder=None, stop=None):
    class StoppedError(Exception):
        pass

    def progress(done, total, **figures):
        if done == stop:
            raise StoppedError

    model = new_model()
    arguments = {"seed": 0, "device": torch.device("cpu"), "threads": 1, "checkpoints": folder}
    hooks = sparsifier.prepare(model, train)
    try:
        return fit(model, train, train, settings, task=TASK, hooks=hooks, progress=progress, **arguments).model
    except StoppedError:
        return None


def test_the_sparsity_is_the_one_of_the_saved_weights(magnitude_config, train, settings, tmp_path):
    settings = replace(settings, epochs=10, batch_size=3)
    model = fine_tuned(Magnitude(magnitude_config(amount=0.8)), train, settings)
    config = {"_target_": f"{__name__}.new_model"}
    saved = save_model(
        tmp_path, model, variant="sparse", model_config=config, signature=Signature.of_one([3, 8, 8]), lineage={}
    )
    assert saved["sparsity"] == pytest.approx(0.8, abs=0.005)
    with own_models():
        assert counted_sparsity(load_model(tmp_path, trusted=[__name__])) == saved["sparsity"]


@pytest.mark.parametrize("stop", [3, 9, 10, 17])
def test_an_interrupted_fine_tuning_ends_with_the_same_masks(magnitude_config, train, settings, tmp_path, stop):
    settings = replace(settings, epochs=10, batch_size=3)
    undisturbed = fine_tuned(Magnitude(magnitude_config()), train, settings)
    assert fine_tuned(Magnitude(magnitude_config()), train, settings, tmp_path, stop) is None
    resumed = fine_tuned(Magnitude(magnitude_config()), train, settings, tmp_path)
    for name, tensor in undisturbed.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name])
