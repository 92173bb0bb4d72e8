"""The first stage: validation of params.yaml, before anything runs."""

from __future__ import annotations

from overwinter.config import find_project, load_config
from overwinter.data.local_files import check_data, remote_versions
from overwinter.files import write_json
from overwinter.pipeline.composing import refuse_environment, refuse_stale
from overwinter.pipeline.events import emit
from overwinter.pipeline.parent_watch import watch_parent
from overwinter.pipeline.plots_page import write_vega
from overwinter.pipeline.render import CHECK_OUT, versions_out


def run_check() -> int:
    """Validate params.yaml, compare it with configs/ and dvc.yaml; write a constant, and versions of what is remote.

    Raises:
        ConfigError: the configuration is invalid, stale or reads the environment, or data files are missing.
    """
    watch_parent()
    emit("start", "check")
    project = find_project()
    config = load_config(project)
    refuse_stale(config, project)
    refuse_environment(project)
    check_data(config)
    write_json(project.root / CHECK_OUT, {"params": "valid"})
    for group, versions in remote_versions(config).items():
        write_json(project.root / versions_out(group), versions)
    write_vega(project)
    return 0
