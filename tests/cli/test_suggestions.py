"""An unknown flag is answered with what was probably meant."""

import pytest

from overwinter.cli import main


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["rum"], "'run'"),
        (["simulate", "powr"], "'power'"),
        (["run", "--jsn"], "'--json'"),
        (["run", "--epochs", "5"], "train.epochs=5"),
        (["run", "--epochs=5"], "train.epochs=5"),
        (["run", "--epoch=5"], "train.epochs=5"),
        (["plan", "--batch-size"], "train.batch_size=VALUE"),
    ],
)
def test_the_nearest_is_named(words, meant, capsys):
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert f"Did you mean {meant}?" in capsys.readouterr().err.replace("the setting ", "")


def test_outside_of_a_project_there_are_no_settings(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["run", "--epochs", "5"])
    assert "train.epochs" not in capsys.readouterr().err
