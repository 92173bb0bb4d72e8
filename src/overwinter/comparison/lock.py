"""dvc.lock: the parameters, inputs and outputs of each stage's last run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from overwinter.documents import MAX_LOCK_BYTES, check_yaml
from overwinter.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Lock:
    """The content of a dvc.lock; empty if there is none.

    Attributes:
        stages: Stage -> its entry.
    """

    stages: Mapping[str, Mapping[str, Any]]

    def parameters(self, stage: str) -> Mapping[str, Any]:
        """Return the parameters that a stage ran with, by dotted key."""
        params = self.stages.get(stage, {}).get("params")
        found = params.get("params.yaml") if isinstance(params, dict) else None
        return found if isinstance(found, dict) else {}

    def md5(self, path: str) -> str | None:
        """Return the MD5 of an output; None if no stage wrote it."""
        return self._outs().get(path, (None, ""))[0]

    def outdated(self, stage: str) -> list[str]:
        """Return the stages whose outputs are no longer those that ``stage`` read."""
        outs = self._outs()
        made = [(outs[path], md5) for path, md5 in _entries(self.stages.get(stage, {}), "deps") if path in outs]
        return list(dict.fromkeys(maker for (now, maker), md5 in made if now != md5))

    def _outs(self) -> dict[str, tuple[str | None, str]]:
        return {path: (md5, name) for name, stage in self.stages.items() for path, md5 in _entries(stage, "outs")}


def read_lock(content: bytes | None) -> Lock:
    """Parse a dvc.lock; one that is missing or cannot be read is empty."""
    import yaml

    try:
        check_yaml(content or b"", where="dvc.lock", max_bytes=MAX_LOCK_BYTES)
        loaded = yaml.load(content or b"", Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 -- both are safe
    except (yaml.YAMLError, ValueError, ConfigError):
        loaded = None
    stages = loaded.get("stages") if isinstance(loaded, dict) else None
    known = stages.items() if isinstance(stages, dict) else ()
    return Lock(stages={str(name): stage for name, stage in known if isinstance(stage, dict)})


def _entries(stage: Mapping[str, Any], kind: str) -> Iterable[tuple[str, str | None]]:
    for item in stage.get(kind) or ():
        if isinstance(item, dict) and "path" in item:
            yield str(item["path"]), item.get("md5")
