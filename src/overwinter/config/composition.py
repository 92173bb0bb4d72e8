"""Composition of configs/ and overrides into the text of params.yaml, byte for byte as `dvc exp run -S` writes it.

DVC composes with three calls (`compose`, `OmegaConf.resolve`, `OmegaConf.to_yaml`), and so does `compose`. The plugin
in `hydra_plugins.overwinter` registers the schemas and the resolver for `configs_digest` in both.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from overwinter.config.environment import environment
from overwinter.config.expansion import refuse_expansion
from overwinter.config.project import Project
from overwinter.errors import ConfigError, nearest

_ONE_AT_A_TIME = threading.Lock()  # Hydra's state is one for the process

_HYDRA_ALONE = ("sweep", "hydra")  # groups that set keys of `hydra` only


def compose(project: Project, overrides: Sequence[str] = (), *, from_environment: bool = False) -> str:
    """Return the text of params.yaml for ``overrides`` in Hydra's grammar.

    Args:
        project: The project with the configs/ to compose.
        overrides: The overrides, in Hydra's grammar.
        from_environment: Whether values may come from `${oc.env:NAME}`; False for text that is written to a file.

    Raises:
        ConfigError: an unknown key, group or option, a value of the wrong type, a missing value, or a value from the
            environment.
    """
    import yaml
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    refuse_swept(overrides)
    try:
        with environment(allowed=from_environment):
            with initialize_config_dir(str(project.configs), version_base=None):
                config = hydra_compose(config_name=project.config_name, overrides=list(overrides))
            refuse_expansion(config)
            OmegaConf.resolve(config)
            missing = sorted(OmegaConf.missing_keys(config))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explain(error, project)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a file is not YAML; OmegaConf passes this on
        raise ConfigError(f"{project.configs} cannot be composed: {error}. Fix that file.") from None
    if missing:
        raise ConfigError(f"No value for {', '.join(missing)}. Set it in {project.configs} or on the command line.")
    return OmegaConf.to_yaml(config)


def read_parameters(text: str) -> dict[str, Any]:
    """Return the content of the text of a params.yaml, as DVC reads it."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(text, Loader=loader)  # noqa: S506 -- the C twin of SafeLoader, ten times as quick
    return content if isinstance(content, dict) else {}


def refuse_swept(overrides: Sequence[str]) -> None:
    """Raise ConfigError for a malformed override, or a sweep."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_overrides(list(overrides))
    except (HydraException, RecursionError) as error:
        raise ConfigError(f"{_first_line(error)}\nWrite an override as key=value, such as train.epochs=5.") from None
    for override in parsed:
        if override.is_sweep_override():
            raise ConfigError(f"{override.input_line} is a sweep over several values. Give one value per run.")


def configs_digest(configs: Path) -> str:
    """Return the SHA-256 of the names and contents of all YAML files under ``configs``.

    Those of sweeps and launchers do not count: nothing of them is in params.yaml.
    """
    digest = hashlib.sha256()
    for path in sorted(configs.rglob("*.yaml")):
        place = path.relative_to(configs)
        if place.parts[0] in _HYDRA_ALONE:
            continue
        content = path.read_bytes()
        digest.update(f"{place.as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


@contextlib.contextmanager
def explained_composition(project: Project) -> Iterator[None]:
    """Raise what Hydra refuses about a sweep, or a file that is not YAML, as a ConfigError that says what to do.

    Args:
        project: The project with the configs/ that are composed.

    Raises:
        ConfigError: Hydra does not accept the overrides, or a file cannot be read.
    """
    import yaml
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        GlobalHydra.instance().clear()  # `explain` composes, too
        raise ConfigError(explain(error, project)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{project.configs} cannot be composed: {error}. Fix that file.") from None


def explain(error: Exception, project: Project) -> str:
    """Return Hydra's message, shortened, with the nearest known name; or the message of our error that it wraps."""
    if (own := own_error(error)) is not None:
        return str(own)
    lines = [line.strip() for line in _messages(error) if line.strip()]
    if lines and "Could not find '" in lines[0]:
        return _unknown_option(lines)
    if lines and lines[0].startswith("Could not override '"):
        return _unknown_key(lines[0].split("'")[1], project)
    if lines and lines[0].startswith("Interpolation key '"):
        return _unknown_source(lines)
    if lines and lines[0].startswith("Error merging override ") and (described := _below_a_value(lines[0], project)):
        return described
    noise = ("full_key:", "object_type=", "reference_type=", "Config search path")
    return "\n".join([line for line in lines if not line.startswith(noise)][:2])


def _unknown_key(key: str, project: Project) -> str:
    known = _known_keys(project)
    if key in known:
        return f"{key} is a mapping with keys that you choose. Set them one by one: '+{key}.NAME=VALUE'."
    if options := _options_with(key, project):
        group = key.partition(".")[0]
        return f"{key}: the selected option of {group}/ has no such key. Options that have it: {', '.join(options)}."
    said = f"{key}: there is no such key."
    owner = key.rpartition(".")[0]
    if f"{owner}._target_" in known:  # takes what its class takes
        return f"{said}{nearest(key, known)} If its class takes it, add it: '+{key}=VALUE'."
    if close := nearest(key, known):
        return said + close
    beside = [name.removeprefix(f"{owner}.") for name in known if name.rpartition(".")[0] == owner]
    return f"{said} Known here: {', '.join(beside)}." if beside else said


def _options_with(key: str, project: Project) -> list[str]:
    """Return the options, such as `power=static`, whose file has the key ``key``, such as `power.limit`."""
    group, _, name = key.partition(".")
    files = sorted((project.configs / group).glob("*.yaml")) if name else []
    has_key = re.compile(rf"^{re.escape(name)}:", re.MULTILINE)
    return [f"{group}={path.stem}" for path in files if has_key.search(path.read_text("utf-8", errors="replace"))]


def _below_a_value(line: str, project: Project) -> str | None:
    """Explain `Error merging override budget.total.energy=1J`, where ``budget.total`` takes one value."""
    override = line.removeprefix("Error merging override ").strip("'")
    key = override.partition("=")[0].lstrip("+~")
    owner = next((name for name in sorted(_known_keys(project), reverse=True) if key.startswith(f"{name}.")), None)
    if owner is None:
        return None
    return f"{override}: {owner} takes one value, and has no keys below it. Write {owner}=VALUE."


def _unknown_source(lines: list[str]) -> str:
    """Explain `Interpolation key 'model.root' not found`."""
    source = lines[0].split("'")[1]
    return f"A key takes its value from {source}, which does not exist. Select an option that has it, or set that key."


def _unknown_option(lines: list[str]) -> str:
    """Explain `In 'config': Could not find 'sparsify/foo'`, which is followed by a list of options."""
    wanted = lines[0].split("'")[-2]
    start = next((place for place, line in enumerate(lines) if line.startswith("Available options")), len(lines))
    options = list(takewhile(lambda line: not line.startswith("Config search path"), lines[start + 1 :]))
    group, _, name = wanted.rpartition("/")
    if not options:
        return f"There is no group or option {wanted!r} in configs/."
    return f"{group}={name}: there is no such option. Known: {', '.join(options)}.{nearest(name, options)}"


def own_error(error: BaseException | None) -> ConfigError | None:
    """Return the error of ours that Hydra or OmegaConf wrapped, if there is one."""
    while error is not None and not isinstance(error, ConfigError):
        error = error.__cause__ or error.__context__
    return error


def _messages(error: BaseException) -> list[str]:
    causes = [error]
    while (cause := causes[-1].__cause__) is not None:
        causes.append(cause)
    lines = "\n".join(str(each) for each in causes).splitlines()
    return list(dict.fromkeys(lines))


def _known_keys(project: Project) -> list[str]:
    """Return all keys of the default composition, dotted."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import DictConfig

    with initialize_config_dir(str(project.configs), version_base=None):
        config = hydra_compose(config_name=project.config_name)

    def walk(node: DictConfig, prefix: str) -> list[str]:
        keys = []
        for key in node:
            name = f"{prefix}{key!s}"
            keys.append(name)
            child = node._get_node(key)
            if isinstance(child, DictConfig) and not child._is_none() and not child._is_missing():
                keys += walk(child, f"{name}.")
        return keys

    return walk(config, "")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


@contextlib.contextmanager
def hydra_set_aside() -> Iterator[None]:
    """Let configurations be composed while Hydra is initialized, whose state is restored; one thread at a time."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.initialize import get_gh_backup, restore_gh_from_backup

    with _ONE_AT_A_TIME:
        backup = get_gh_backup()
        GlobalHydra.instance().clear()
        try:
            yield
        finally:
            restore_gh_from_backup(backup)
