"""Why a command has failed: its exit status and its last output, in words."""

from __future__ import annotations

import time

from forge_tui.errors import ForgeError
from forge_tui.protocol.device_faults import DeviceFault, fault_in
from forge_tui.protocol.events import ModelFailed
from forge_tui.protocol.job import Job
from forge_tui.safe_io.printing import LONGEST_MESSAGE, harmless, shortened
from forge_tui.text.exit_status import exit_in_words
from forge_tui.worker.command_output import Tail
from forge_tui.worker.command_reports import CommandReports
from forge_tui.worker.tree_meter import TreeMeter


class CommandFailed(ForgeError):
    """An attempt has failed. `kind`: as of the event `model_failed`; `is_final`: another attempt would fail alike.

    `output`: the last lines of it, if that says more.
    """

    def __init__(self, message: str, *, kind: str = "exit", output: str | None = None, is_final: bool = False) -> None:
        super().__init__(shortened(message, LONGEST_MESSAGE))
        self.kind, self.output, self.is_final = kind, output, is_final


def failure_of(
    reports: CommandReports, status: int, tail: Tail, meter: TreeMeter, *, was_asked: bool
) -> CommandFailed | None:
    """Why a command that ended with `status` has failed, or None. `was_asked`: it was asked to end."""
    if reports.failure is not None:
        return CommandFailed(str(reports.failure), kind="exception", is_final=True)
    if reports.diverged is not None:
        return CommandFailed(reports.diverged, kind="diverged")
    if status == 0 or (was_asked and reports.stopped_early is not None):
        return None
    last = tail.last_line
    said = f"; its last output: {last}" if last else ", without any output"
    output = None if tail.text is None else harmless(tail.text)
    if status < 0 and not was_asked and meter.ran_out_of_memory():
        return CommandFailed(
            f"the command was killed by the kernel for lack of memory{said}", kind="out_of_memory", output=output
        )
    kind = "signal" if status < 0 else "exit"
    fault = None if tail.text is None else fault_in(tail.text)
    if fault is DeviceFault.MEMORY:
        kind = "out_of_memory"
    if fault is not None and fault_in(said) is None:
        # The runner decides by the message; of several processes another one may have had the last word.
        said += f" (and before: {_line_with(fault, tail.text or '')})"
    return CommandFailed(f"the command {exit_in_words(status)}{said}", kind=kind, output=output)


def _line_with(fault: DeviceFault, text: str) -> str:
    """The last line of a text that reports this fault of a device."""
    return next(line.strip() for line in reversed(text.splitlines()) if fault_in(line) is fault)


def failure_event(job: Job, error: BaseException) -> ModelFailed:
    """The record of a failed attempt; the runner decides about a retry."""
    kind, output = "exception", None
    if isinstance(error, CommandFailed):
        kind, output = error.kind, error.output
    return ModelFailed(
        time=time.time(),
        model=job.model,
        index=job.index,
        attempt=job.attempt,
        kind=kind,
        message=str(error) or type(error).__name__,
        traceback=output,
    )
