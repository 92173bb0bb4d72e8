import inspect
import sys
import types

import numpy as np
import pytest
import torch

import overwinter
from overwinter.config import instantiate
from overwinter.config.targets import DATA, MEASURE, MODEL, find_target, trusted_target
from overwinter.errors import ConfigError, TargetError

MINE = """
import os
from collections import OrderedDict
from functools import partial
from torch import nn

class Net(nn.Module):
    def __init__(self, width=2, nested=None):
        super().__init__()
        self.head = nn.Linear(width, 2)

class Data:
    def split(self, name): ...

class Measure:
    def __call__(self, logits, labels): ...

def factory(width=2):
    return Net(width)

Linear = nn.Linear
ready = Net()
half = partial(Net, 2)
system = os.system
"""
FITS = {
    "model": lambda found: issubclass(found, torch.nn.Module),
    "data": lambda found: hasattr(found, "split"),
    "evaluate.measures": lambda found: any("__call__" in vars(base) for base in found.__mro__),
}
KINDS = {kind.key: kind for kind in (MODEL, DATA, MEASURE)}


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mine", None)


def find(target, key="model", trusted=(), functions=True, **arguments):
    node = {"_target_": target, **arguments}
    return find_target(node, KINDS[key], FITS[key], trusted=trusted, functions=functions)


@pytest.mark.parametrize("functions", [True, False])
@pytest.mark.parametrize(
    ("key", "target"),
    [
        ("model", "overwinter.models.ConvNet"),
        ("model", "overwinter.models.convnet.ConvNet"),
        ("model", "overwinter.models.CausalLanguageModel"),
        ("model", "torch.nn.Linear"),
        ("model", "torch.nn.modules.linear.Linear"),
        ("data", "overwinter.data.Digits"),
        ("data", "overwinter.data.text.Text"),
        ("model", "mine.Net"),
        ("data", "mine.Data"),
        ("evaluate.measures", "mine.Measure"),
    ],
)
def test_a_class_of_the_kind_is_found(key, target, functions):
    found = find(target, key, trusted=["mine"], functions=functions)
    assert inspect.isclass(found)
    assert found.__name__ == target.rpartition(".")[2]


def test_a_function_makes_models_in_a_configuration_only():
    assert find("mine.factory", trusted=["mine"]).__name__ == "factory"
    assert find("overwinter.models.pretrained").__name__ == "pretrained"
    for target in ("mine.factory", "overwinter.models.pretrained"):
        with pytest.raises(TargetError, match=r"is a function, not a class|is not trusted"):
            find(target, trusted=["mine"], functions=False)
    for key in ("data", "evaluate.measures"):
        with pytest.raises(TargetError, match="is a function, not a class"):
            find("mine.factory", key, trusted=["mine"])


def test_the_class_is_called_with_its_arguments():
    made = instantiate({"_target_": "mine.Net", "width": 3}, MODEL, FITS["model"], trusted=["mine"])
    assert made.head.in_features == 3
    with pytest.raises(ConfigError, match="unexpected keyword argument 'widht'"):
        instantiate({"_target_": "mine.Net", "widht": 3}, MODEL, FITS["model"], trusted=["mine"])


@pytest.mark.parametrize("key", KINDS)
@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "mine_evil.Net",
        "overwinterx.Net",
        "torchx.nn.Linear",
        "torch.utils.collect_env.run",
        "torch.hub.load",
        "torch.load",
        "torch.utils.cpp_extension.load_inline",
        "torch.jit.load",
        "torch.optim.SGD",
        "torch.nn",
        "torch.nn.functional.relu",
        "torch.nn.modules.module.torch.hub.load",
        "torch.nn.Module.apply",
        "torch.nn.Module.__init__",
        "torch.nn.utils.prune.Identity",
        "torch.nn.parallel.DistributedDataParallel",
        "torch.nn.DataParallel",
        "torch.nn.Parameter",
        "torch.nn.modules",
        "torch.nn.init.constant_",
        "torch.nn.intrinsic.LinearReLU",
        "torch.nn.L\u0131near",
        "torch.nn.\uff2cinear",
        "torch.nn.Linear.Linear",
        "torch.nn.modules.conv.Linear",
        "overwinter.models.save_model",
        "overwinter.data.InMemory",
        "overwinter.cli.main",
        "overwinter.units.format_bytes",
        "overwinter.models.huggingface.Path",
        "torch.nn.Linear.",
        ".torch.nn.Linear",
        "torch..nn.Linear",
        "torch.nn. Linear",
        "torch.nn.Linear\n",
        "torch",
        " ",
        "mine.__main__.Net",
        "torch.nn." + "A" * 300,
    ],
)
def test_what_is_no_class_of_the_kind_is_refused_without_importing_anything(key, target):
    before = set(sys.modules)
    for functions in (True, False):
        with pytest.raises(TargetError):
            find(target, key, trusted=["mine"], functions=functions)
    assert set(sys.modules) == before


@pytest.mark.parametrize("target", [None, "", 3, True, ["torch.nn.Linear"], {"_target_": "torch.nn.Linear"}])
def test_a_target_that_is_no_text_is_missing(target):
    with pytest.raises(TargetError, match=r"model\._target_ is missing"):
        trusted_target({"_target_": target}, MODEL, trusted=[])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("mine.Linear", r"is torch\.nn\.modules\.linear\.Linear, which is defined outside the trusted packages"),
        ("mine.OrderedDict", r"is collections\.OrderedDict, which is defined outside"),
        ("mine.Data", r"is the class Data, not a class that derives from torch\.nn\.Module"),
        ("mine.Nte", "Did you mean 'Net'"),
        ("mine.ready", "is a Net, not a class or a function"),
        ("mine.half", "is a partial, not a class or a function"),
        ("mine.os", "is a module, not a class or a function"),
        ("mine.system", "not a class or a function"),
        ("mine.Net.forward", "there is no module"),
        ("no_such_package.Net", "no module 'no_such_package'"),
        ("torch.nn.Liner", "no such class. Did you mean 'Linear'"),
    ],
)
def test_a_target_that_cannot_be_used_says_why(target, message):
    with pytest.raises(ConfigError, match=message):
        find(target, trusted=["mine", "no_such_package"])


@pytest.mark.parametrize(
    "arguments",
    [
        {"nested": {"_target_": "os.system"}},
        {"nested": [{"deep": {"_target_": "mine.Net"}}]},
        {"nested": object()},
        {"nested": torch.nn.Linear(1, 1)},
        {"width": 2**63},
        {"nested": list(range(100_001))},
    ],
)
def test_arguments_are_plain_data_of_some_size(arguments):
    with pytest.raises(TargetError, match="model: "):
        find("mine.Net", trusted=["mine"], **arguments)


def test_arguments_nested_without_end_are_refused():
    endless = []
    endless.append(endless)
    with pytest.raises(TargetError, match="too deeply nested"):
        find("mine.Net", trusted=["mine"], nested=endless)


def test_a_missing_dependency_of_the_users_own_module_is_not_hidden(tmp_path):
    (tmp_path / "their_module.py").write_text("import not_installed_anywhere\n")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        find("their_module.Net", trusted=["their_module"])


def reachable(name, module):
    """Every dotted name that attributes lead to from a module: of all modules on the way, and of what classes have."""
    left, seen = [(name, module)], {id(module)}
    while left:
        path, module = left.pop()
        for name, found in list(vars(module).items()):
            dotted = f"{path}.{name}"
            yield dotted, found
            if issubclass(type(found), types.ModuleType) and id(found) not in seen:  # not what pretends to be one
                seen.add(id(found))
                left.append((dotted, found))
            elif issubclass(type(found), type) and found.__module__.startswith(("torch.nn", "overwinter")):
                yield from ((f"{dotted}.{inner}", each) for inner, each in vars(found).items())


def loaded(*packages):
    """Every dotted name in the modules of some packages that are imported, by the module's own name."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in packages:
            yield from ((f"{name}.{attribute}", found) for attribute, found in list(vars(module).items()))


def test_nothing_that_can_be_called_is_ever_called_but_the_classes_of_the_kind():
    """All callables of torch, numpy and the standard library: under their own names, and by detours from torch.nn."""
    import torch.hub
    import torch.utils.collect_env
    import torch.utils.cpp_extension

    assert np.load is not None
    names = dict(loaded("torch", "numpy", "overwinter", "builtins", *sys.stdlib_module_names))
    names |= dict(reachable("torch.nn", torch.nn)) | dict(reachable("overwinter", overwinter))
    targets = [name for name, found in names.items() if callable(found)]
    assert len(targets) > 20_000
    assert {"torch.utils.collect_env.run", "os.system", "numpy.load"} <= set(targets)
    assert any(name.startswith("torch.nn.") and name.endswith(".system") for name in targets)  # by a detour

    before, passed = set(sys.modules), {key: {} for key in KINDS}
    for key, kind in KINDS.items():
        for target in targets:
            for functions in (True, False):
                try:
                    found = find_target({"_target_": target}, kind, FITS[key], trusted=[], functions=functions)
                except TargetError:
                    continue
                passed[key].setdefault(functions, {})[target] = found

    listed = {kind.key: {public.rpartition(".")[2] for public in kind.classes} for kind in KINDS.values()}
    for target, found in passed["model"][False].items():
        assert issubclass(found, torch.nn.Module), target
        assert found.__module__.startswith("torch.nn.modules.") or found.__name__ in listed["model"], target
    assert {name for name in passed["model"][True] if name not in passed["model"][False]} <= {
        "overwinter.models.pretrained",
        "overwinter.models.huggingface.pretrained",
    }
    assert {found.__name__ for found in passed["data"].get(True, {}).values()} <= listed["data"]
    assert passed["evaluate.measures"] == {}
    assert {name.partition(".")[0] for name in set(sys.modules) - before} <= {"overwinter"}
