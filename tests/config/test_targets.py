import pytest

from overwinter.config import instantiate
from overwinter.errors import ConfigError


def test_a_trusted_target_is_called_with_its_arguments():
    node = {"_target_": "fractions.Fraction", "numerator": 3}
    assert instantiate(node, trusted=["fractions"], denominator=6) == 0.5


@pytest.mark.parametrize(
    "target",
    ["os.system", "builtins.eval", "subprocess.run", "fractions_evil.F", "overwinterx.A", "torchx.A"],
)
def test_an_untrusted_target_is_refused_before_anything_is_imported(target):
    with pytest.raises(ConfigError, match="not trusted"):
        instantiate({"_target_": target}, trusted=["fractions"])


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({}, "_target_ is missing"),
        ({"_target_": "fractions.Fractoin"}, "Did you mean 'Fraction'"),
        ({"_target_": "fractions.math"}, "not a class or a function"),
        ({"_target_": "builtins.type"}, "is built in"),
        ({"_target_": "no_such_package.Net"}, "no module 'no_such_package'"),
        ({"_target_": "fractions.Fraction", "numeratr": 1}, "unexpected keyword argument 'numeratr'"),
    ],
)
def test_a_target_that_cannot_be_used_says_why(node, message):
    with pytest.raises(ConfigError, match=message):
        instantiate(node, trusted=["fractions", "builtins", "no_such_package"])


def test_a_missing_dependency_of_the_users_own_module_is_not_hidden(tmp_path, monkeypatch):
    (tmp_path / "their_module.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        instantiate({"_target_": "their_module.Net"}, trusted=["their_module"])
