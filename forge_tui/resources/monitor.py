"""Samples CPU, memory and pressure in a background thread, and passes on each sample."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from forge_tui.resources.cgroups import CgroupLimits, read_limits
from forge_tui.resources.policy import GIB, Thresholds
from forge_tui.resources.pressure import Pressure, read_pressure
from forge_tui.resources.system_probe import SystemProbe
from forge_tui.resources.usage import SAMPLE_SECONDS, CpuMeter, CpuUsage, Own

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ResourceSample:
    """The machine's use at one moment: percent (0–100), memory in bytes.

    `memory_limit` is what this process may use (without a limit, the machine's); `usage` the CPU use since the sample
    before.
    """

    time: float
    cpu_percent: float
    others_cpu_percent: float
    per_core: tuple[float, ...]
    memory_used: int
    memory_available: int
    memory_limit: int
    load_average: tuple[float, float, float] | None
    pressure: tuple[Pressure, ...]
    usage: CpuUsage
    alerts: tuple[str, ...] = ()

    @property
    def memory_percent(self) -> float:
        """Percentage of the memory this process may use that is in use, by anyone."""
        return 100.0 * self.memory_used / self.memory_limit if self.memory_limit else 0.0


def memory_room(probe: SystemProbe, control: CgroupLimits) -> tuple[int, int]:
    """Memory (bytes) that is available to this process now, and its limit. Raises what psutil raises."""
    memory = probe.memory()
    limit = min([memory.total, *(entry.limit for entry in control.memory)])
    return min([memory.available, limit, *(entry.headroom for entry in control.memory)]), limit


def take_sample(probe: SystemProbe, usage: CpuUsage, settings: Thresholds) -> ResourceSample:
    """The state of the machine now, with CPU use as measured. Raises what the probe raises."""
    control = read_limits(probe.read)
    available, limit = memory_room(probe, control)
    pressure = read_pressure(probe.read, control.groups)
    return ResourceSample(
        time=time.time(),
        cpu_percent=usage.percent,
        others_cpu_percent=usage.others_percent,
        per_core=usage.per_core,
        memory_used=limit - available,
        memory_available=available,
        memory_limit=limit,
        load_average=probe.load_average(),
        pressure=pressure,
        usage=usage,
        alerts=_alerts(usage, available, pressure, settings),
    )


def _alerts(usage: CpuUsage, available: int, pressure: tuple[Pressure, ...], settings: Thresholds) -> tuple[str, ...]:
    alerts = []
    if usage.others_percent > settings.high_cpu_threshold:
        alerts.append(
            f"CPU: {usage.others_percent:.0f} % busy with others' work, more than {settings.high_cpu_threshold:g} %"
        )
    if available < settings.min_available_memory_gb * GIB:
        alerts.append(
            f"Memory: {available / GIB:.1f} GiB available, less than {settings.min_available_memory_gb:g} GiB"
        )
    for entry in pressure:
        if entry.resource == "memory" and entry.some_percent > settings.memory_pressure_threshold:
            alerts.append(f"Memory pressure: work waited {entry.some_percent:.0f} % of the last 10 s ({entry.source})")
    return tuple(alerts)


class Monitor:
    """A thread that takes a sample every `interval` seconds until it is stopped.

    `on_sample` is called in that thread with each sample; its exceptions are logged and end nothing. A failed probe
    skips the sample; `problem` then says why.
    """

    def __init__(
        self,
        probe: SystemProbe,
        settings: Thresholds,
        interval: float,
        on_sample: Callable[[ResourceSample], None],
        own: Own | None = None,
        meter: CpuMeter | None = None,
    ) -> None:
        """`meter`: one that is measuring already, to have the first sample sooner."""
        self._probe = probe
        self._settings = settings
        self._interval = interval
        self._on_sample = on_sample
        self._own = own
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forge-tui-monitor", daemon=True)
        self._meter = meter
        self._alerts: tuple[str, ...] = ()
        self.problem: str | None = None
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it (not when called from it)."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _run(self) -> None:
        # The first sample comes soon, so that there is something to show.
        self._begin()
        wait = min(SAMPLE_SECONDS if self._meter is None else self._meter.seconds_left, self._interval)
        while not self._stop.wait(wait):
            self._step()
            wait = self._interval

    def _begin(self) -> None:
        if self._meter is None:
            try:
                self._meter = CpuMeter(self._probe, self._own)
            except Exception as error:  # the first step tries again
                self._note(f"{type(error).__name__}: {error}")

    def _step(self) -> None:
        try:
            if self._meter is None:
                self._meter = CpuMeter(self._probe, self._own)
                return
            usage = self._meter.since_last()
            if usage is None:
                return
            sample = take_sample(self._probe, usage, self._settings)
            self.problem = None
        except Exception as error:  # a boundary: the next sample may succeed
            self._note(f"{type(error).__name__}: {error}")
            return
        self._warn(sample.alerts)
        try:
            self._on_sample(sample)
        except Exception:
            _log.warning("a receiver of resource samples failed", exc_info=True)

    def _note(self, problem: str) -> None:
        if problem != self.problem:
            _log.warning("resource sample failed: %s", problem)
        self.problem = problem

    def _warn(self, alerts: tuple[str, ...]) -> None:
        """Log what has newly crossed a threshold, once each time."""
        kinds = {alert.partition(":")[0] for alert in self._alerts}
        for alert in alerts:
            if alert.partition(":")[0] not in kinds:
                _log.warning("%s", alert)
        self._alerts = alerts
