from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset

from overwinter.data import InMemory, Split
from overwinter.errors import ConfigError, OverwinterError
from overwinter.evaluation import Examiner
from overwinter.tasks import Classification, LanguageModeling, Regression

LABELS = np.arange(600) % 3
INPUTS = np.eye(3, dtype=np.float32)[LABELS]
SETTINGS = {"max_quality_loss": 0.4, "max_losses": {}, "corruptions": [], "measures": {}, "confidence": 0.95}
TASK = Classification(("one", "two", "three"))


class Echo:
    """Session that returns its inputs, with zeros in place of those of some classes."""

    def __init__(self, *blind):
        self.blind, self.batches = list(blind), []

    def run(self, inputs):
        self.batches.append(len(inputs))
        logits = inputs.copy()
        logits[np.isin(logits.argmax(axis=1), self.blind)] = 0.0
        return logits


def split(inputs=INPUTS, targets=LABELS, task=TASK):
    return Split(InMemory(torch.from_numpy(inputs), torch.from_numpy(targets)), name="test").use(task)


def examiner(task=TASK, **changes):
    return Examiner(task, SimpleNamespace(**SETTINGS | changes), seed=0, trusted=["own_measures"])


def examine(sessions, *, test=None, task=TASK, **changes):
    return examiner(task, **changes).examine(sessions, test or split())


def test_every_session_is_compared_with_dense():
    sessions = {"dense@torch": Echo(), "int8@torch": Echo(2)}
    found = examine(sessions, corruptions=["noise", "missing"])
    dense, int8 = found["dense@torch"], found["int8@torch"]
    assert dense.value == dense.figures["agreement_with_dense"] == 1.0
    assert dense.figures["divergence_from_dense"] == 0.0
    assert int8.figures["accuracy"] == int8.figures["agreement_with_dense"] == pytest.approx(2 / 3)
    assert int8.figures["divergence_from_dense"] > 0
    assert int8.figures["loss"] > dense.figures["loss"]
    assert int8.interval[0] < 2 / 3 < int8.interval[1]
    assert int8.loss_interval[0] < 1 / 3 < int8.loss_interval[1]
    assert (int8.worst_class, int8.figures["worst_class_accuracy"]) == ("three", 0.0)
    assert set(TASK.measures) < set(int8.figures)
    assert 0.5 < dense.figures["accuracy_missing"] < 1.0
    entry = int8.to_json()
    assert (entry["worst_class"], entry["accuracy_low"]) == ("three", int8.interval[0])
    assert (entry["accuracy_loss_low"], entry["accuracy_loss_high"]) == int8.loss_interval


def test_batches_go_through_all_sessions_and_none_is_larger_than_its_outputs_allow(monkeypatch):
    monkeypatch.setattr("overwinter.inputs._BATCH_BYTES", 100 * (12 + 12))
    steps, session = [], Echo()
    examiner().examine({"dense@torch": session}, split(), lambda *step: steps.append(step))
    assert session.batches == [1, 100, 100, 100, 100, 100, 100]
    assert steps[0] == (100, 600)
    assert steps[-1] == (600, 600)


def test_the_figures_do_not_depend_on_the_batches(monkeypatch):
    inputs = np.random.default_rng(0).standard_normal((600, 3)).astype(np.float32)
    sessions = {"dense@torch": Echo(), "int8@torch": Echo(1)}
    whole = examine(sessions, test=split(inputs))
    monkeypatch.setattr("overwinter.inputs._LARGEST_BATCH", 7)
    parts = examine(sessions, test=split(inputs))
    for name, each in whole.items():
        assert parts[name].figures == pytest.approx(each.figures)
        assert parts[name].interval == each.interval


class Stream(IterableDataset):
    def __iter__(self):
        return ((torch.from_numpy(value), int(label)) for value, label in zip(INPUTS, LABELS, strict=True))


def test_a_split_without_a_length_is_read_to_its_end():
    steps = []
    test = Split(Stream(), name="test").use(TASK)
    found = examiner().examine({"dense@torch": Echo()}, test, lambda *step: steps.append(step))
    assert found["dense@torch"].value == 1.0
    assert steps[-1] == (600, 600)


def test_limits_name_what_is_worse_than_dense():
    limits = {"worst_class_accuracy": 0.5, "agreement_with_dense": 0.4, "calibration_error": 1.0}
    sessions = {"dense@torch": Echo(), "int8@torch": Echo(2), "int4@torch": Echo(1, 2)}
    found = examine(sessions, max_losses=limits)
    assert found["dense@torch"].broken_limits == ()
    assert found["int8@torch"].broken_limits == ("worst_class_accuracy 0.00 %, dense 100.00 %",)
    assert [each.split()[0] for each in found["int4@torch"].broken_limits] == [
        "accuracy",
        "worst_class_accuracy",
        "agreement_with_dense",
    ]


def test_of_the_calibration_error_less_is_better():
    class Sure(Echo):
        def run(self, inputs):
            return 20 * super().run(inputs)

    limits = {"calibration_error": 0.1}
    found = examine({"dense@torch": Sure(), "int8@torch": Echo()}, max_losses=limits)
    assert [each.split()[0] for each in found["int8@torch"].broken_limits] == ["calibration_error"]
    found = examine({"dense@torch": Echo(), "int8@torch": Sure()}, max_losses=limits)
    assert found["int8@torch"].broken_limits == ()


def test_a_limit_on_what_this_model_has_not_is_refused():
    with pytest.raises(ConfigError, match=r"evaluate\.max_losses\.top5_accuracy.*calibration_error"):
        examine({"dense@torch": Echo()}, max_losses={"top5_accuracy": 0.1})


class Numbers:
    """Session of a regression that returns its only input, changed a little."""

    def __init__(self, factor=1.0):
        self.factor = factor

    def run(self, inputs):
        return self.factor * inputs["value"]


def test_a_regression_on_named_inputs_has_no_corruptions_and_says_so():
    values = np.random.default_rng(0).standard_normal((300, 1)).astype(np.float32)
    task = Regression(("price",), unit="USD")
    inputs = {"value": torch.from_numpy(values)}
    test = Split(InMemory(inputs | {"unused": inputs["value"]}, torch.from_numpy(values)), name="test").use(task)
    made = examiner(task, corruptions=["noise"], max_quality_loss=0.05)
    found = made.examine({"dense@torch": Numbers(), "int8@torch": Numbers(0.9), "int4@torch": Numbers(0.5)}, test)
    assert made.notes == ["corruptions are left out: they change one tensor of floats, and the inputs are not that"]
    assert found["int8@torch"].value == pytest.approx(0.99, abs=1e-3)
    assert found["int8@torch"].broken_limits == ()
    assert found["int4@torch"].broken_limits == ("r2 0.750, dense 1.00",)
    assert found["int8@torch"].loss_interval == pytest.approx((0.01, 0.01), abs=1e-3)
    assert found["int8@torch"].worst_class is None
    assert found["int8@torch"].describe().startswith("R2 0.990 (between 0.9")
    assert found["int8@torch"].loss().startswith("R2 loss against dense between 0.0")


def test_of_a_text_perplexity_is_the_headline_and_the_dense_model_may_have_an_origin():
    task = LanguageModeling()
    tokens = np.random.default_rng(0).integers(5, size=(12, 6))
    sharp = SimpleNamespace(run=lambda inputs: 4 * np.eye(5, dtype=np.float32)[inputs])
    flat = SimpleNamespace(run=lambda inputs: np.eye(5, dtype=np.float32)[inputs])
    settings = SimpleNamespace(**SETTINGS | {"max_quality_loss": 0.1})
    made = Examiner(task, settings, seed=0, trusted=[], origin="dequantized Q4_1")
    found = made.examine({"dense@torch": sharp, "int4@torch": flat}, split(tokens, tokens, task))
    dense, int4 = found["dense@torch"], found["int4@torch"]
    assert dense.value == pytest.approx(1 + 4 * np.exp(-4))
    assert int4.value == pytest.approx(1 + 4 * np.exp(-1))
    assert int4.loss_against(dense) == pytest.approx(int4.value / dense.value - 1)
    assert int4.loss_interval == pytest.approx((int4.loss_against(dense),) * 2)
    assert int4.broken_limits == ("perplexity 2.47, dense 1.07",)
    assert int4.figures["agreement_with_dense"] == 1.0
    assert int4.to_json()["origin"] == "dequantized Q4_1"
    assert "dense is dequantized Q4_1" in int4.describe()


def test_outputs_that_do_not_fit_the_targets_are_refused():
    narrow = SimpleNamespace(run=lambda inputs: inputs[:, :2])
    with pytest.raises(ConfigError, match="The model returns"):
        examine({"dense@torch": narrow})


OWN = """
class Recall:
    def __init__(self, label):
        self.label = label
    def __call__(self, outputs, targets):
        return (outputs[targets == self.label].argmax(axis=1) == self.label).mean()

class Words(Recall):
    def __call__(self, outputs, targets):
        return "many"

class Broken(Recall):
    def __call__(self, outputs, targets):
        return {}[self.label]

class Mute:
    pass

def function(outputs, targets):
    return 1.0

class Errors(Recall):
    higher_is_better = False

    def __call__(self, outputs, targets):
        return (outputs.argmax(axis=1) != targets).sum()
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_measures.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))


def measure(name, **arguments):
    return {"mine": {"_target_": f"own_measures.{name}", **arguments}}


@pytest.mark.usefixtures("own")
def test_a_measure_of_ones_own_is_asked_of_the_whole_split_and_limited(monkeypatch):
    monkeypatch.setattr("overwinter.inputs._LARGEST_BATCH", 50)
    sessions = {"dense@torch": Echo(), "int8@torch": Echo(2)}
    found = examine(sessions, measures=measure("Recall", label=2), max_losses={"mine": 0.1})
    assert found["dense@torch"].figures["mine"] == 1.0
    assert found["int8@torch"].broken_limits == ("mine 0.00, dense 1.00",)


@pytest.mark.usefixtures("own")
def test_a_measure_of_ones_own_says_when_less_is_better():
    sessions = {"dense@torch": Echo(2), "int8@torch": Echo(), "int4@torch": Echo(1, 2)}
    found = examine(sessions, measures=measure("Errors", label=0), max_losses={"mine": 10})
    assert found["int8@torch"].broken_limits == ()
    assert found["int4@torch"].broken_limits[-1] == "mine 400, dense 200"


@pytest.mark.usefixtures("own")
def test_a_measure_that_is_not_one_is_refused_before_anything_is_asked():
    with pytest.raises(
        ConfigError, match=r"own_measures\.Mute' is the class Mute, not a class whose objects can be called"
    ):
        examiner(measures=measure("Mute"))
    with pytest.raises(ConfigError, match="not trusted"):
        examiner(measures={"mine": {"_target_": "os.system"}})
    with pytest.raises(OverwinterError, match="'many', which is not a finite number"):
        examine({"dense@torch": Echo()}, measures=measure("Words", label=2))


@pytest.mark.usefixtures("own")
def test_a_measure_that_fails_is_named():
    with pytest.raises(
        ConfigError, match=r"(?s)evaluate\.measures\.mine: .*is a function, not a class.*A measure is a class"
    ):
        examiner(measures=measure("function"))
    with pytest.raises(OverwinterError, match=r"evaluate\.measures\.mine failed: KeyError: 2"):
        examine({"dense@torch": Echo()}, measures=measure("Broken", label=2))


def test_nan_in_a_response_is_refused_with_the_candidate_and_the_samples():
    inputs = np.eye(3, dtype=np.float32)[np.zeros(300, int)]
    broken = SimpleNamespace(run=lambda inputs: np.full_like(inputs, np.nan))
    with pytest.raises(OverwinterError, match="int8@torch: an output for the test samples 0 to 255 is not finite"):
        examine({"dense@torch": Echo(), "int8@torch": broken}, test=split(inputs, np.zeros(300, int)))


def test_an_empty_split_is_refused():
    with pytest.raises(ConfigError, match="test split is empty"):
        examine({"dense@torch": Echo()}, test=split(INPUTS[:0], LABELS[:0]))


def test_without_dense_there_is_nothing_to_compare_with():
    with pytest.raises(ConfigError, match=r"evaluate\.runtimes"):
        examine({"int8@torch": Echo()})
