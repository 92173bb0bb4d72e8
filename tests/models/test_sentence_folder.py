import json

import pytest

from overwinter.errors import ConfigError
from overwinter.models.sentence_folder import read_pooling

LIBRARY = "sentence_transformers.models."


def write(folder, *modules, **flags):
    listed = [{"idx": n, "path": f"{n}_{name}", "type": f"{LIBRARY}{name}"} for n, name in enumerate(modules)]
    (folder / "modules.json").write_text(json.dumps(listed))
    if "Pooling" in modules:
        pooling = folder / f"{modules.index('Pooling')}_Pooling"
        pooling.mkdir()
        (pooling / "config.json").write_text(json.dumps({f"pooling_mode_{key}": value for key, value in flags.items()}))


def test_a_plain_folder_takes_the_mean(tmp_path):
    assert read_pooling(tmp_path) == ("mean", False)


@pytest.mark.parametrize(
    ("flags", "pooling"),
    [({"cls_token": False, "mean_tokens": True}, "mean"), ({"cls_token": True, "max_tokens": False}, "cls")],
)
def test_the_folder_tells_how_it_pools(tmp_path, flags, pooling):
    write(tmp_path, "Transformer", "Pooling", "Normalize", **flags)
    assert read_pooling(tmp_path) == (pooling, True)


def test_without_normalize_lengths_stay(tmp_path):
    write(tmp_path, "Transformer", "Pooling", mean_tokens=True)
    assert read_pooling(tmp_path) == ("mean", False)


@pytest.mark.parametrize(
    ("modules", "flags", "message"),
    [
        (("Transformer", "Pooling", "Dense"), {"mean_tokens": True}, "has the modules Dense; Transformer, Pooling"),
        (("Transformer", "Pooling"), {"max_tokens": True}, "pools by max_tokens; one of mean_tokens, cls_token"),
        (("Transformer", "Pooling"), {"mean_tokens": True, "cls_token": True}, "pools by mean_tokens, cls_token"),
        (("Transformer", "Pooling"), {}, "pools by nothing"),
    ],
)
def test_what_is_not_supported_is_told(tmp_path, modules, flags, message):
    write(tmp_path, *modules, **flags)
    with pytest.raises(ConfigError, match=message):
        read_pooling(tmp_path)


def test_a_broken_folder_is_told(tmp_path):
    (tmp_path / "modules.json").write_text("[1]")
    with pytest.raises(ConfigError, match="malformed"):
        read_pooling(tmp_path)
    (tmp_path / "modules.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_pooling(tmp_path)
