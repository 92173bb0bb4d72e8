"""What starts and stops the server where something else than a person does: files for orchestrators.

- A `Deployment` is a bundle and the rules it is served by, as the group `serve/` has them: when it may go to zero,
  which windows keep it ready, how many replicas there are.
- A renderer turns it into the files of one orchestrator: `Kubernetes` (KEDA or Knative), `Systemd` (socket
  activation), `Cron`, `Container` (Containerfile and compose file), `Vm` (cloud-init, and values for Terraform). It is
  given one orchestrator's own settings, and neither reads nor writes anything.
- `overwinter.deploy.timetable` moves cron expressions to an earlier time or another zone.
"""

from overwinter.deploy.container import Container
from overwinter.deploy.cron import Cron
from overwinter.deploy.deployment import Deployment
from overwinter.deploy.kubernetes import Kubernetes
from overwinter.deploy.systemd import Systemd
from overwinter.deploy.vm import Vm

__all__ = ["Container", "Cron", "Deployment", "Kubernetes", "Systemd", "Vm"]
