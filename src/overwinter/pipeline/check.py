"""The first stage: nothing runs on parameters that are wrong or out of date."""

from __future__ import annotations

from overwinter.config import find_project, load_config
from overwinter.data.local_files import check_data
from overwinter.files import write_json
from overwinter.pipeline.composing import refuse_environment, refuse_stale
from overwinter.pipeline.events import emit
from overwinter.pipeline.parent_watch import watch_parent


def run_check() -> int:
    """Validate params.yaml, compare it with configs/ and dvc.yaml, and write the constant answer.

    Raises:
        ConfigError: a wrong or stale configuration, one that reads the environment, or missing data files.
    """
    watch_parent()
    emit("start", "check")
    project = find_project()
    config = load_config(project)
    refuse_stale(config, project)
    refuse_environment(project)
    check_data(config)
    write_json(project.outputs / "check" / "check.json", {"params": "valid"})
    return 0
