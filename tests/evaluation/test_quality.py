from types import SimpleNamespace

import numpy as np
import pytest

from overwinter.errors import ConfigError, OverwinterError
from overwinter.evaluation import Examiner
from overwinter.evaluation.quality import predict_all

LABELS = np.arange(600) % 3
INPUTS = np.eye(3, dtype=np.float32)[LABELS]
SETTINGS = {"max_quality_loss": 0.4, "max_losses": {}, "corruptions": [], "measures": {}, "confidence": 0.95}
NAMES = ("one", "two", "three")


class Echo:
    """Session that returns its inputs, with zeros in place of those of some classes."""

    def __init__(self, *blind):
        self.blind = list(blind)

    def run(self, inputs):
        logits = inputs.copy()
        logits[np.isin(logits.argmax(axis=1), self.blind)] = 0.0
        return logits


def examiner(inputs=INPUTS, **changes):
    settings = SimpleNamespace(**SETTINGS | changes)
    return Examiner(inputs, LABELS[: len(inputs)], NAMES, settings, seed=0, trusted=["own_measures"])


def test_every_session_is_compared_with_dense():
    found = examiner(corruptions=["noise", "missing"]).examine({"dense@torch": Echo(), "int8@torch": Echo(2)})
    dense, int8 = found["dense@torch"], found["int8@torch"]
    assert dense.scores["accuracy"] == dense.scores["agreement_with_dense"] == 1.0
    assert int8.scores["accuracy"] == int8.scores["agreement_with_dense"] == pytest.approx(2 / 3)
    assert int8.accuracy_ci[0] < 2 / 3 < int8.accuracy_ci[1]
    assert int8.accuracy_loss_ci[0] < 1 / 3 < int8.accuracy_loss_ci[1]
    assert dense.accuracy_loss_ci[0] == -dense.accuracy_loss_ci[1]
    assert (int8.worst_class, int8.scores["worst_class_accuracy"]) == ("three", 0.0)
    assert set(int8.scores) == {
        "accuracy",
        "calibration_error",
        "agreement_with_dense",
        "worst_class_accuracy",
        "accuracy_noise",
        "accuracy_missing",
    }
    assert 0.5 < dense.scores["accuracy_missing"] < 1.0
    assert int8.to_json()["worst_class"] == "three"


def test_limits_name_what_is_worse_than_dense():
    limits = {"worst_class_accuracy": 0.5, "agreement_with_dense": 0.4, "calibration_error": 1.0}
    sessions = {"dense@torch": Echo(), "int8@torch": Echo(2), "int4@torch": Echo(1, 2)}
    found = examiner(max_losses=limits).examine(sessions)
    assert found["dense@torch"].broken_limits == ()
    assert found["int8@torch"].broken_limits == ("worst_class_accuracy 0.0000, dense 1.0000",)
    assert [each.split()[0] for each in found["int4@torch"].broken_limits] == [
        "accuracy",
        "worst_class_accuracy",
        "agreement_with_dense",
    ]


def test_of_the_calibration_error_less_is_better():
    class Sure(Echo):
        def run(self, inputs):
            return 20 * super().run(inputs)

    found = examiner(max_losses={"calibration_error": 0.1}).examine({"dense@torch": Sure(), "int8@torch": Echo()})
    assert [each.split()[0] for each in found["int8@torch"].broken_limits] == ["calibration_error"]
    found = examiner(max_losses={"calibration_error": 0.1}).examine({"dense@torch": Echo(), "int8@torch": Sure()})
    assert found["int8@torch"].broken_limits == ()


def test_a_limit_on_what_this_model_has_not_is_refused():
    with pytest.raises(ConfigError, match=r"evaluate\.max_losses\.top5_accuracy.*calibration_error"):
        examiner(max_losses={"top5_accuracy": 0.1}).examine({"dense@torch": Echo()})


def test_top_5_of_more_classes_than_five():
    logits = np.tile(np.arange(8, dtype=np.float32), (8, 1))
    names = [str(at) for at in range(8)]
    asked = Examiner(logits, np.arange(8), names, SimpleNamespace(**SETTINGS), seed=0, trusted=[])
    assert asked.examine({"dense@torch": Echo()})["dense@torch"].scores["top5_accuracy"] == 5 / 8


OWN = """
class Recall:
    def __init__(self, label):
        self.label = label
    def __call__(self, logits, labels):
        return (logits[labels == self.label].argmax(axis=1) == self.label).mean()

class Words(Recall):
    def __call__(self, logits, labels):
        return "many"

class Broken(Recall):
    def __call__(self, logits, labels):
        return {}[self.label]

class Mute:
    pass

def function(logits, labels):
    return 1.0
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_measures.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))


def measure(name, **arguments):
    return {"mine": {"_target_": f"own_measures.{name}", **arguments}}


@pytest.mark.usefixtures("own")
def test_a_measure_of_ones_own_is_asked_and_limited():
    asked = examiner(measures=measure("Recall", label=2), max_losses={"mine": 0.1})
    found = asked.examine({"dense@torch": Echo(), "int8@torch": Echo(2)})
    assert found["dense@torch"].scores["mine"] == 1.0
    assert found["int8@torch"].broken_limits == ("mine 0.0000, dense 1.0000",)


@pytest.mark.usefixtures("own")
def test_a_measure_that_is_not_one_is_refused_before_anything_is_asked():
    with pytest.raises(
        ConfigError, match=r"own_measures\.Mute' is the class Mute, not a class whose objects can be called"
    ):
        examiner(measures=measure("Mute"))
    with pytest.raises(ConfigError, match="not trusted"):
        examiner(measures={"mine": {"_target_": "os.system"}})
    with pytest.raises(OverwinterError, match="'many', which is not a finite number"):
        examiner(measures=measure("Words", label=2)).examine({"dense@torch": Echo()})


@pytest.mark.usefixtures("own")
def test_a_measure_that_fails_is_named():
    with pytest.raises(
        ConfigError, match=r"(?s)evaluate\.measures\.mine: .*is a function, not a class.*A measure is a class"
    ):
        examiner(measures=measure("function"))
    with pytest.raises(OverwinterError, match=r"evaluate\.measures\.mine failed: KeyError: 2"):
        examiner(measures=measure("Broken", label=2)).examine({"dense@torch": Echo()})


def test_labels_without_a_name_are_refused():
    settings = SimpleNamespace(**SETTINGS)
    with pytest.raises(ConfigError, match="labels from 0 to 5, and data names 2 classes"):
        Examiner(np.zeros((2, 2), np.float32), np.array([0, 5]), ["a", "b"], settings, seed=0, trusted=[])


def test_nan_in_a_response_is_refused():
    inputs = np.zeros((300, 3), np.float32)
    inputs[260, 1] = np.nan
    with pytest.raises(OverwinterError, match="test samples 256 to 299"):
        predict_all(Echo(), inputs)


def test_an_empty_split_is_refused():
    with pytest.raises(ConfigError, match="test split is empty"):
        examiner(np.zeros((0, 3), np.float32))


def test_without_dense_there_is_nothing_to_compare_with():
    with pytest.raises(ConfigError, match=r"evaluate\.runtimes"):
        examiner().examine({"int8@torch": Echo()})
