import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import OmegaConf, open_dict

from overwinter.config import compose, configs_digest, validate
from overwinter.errors import ConfigError
from overwinter.sweep.space import read_space

CONFIGS = Path(__file__).parents[2] / "configs"
DVC_COMPOSES = """
import sys
from dvc.utils.hydra import compose_and_dump
compose_and_dump(sys.argv[1], sys.argv[2], None, "config", ".", sys.argv[3:])
"""

LANGUAGE = [
    "model=smollm2",
    "data=text",
    "pipeline=language",
    "task=language_modeling",
    "evaluate=language",
]

TABULAR = ["data=diamonds", "model=price_net", "task=regression", "trusted_targets=[diamonds]"]
FORECAST = ["data=mauna_loa", "model=weeks_ahead", "task=forecasting", "trusted_targets=[mauna_loa]"]
SEGMENTATION = ["data=clothes", "model=unet", "task=segmentation", "trusted_targets=[composed]"]
TEXT = ["data=plays", "model=minilm", "trusted_targets=[plays]"]

# What an option cannot know: the user has to say it.
NEEDED = {
    **{tuple(option.split("=")): case for case in (TABULAR, FORECAST, SEGMENTATION, TEXT) for option in case[:2]},
    ("carbon", "trace"): [f"carbon.path={__file__}"],
    ("data", "text"): [f"data.root={__file__}", f"data.tokenizer={__file__}"],
    ("model", "huggingface"): [*LANGUAGE[1:], f"model.root={__file__}"],
    ("model", "smollm2"): LANGUAGE[1:],
    ("train", "lora"): [*LANGUAGE, f"model.root={__file__}"],
    ("train", "rigl"): ["sparsify=none"],
    ("evaluate", "language"): ["pipeline=language"],
    ("pipeline", "language"): ["evaluate=language"],
    ("power", "budget_pacing"): ["budget.total='2 kWh'"],
    ("power", "price_aware"): [f"power.prices={__file__}"],
    ("quantize", "qat"): ["train=qat_int8", "sparsify=none"],
    ("train", "pretrained"): LANGUAGE,
}

# (group, option) of every file in configs/GROUP; those of a server and of sweeps have a configuration of their own.
APART = ("serve", "sweep")
OPTIONS = sorted((path.parent.name, path.stem) for path in CONFIGS.glob("*/*.yaml") if path.parent.name not in APART)
SWEEPS = sorted(path.stem for path in (CONFIGS / "sweep").glob("*.yaml"))


@pytest.mark.parametrize("overrides", [[], ["train.epochs=3", "quantize=none", "budget.total='2 kJ'"]])
def test_the_bytes_are_those_that_dvc_writes(project, tmp_path, overrides):
    target = tmp_path / "params.yaml"
    command = [sys.executable, "-c", DVC_COMPOSES, str(target), str(project.configs), *overrides]
    subprocess.run(command, check=True, cwd=tmp_path)
    assert compose(project, overrides) == target.read_text()


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_of_every_group_composes_and_is_valid(project, group, option):
    needed = NEEDED.get((group, option), [])
    validate(compose(project, [f"{group}={option}", *needed]), source=f"{group}={option}")


@pytest.mark.parametrize("option", SWEEPS)
def test_every_sweep_sets_keys_of_hydra_only_and_its_values_compose(project, option):
    with initialize_config_dir(str(project.configs), version_base=None):
        plain = hydra_compose("config", return_hydra_config=True)
        swept = hydra_compose("config", [f"+sweep={option}"], return_hydra_config=True)
    node = OmegaConf.to_container(swept.hydra.sweeper)
    with open_dict(swept), open_dict(plain):
        del swept.hydra, plain.hydra
    assert OmegaConf.to_yaml(swept) == OmegaConf.to_yaml(plain)
    varied = [f"{key}={text}" for key, text in node["params"].items()]
    jobs = [read_space(varied).job(values) for values in read_space(varied).points()] if varied else [()]
    for job in (jobs[0], jobs[-1]):
        validate(compose(project, job))


def test_a_sweep_is_no_part_of_the_digest(project, tmp_path):
    shutil.copytree(project.configs, tmp_path / "configs")
    digest = configs_digest(tmp_path / "configs")
    (tmp_path / "configs/sweep/mine.yaml").write_text("# @package _global_\n")
    assert configs_digest(tmp_path / "configs") == digest


def test_the_digest_follows_names_and_bytes(project, tmp_path):
    copy = tmp_path / "configs"
    shutil.copytree(project.configs, copy)
    digest = configs_digest(copy)
    assert digest == configs_digest(project.configs)
    assert f"configs_digest: {digest}" in compose(replace(project, configs=copy))
    (copy / "train" / "default.yaml").rename(copy / "train" / "other.yaml")
    assert configs_digest(copy) != digest
    (copy / "train" / "other.yaml").rename(copy / "train" / "default.yaml")
    (copy / "notes.txt").write_text("no configuration")
    assert configs_digest(copy) == digest


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sparsify=magnitud", "Did you mean 'magnitude'"),
        (
            "power.limit=150 W",
            r"power.limit: the selected option of power/ has no such key\..*power=static",
        ),
        ("train.learning_rat=1", "Did you mean 'train.learning_rate'"),
        ("evaluate.max_losses={own: 1}", r"'\+evaluate\.max_losses\.NAME=VALUE'"),
        ("nosuch=1", "nosuch: there is no such key. Known here: seed, device"),
        ("model.zzz=1", r"model\.zzz: there is no such key\..* '\+model\.zzz=VALUE'"),
        ("train.epochs=[1]", "train.epochs"),
        (
            "budget.total.energy=1J",
            r"budget\.total takes one value, and has no keys below it. Write budget\.total=VALUE",
        ),
        ("quantize.calibration_samples=many", "many"),
        ("seed=1,2", "several values"),
        ("train", "key=value"),
        ("data=text", r"takes its value from model\.root, which does not exist"),
        ("model=huggingface", r"No value for model\.root"),
    ],
)
def test_what_cannot_be_composed_says_why(project, override, message):
    with pytest.raises(ConfigError, match=message):
        validate(compose(project, [override]))


def test_a_missing_value_is_named(project, tmp_path):
    copy = tmp_path / "configs"
    shutil.copytree(project.configs, copy)
    path = copy / "train" / "default.yaml"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("epochs")))
    with pytest.raises(ConfigError, match=r"No value for train\.epochs"):
        validate(compose(replace(project, configs=copy)))
