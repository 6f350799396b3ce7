"""The machine's state in the UI: newest figures, resources, and the resource rules' advice."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from forge_tui.tui.messages import ResourcesChanged, ThreadDone
from forge_tui.tui.steady import steadied, steadied_gpus

if TYPE_CHECKING:
    from textual.app import App

    from forge_tui.resources.gpu_users import SeenGpu
    from forge_tui.resources.gpus import Gpu
    from forge_tui.resources.hardware import SystemResources
    from forge_tui.resources.manager import ResourceManager
    from forge_tui.resources.monitor import ResourceSample
    from forge_tui.resources.system_probe import SystemProbe
    from forge_tui.tui.advice import Rules

_MONITOR_SECONDS = 2.0
_GPU_SECONDS = 0.15  # a driver that takes longer delays no other figures: its last answer is shown
_CURVE_SAMPLES = 24


def _seen(gpus: tuple[Gpu, ...], probe: SystemProbe) -> tuple[SeenGpu, ...]:
    if not gpus:
        return ()
    from forge_tui.resources.gpu_users import seen_gpus

    return seen_gpus(gpus, probe)


def _usable(gpus: tuple[Gpu, ...]) -> tuple[str, ...]:
    return tuple(gpu.uuid for gpu in gpus if gpu.problem is None)


class Machine:
    """Gets samples from the monitor's thread through `ResourcesChanged`. Attributes are for the app's thread only."""

    def __init__(self, app: App[Any], rules: Callable[[], Rules | None], changed: Callable[[], None]) -> None:
        """`rules`: the form's `[resources]`, None before there is a form. `changed` is called after detection."""
        self.resources: ResourceSample | None = None
        self.cpu_percent: deque[float] = deque(maxlen=_CURVE_SAMPLES)
        """The newest CPU figures, oldest first."""
        self.gpus: tuple[SeenGpu, ...] = ()
        """The newest figures of the GPUs, and who is on them."""
        self.detected: SystemResources | None = None
        """The machine's resources, once detected."""
        self._app, self._rules, self._changed = app, rules, changed
        self._user_rules: Rules | None = None
        self._manager: ResourceManager | None = None
        self._probe: SystemProbe | None = None

    def look(self, then: Callable[[], None]) -> None:
        """Start monitoring the machine; `then` is called when the CPU measurement, of 100 ms, has begun."""

        def work() -> None:
            try:
                from forge_tui.resources.system_probe import SystemProbe
                from forge_tui.resources.usage import CpuMeter

                probe = self._probe = SystemProbe()
                meter = CpuMeter(probe)  # it measures while the rest is imported and filled in
            finally:
                self._app.post_message(ThreadDone(lambda _: then(), None))
            from forge_tui.resources.manager import ResourceManager

            manager = ResourceManager(probe)
            self._manager = manager
            manager.on_sample(self._post_sample)
            manager.start_monitoring(_MONITOR_SECONDS, meter)
            # In parallel with the monitor: each measures the CPUs for 100 ms.
            self.post_detected(manager.detect_system_resources())

        self._app.run_worker(work, thread=True, exclusive=True, group="machine", exit_on_error=False)

    def close(self) -> None:
        """Stop monitoring."""
        if self._manager is not None:
            self._manager.stop_monitoring()

    def take(self, sample: ResourceSample, gpus: tuple[SeenGpu, ...] = ()) -> None:
        """Set a new sample; figures that have hardly changed keep their displayed values."""
        self.resources = steadied(sample, self.resources)
        self.gpus = steadied_gpus(gpus, self.gpus)
        self.cpu_percent.append(self.resources.cpu_percent)

    def _post_sample(self, sample: ResourceSample) -> None:
        """Called in the monitor's thread. Updates the advice when others become busy or idle."""
        from forge_tui.resources.hardware import detect
        from forge_tui.resources.policy import GIB, is_busy, is_low_on_memory

        assert self._probe is not None
        self._probe.gpu_sampler.begin()
        gpus = self._probe.gpu_sampler.result(time.monotonic() + _GPU_SECONDS).gpus
        self._app.post_message(ResourcesChanged(sample, _seen(gpus, self._probe)))
        detected, rules = self.detected, self._rules_now
        if detected is None or rules is None:
            return
        thresholds = rules.thresholds
        busy = sample.others_cpu_percent > thresholds.high_cpu_threshold
        low = sample.memory_available / GIB < thresholds.min_available_memory_gb
        known = is_busy(detected, thresholds), is_low_on_memory(detected, thresholds), _usable(detected.gpus)
        if (busy, low, _usable(gpus)) != known:  # a driver may take seconds to show its GPUs for the first time
            self.post_detected(detect(self._probe, usage=sample.usage))

    def post_detected(self, detected: SystemResources) -> None:
        """Pass the machine's resources to the app; may be called in any thread."""
        from forge_tui.tui.advice import Rules
        from forge_tui.tui.options import read_resources

        self._user_rules = Rules.of(read_resources())
        self._app.post_message(ThreadDone(self._take_detected, detected))

    def _take_detected(self, detected: SystemResources) -> None:
        self.detected = detected
        self._changed()

    @property
    def _rules_now(self) -> Rules | None:
        """The form's rules; before there is a form those of the user's file and variables."""
        rules = self._rules()
        return self._user_rules if rules is None else rules

    @property
    def suggestion(self) -> str:
        """The resource rules' advice; empty until the machine is known."""
        rules = self._rules_now
        return "" if self.detected is None or rules is None else rules.suggestion(self.detected)
