"""Where the figures of the run's GPUs come from: the nodes of a cluster, or this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forge_tui.engines.base import Engine
from forge_tui.resources.host_gpus import HostGpus, held_on
from forge_tui.runner.machine import Machine


class DeviceSource:
    """The GPUs of each machine that the engine has workers on, with what each worker holds there."""

    def __init__(self, machine: Machine, engine: Engine) -> None:
        self._machine, self._engine = machine, engine
        self._here: HostGpus | None = None

    def hosts(self) -> Sequence[HostGpus]:
        """The machines; of this one with the figures of the last sample."""
        cluster = self._engine.cluster_gpus()
        return (self._this_machine(),) if cluster is None else cluster.hosts

    def _this_machine(self) -> HostGpus:
        look, before = self._machine.latest, self._here
        gpus = look.resources.gpus
        # While the driver does not answer, the sample has the last answer again, and none of what was taken since.
        if before is None or gpus is not before.gpus:
            pids = {process.pid for gpu in gpus for process in gpu.processes or ()}
            held = held_on(gpus, self._engine.owners(pids)) if pids else {}
            before = HostGpus(None, look.number, look.number, gpus, held)
        self._here = HostGpus(None, look.number, before.read, before.gpus, before.held)
        return self._here

    def sample(self, host: str | None) -> int:
        """The number of a machine's newest sample; 0 if the machine is gone."""
        return next((one.sample for one in self.hosts() if one.host == host), 0)

    def problems(self) -> Mapping[str, str | None]:
        """Why a device cannot be used, or None, by UUID, as the driver says now; on a node as it last said."""
        if self._engine.cluster_gpus() is None:
            self._machine.look_anew()
        return {gpu.uuid: gpu.problem for host in self.hosts() for gpu in host.gpus}
