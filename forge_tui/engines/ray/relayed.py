"""The output of a node's workers, relayed to the runner, which writes the logs."""

from __future__ import annotations

from collections.abc import Callable

from forge_tui.engines.buffered_log import Log
from forge_tui.engines.output import Outputs

Relay = Callable[[str, bytes], None]
"""Gets the name that a pipe was asked for with, and what was printed into it; called in a thread."""


class RelayedOutputs(Outputs):
    """Outputs without files: `relay` gets all output with a name. That without one only keeps its end, for messages."""

    def __init__(self, relay: Relay) -> None:
        super().__init__(None, 0)
        self._relay = relay

    def _log(self, name: str) -> Log:
        # Not kept by name: each worker of a node has a log of its own.
        return _RelayedLog(name.removeprefix("logs/").removesuffix(".log"), self._relay)


class _RelayedLog(Log):
    def __init__(self, name: str, relay: Relay) -> None:
        super().__init__(None)
        self._name, self._relay = name, relay

    def add(self, data: bytes) -> None:
        super().add(data)
        self._relay(self._name, data)
