"""Deployment files for orchestrators, which start and stop the server.

- A `Deployment` is a bundle with the settings of the group `serve/`: when it may scale to zero, the windows that keep
  it ready, the number of replicas.
- An `Orchestrator` (`interface`) is one target of `overwinter deploy`: it declares its flags, is constructed from them
  and the bundle, and renders the files. `Kubernetes` (KEDA or Knative), `Systemd` (socket activation), `Cron`,
  `Container` (Containerfile and compose file) and `Vm` (cloud-init, and values for Terraform) are found by name through
  `overwinter.registries`, those of other packages by the entry point `overwinter.orchestrators`.
- `overwinter.deploy.timetable` moves cron expressions to an earlier time or another time zone.
"""

from overwinter.deploy.container import Container
from overwinter.deploy.cron import Cron
from overwinter.deploy.deployment import Deployment
from overwinter.deploy.interface import Orchestrator
from overwinter.deploy.kubernetes import Kubernetes
from overwinter.deploy.systemd import Systemd
from overwinter.deploy.vm import Vm

__all__ = ["Container", "Cron", "Deployment", "Kubernetes", "Orchestrator", "Systemd", "Vm"]
