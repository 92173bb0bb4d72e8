"""What starts and stops the server where something else than the user does: files for orchestrators.

- A `Deployment` is a bundle and the rules it is served by, as the group `serve/` has them: when it may go to zero,
  which windows keep it ready, how many replicas there are.
- An `Orchestrator` (`interface`) is one target of `overwinter deploy`: it declares its own flags, is made from them and
  the bundle, and renders the files. `Kubernetes` (KEDA or Knative), `Systemd` (socket activation), `Cron`, `Container`
  (Containerfile and compose file) and `Vm` (cloud-init, and values for Terraform) are found by name through
  `overwinter.registries`, those of other packages by the entry point `overwinter.orchestrators`.
- `overwinter.deploy.timetable` moves cron expressions to an earlier time or another zone.
"""

from overwinter.deploy.container import Container
from overwinter.deploy.cron import Cron
from overwinter.deploy.deployment import Deployment
from overwinter.deploy.interface import Orchestrator
from overwinter.deploy.kubernetes import Kubernetes
from overwinter.deploy.systemd import Systemd
from overwinter.deploy.vm import Vm

__all__ = ["Container", "Cron", "Deployment", "Kubernetes", "Orchestrator", "Systemd", "Vm"]
