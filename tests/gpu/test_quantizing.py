import copy
import gc

import pytest
import torch
from torch import nn

from overwinter.errors import OverwinterError
from overwinter.models import Grid, integer_layers
from overwinter.quantization import Recipe, ScaleDistillation, apply_recipe, distill_scales, generate_text, sensitivity
from overwinter.tasks import LanguageModeling

TEXT = LanguageModeling(())
INT4 = Grid(bits=4, group_size=16, symmetric=False)
RECIPES = {
    "nearest": Recipe(solver="nearest", grid=INT4),
    "searched": Recipe(solver="searched", grid=INT4),
    "gptq": Recipe(solver="gptq", grid=INT4),
    "smooth": Recipe(solver="nearest", grid=Grid(bits=8), activations="dynamic", smoothing=0.7),
    "static": Recipe(solver="searched", grid=Grid(bits=8), activations="static"),
}


LANGUAGE = ["blocks.0.enter", "blocks.1.leave", "head"]


def layers(model):
    named = [name for name, each in model.named_modules() if isinstance(each, nn.Linear | nn.Conv2d)]
    return LANGUAGE if "head" in named and "blocks.0.enter" in named else named


def quantized(dense, recipe, samples, device):
    model = copy.deepcopy(dense)
    apply_recipe(model, recipe, layers(model), samples, device=device)
    return model


def home(model):
    return {tensor.device.type for tensor in model.state_dict().values()} == {"cpu"}


def taken():
    """Bytes of the device's memory, but for what waits to be collected."""
    gc.collect()
    return torch.cuda.memory_allocated()


def alike(one, other):
    """The share of equal codes, of the layer with the fewest."""
    pairs = zip(integer_layers(one).values(), integer_layers(other).values(), strict=True)
    return min(float((a.get_codes().codes == b.get_codes().codes).float().mean()) for a, b in pairs)


@pytest.mark.parametrize("method", RECIPES)
def test_a_gpu_finds_the_codes_that_a_cpu_finds(language, tokens, method):
    here, there = (quantized(language, RECIPES[method], tokens, device) for device in ("cpu", "cuda"))
    assert home(there)
    assert alike(here, there) > (0.9 if method == "gptq" else 0.999)  # GPTQ's sums are of inputs in bfloat16
    assert there.head.bias is None
    assert there.blocks[0].before.weight.requires_grad, "what is no layer's is as it was"


def test_convolutions_too(convnet):
    inputs = torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    recipe = Recipe(solver="gptq", grid=INT4, activations="static")
    here, there = (quantized(convnet, recipe, inputs, device) for device in ("cpu", "cuda"))
    assert home(there)
    assert alike(here, there) > 0.9


def test_its_memory_holds_one_block_and_is_given_back(language, tokens):
    def peak(blocks):
        model = copy.deepcopy(language)
        model.blocks.extend(copy.deepcopy(language.blocks[0]) for _ in range(blocks - 2))
        before = taken()
        torch.cuda.reset_peak_memory_stats()
        apply_recipe(model, RECIPES["gptq"], ["blocks.0.enter"], tokens, device="cuda")
        assert taken() == before
        return torch.cuda.max_memory_allocated() - before

    assert peak(4) == pytest.approx(peak(2), rel=0.05)


def test_weights_stay_in_the_memory_that_they_were_in(language, tokens):
    addresses = {name: each.data_ptr() for name, each in language.named_parameters()}
    apply_recipe(language, RECIPES["gptq"], ["blocks.1.enter"], tokens, device="cuda")
    kept = {name: each.data_ptr() for name, each in language.named_parameters()}
    assert kept == {name: at for name, at in addresses.items() if name != "blocks.1.enter.weight"}


def test_a_failure_brings_the_model_home(language, tokens):
    with torch.no_grad():
        language.embedding.weight[3] = torch.inf
    for attempt in (
        lambda: apply_recipe(language, RECIPES["gptq"], ["blocks.0.enter", "blocks.1.leave"], tokens, device="cuda"),
        lambda: apply_recipe(language, RECIPES["static"], ["blocks.1.leave"], tokens, device="cuda"),
    ):
        with pytest.raises(OverwinterError, match="NaN or infinity"):
            attempt()
        assert home(language)
    assert taken() == 0


def test_scale_distillation_learns_on_a_gpu_what_it_learns_on_a_cpu(language, tokens):
    dense, losses = language, {}
    for device in ("cpu", "cuda"):
        model = quantized(dense, RECIPES["nearest"], tokens, "cpu")
        scale_distillation = ScaleDistillation(steps=4, learning_rate=3e-3, batch_size=4)
        losses[device] = distill_scales(model, dense, [tokens], scale_distillation, task=TEXT, device=device)
        assert home(model)
        assert home(dense)
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=0.2, abs=1e-4)
    assert losses["cuda"][-1] < losses["cuda"][0]
    assert taken() == 0


def test_layers_are_as_sensitive_on_a_gpu(language, tokens):
    model = quantized(language, RECIPES["nearest"], tokens, "cpu")
    here, there = (sensitivity(language, model, tokens[:6], task=TEXT, device=device) for device in ("cpu", "cuda"))
    assert home(language)
    assert home(model)
    for name, damage in here.items():
        assert there[name].divergence == pytest.approx(damage.divergence, rel=1e-3, abs=1e-7)
        assert there[name].weight_error == pytest.approx(damage.weight_error, rel=1e-4)


def test_a_model_writes_on_a_gpu(language):
    text = generate_text(language, 3, 5, seed=0, device="cuda")
    assert text.shape == (3, 5)
    assert text.device.type == "cpu"
    assert home(language)
