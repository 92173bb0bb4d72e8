import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from overwinter import training
from overwinter.config.groups import TrainConfig
from overwinter.errors import ConfigError
from overwinter.models import AwareLayer, Grid, integer_layers, load_description, load_model, replace_layer, save_model
from overwinter.signature import Signature
from overwinter.sparsity.settings import MagnitudeConfig
from overwinter.tasks import Classification

TASK = Classification(["dark", "bright"])


def integer_type(model, found):
    model = copy.deepcopy(model)
    for name, entry in found.items():
        replace_layer(model, name, AwareLayer.from_json(entry).integer_layer(model.get_submodule(name)))
    return model


def outputs(model, images):
    with torch.inference_mode():
        return model.eval()(images.dataset.inputs)


@pytest.fixture(params=["straight_through", "straight_through learned", "relaxed", "relaxed_straight_through"])
def settings(request, straight, relaxed):
    rounding, _, learned = request.param.partition(" ")
    chosen = relaxed if rounding.startswith("relaxed") else straight
    return replace(chosen, rounding=rounding, scale="learned" if learned else chosen.scale)


@pytest.mark.parametrize(
    "changes",
    [{}, {"group_size": 5, "symmetric": False}, {"weight_bits": 8}, {"activation_bits": 4}, {"activation_bits": None}],
    ids=str,
)
def test_the_integer_layers_response_as_the_fake_quantized_model_bit_for_bit(
    fit, new_model, settings, validation, changes, tmp_path
):
    result, awareness = fit(new_model(), replace(settings, **changes))
    fake = outputs(result.model, validation)
    found = awareness.finish()
    config = {"_target_": "overwinter.models.ConvNet", "input_shape": [1, 4, 4], "classes": 2, "channels": [4, 6]}
    save_model(
        tmp_path,
        result.model,
        variant="dense",
        model_config=config,
        signature=Signature.of_one([1, 4, 4]),
        lineage={},
        quantization_aware=found,
    )
    loaded = integer_type(load_model(tmp_path, trusted=[]), load_description(tmp_path)["quantization_aware"])
    assert set(integer_layers(loaded)) == {"features.0.0", "features.1.0", "head"}
    assert torch.equal(outputs(loaded, validation), fake)
    assert result.measures["accuracy"] > 0.8
    assert training.evaluate(loaded, validation, TASK).measures["accuracy"] == result.measures["accuracy"]


def test_nothing_of_the_fake_quantizers_is_left(fit, new_model, settings, validation):
    plain = new_model()
    result, awareness = fit(new_model(), settings)
    found = awareness.finish()
    assert set(result.model.state_dict()) == set(plain.state_dict())
    assert [type(each) for each in result.model.modules()] == [type(each) for each in plain.modules()]
    assert not any(each._forward_pre_hooks for each in result.model.modules() if each is not result.model)
    for name, entry in found.items():
        weight = result.model.get_submodule(name).weight.flatten(1)
        steps = weight / torch.tensor(entry["scale"])
        assert torch.allclose(steps, steps.round(), atol=1e-4)
        assert Grid(bits=4).top + 1 >= len(steps.round().unique()) > 2


def test_phases_follow_the_steps(new_model, straight, train_config):
    model = new_model()
    awareness = training.make_aware(model, train_config(replace(straight, start_fraction=0.0, freeze_fraction=0.5)))
    quantizer = model.head.parametrizations.weight[0]
    seen = [quantizer.phase.value]
    model(torch.randn(8, 1, 4, 4))
    for step in range(1, 7):
        awareness.after_step(step, 6)
        seen.append(quantizer.phase.value)
        assert awareness.settled(step, 6) == (step >= 3)
    assert seen == ["watching", "quantizing", "quantizing", "frozen", "frozen", "frozen", "frozen"]


@pytest.mark.parametrize("relax_activations", [True, False])
def test_activations_are_relaxed_only_where_it_is_asked_for(new_model, relaxed, train_config, relax_activations):
    model = new_model()
    training.make_aware(model, train_config(replace(relaxed, relax_activations=relax_activations)))
    assert model.head.parametrizations.weight[0].log_noise is not None
    assert (model.head.input_quantizer.log_noise is not None) == relax_activations


def test_the_noise_falls_in_a_line_until_scales_freeze(new_model, relaxed, train_config):
    model = new_model()
    settings = replace(relaxed, start_fraction=0.2, freeze_fraction=0.7, final_noise_share=0.5)
    awareness = training.make_aware(model, train_config(settings))
    quantizer, seen = model.head.parametrizations.weight[0], []
    model(torch.randn(8, 1, 4, 4))
    for step in range(1, 11):
        awareness.after_step(step, 10)
        seen.append(quantizer.noise_share)
    assert seen == pytest.approx([1, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.5, 0.5])
    awareness.load_state_dict({"step": torch.tensor(4), "total": torch.tensor(10)})
    assert quantizer.noise_share == pytest.approx(0.8)


def test_frozen_scales_and_batch_statistics_stand_still(new_model, settings, train_config):
    model = new_model()
    awareness = training.make_aware(model, train_config(settings))
    model(torch.randn(8, 1, 4, 4))
    awareness.after_step(7, 10)
    frozen = {name: value.clone() for name, value in model.named_buffers()}
    model.train()
    model(torch.randn(8, 1, 4, 4) * 9).square().sum().backward()
    assert all(torch.equal(value, frozen[name]) for name, value in model.named_buffers())
    assert not any(name.endswith("log_scale") and each.grad is not None for name, each in model.named_parameters())
    assert model.head.parametrizations.weight.original.grad is not None


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", [2, 11, 26])
def test_killed_at_any_step_and_started_again_ends_with_equal_bits(fit, new_model, settings, tmp_path, step):
    def dies(done, total, **figures):
        if done == step:
            raise Killed

    undisturbed, awareness = fit(new_model(), settings)
    with pytest.raises(Killed):
        fit(new_model(), settings, checkpoints=tmp_path, progress=dies)
    resumed, resumed_awareness = fit(new_model(), settings, checkpoints=tmp_path)
    assert resumed.resumed
    assert resumed.history == undisturbed.history
    assert resumed_awareness.finish() == awareness.finish()
    first, second = undisturbed.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_masks_and_a_teacher_take_part(fit, new_model, straight, validation):
    model, teacher = new_model(), new_model()
    mask = MagnitudeConfig(
        version=1, method="magnitude", amount=0.5, scope="layer", ramp_fraction=0.4, update_interval_steps=1, skip=[]
    )
    masks = mask.open().prepare(model, None)
    loss = training.DistillationLoss(TASK, teacher, weight=0.2, temperature=2.0)
    result, awareness = fit(model, straight, hooks=masks, loss=loss)
    fake = outputs(result.model, validation)
    found = awareness.finish()
    for name in found:
        weight = result.model.get_submodule(name).weight
        assert int((weight == 0).sum()) >= weight.numel() // 2
    assert torch.equal(outputs(integer_type(result.model, found), validation), fake)


def test_ranges_that_were_only_watched_round_to_nearest(new_model, straight, train_config, validation):
    model = new_model()
    weight = model.head.weight.detach().clone()
    awareness = training.make_aware(model, train_config(straight))
    model(validation.dataset.inputs)
    awareness.finish()
    grid = Grid(bits=4)
    assert torch.equal(model.head.weight, grid.decode(grid.nearest(weight)))


def test_without_qat_nothing_happens(new_model, fit_settings):
    model = new_model()
    awareness = training.make_aware(model, TrainConfig(**fit_settings))
    assert awareness.hooks == []
    assert awareness.finish() is None
    assert not any(each._forward_pre_hooks for each in model.modules() if each is not model)


def test_skipped_shared_and_unserved_layers_are_named(straight, train_config):
    shared = nn.Linear(4, 4)
    model = nn.Sequential(nn.Conv1d(1, 1, 1), shared, nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[2].weight = shared.weight
    awareness = training.make_aware(model, train_config(replace(straight, skip=["3"])))
    assert awareness.left_in_float == {
        "0": "there is no integer version of Conv1d",
        "1": "its weight is another layer's too",
        "3": "train.qat.skip names '3'",
    }
    assert list(awareness.finish()) == ["4"]


def test_a_pattern_that_fits_nothing_is_refused(new_model, straight, train_config):
    with pytest.raises(ConfigError, match=r"train.qat.skip names 'haed', which fits no layer.*head"):
        training.make_aware(new_model(), train_config(replace(straight, skip=["haed"])))


def test_a_model_with_nothing_to_quantize_is_refused(straight, train_config):
    with pytest.raises(
        ConfigError, match="serves none of the model's layers: 0: there is no integer version of Conv1d"
    ):
        training.make_aware(nn.Sequential(nn.Conv1d(1, 1, 1)), train_config(straight))


@pytest.mark.special
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_it_trains_on_a_gpu(fit, new_model, settings, validation):
    result, awareness = fit(new_model(), settings, device=torch.device("cuda"))
    fake = outputs(result.model, validation)
    assert torch.equal(outputs(integer_type(result.model, awareness.finish()), validation), fake)
