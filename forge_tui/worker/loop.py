"""A worker: the process that trains a model, or a group of them. It reports over its socket, ends with its runner.

To the runner it sends lines: events as in `run.db`, `{"memory": bytes, "shared": bytes, "gpu_memory": bytes}` (its own
cost at its peak, see `memory_meter`), `{"beats": n}` while training makes progress, `{"left": index}` for a model that
left its group early, `{"rung": index, "epoch": n, "loss": x}` for one that waits for the verdict on it, `{"declared":
metrics, "index": i, "attempt": n}` by a training function, `{"code": file}` when custom code imports a file that the
run has no copy of, `{"result": index, "attempt": n, "weights": b}` when a finished model's files wait for their final
names, and at last `{"outcome": …}`. The record of a divergence also has `checkpoints`, the (step, epoch) of each that
the model has. From the runner it takes `{"command": "stop"}`, `pause`, `continue`, `leave` (with the `index` of a model
of its group), `rung` (with `index`, `epoch`, `continues`), `published` (with `index`, and why it was `refused` with its
`errno`, or None), `code` (with `file`, and `path` and `sha256` of its copy, or why it is `refused`), `move` (with the
`directory` of the run, which was moved), and `where` (answered with `{"where": stack}`).

A worker of the kind `devices` answers with `{"result": record}` of what torch can use, and ends.

A worker that inspects answers `inspect` (with `combinations` of a sweep, `together`, `rehearsal` and `check`) and
`measure` (with the one of `combinations`, `ways`, `seconds`, `most_bytes`, `most_device_bytes`, `rates`; see
`worker.inspection`) with `{"result": …}`, or with `{"refused": why, "exit_status": n}` and its end, and ends on `stop`.
It also sends `{"not_copied": files}`: custom code that is loaded from its original place.
"""

from __future__ import annotations

import dataclasses
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from forge_tui.errors import ChangedError, ForgeError, RunDirectoryError, TrialError
from forge_tui.protocol.events import EpochFinished, Event, ModelFailed, to_record
from forge_tui.protocol.job import STOP_SIGNALS, Control, Job, Refusal
from forge_tui.protocol.wire import LineBuffer, encode_line
from forge_tui.runs.checkpoint_files import Fence, saved_in
from forge_tui.runs.layout import RunDirectory
from forge_tui.safe_io.printing import LONGEST_MESSAGE, shortened
from forge_tui.settings.training_function import is_function
from forge_tui.training.code_finder import not_copied

if TYPE_CHECKING:
    from forge_tui.training.trainer import Trainer
    from forge_tui.training.trial_worker import TrialWorker
    from forge_tui.worker.memory_meter import MemoryMeter
from forge_tui.worker.code_requests import CodeRequests

_PARENT_CHECK_SECONDS = 1.0
_TOGETHER_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 0.25
_BEAT_SECONDS = 2.0
_MEMORY_SECONDS = 1.0
_LONGEST_TRACEBACK = 50_000


class Channel:
    """The worker's side of its socket; used by the trainer's thread and by the listening thread.

    Epochs that follow each other fast are sent together: each alone would cost a loop of 10 ms an epoch 2 % of its
    speed.
    """

    def __init__(self, sock: socket.socket, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` gives seconds, and never goes back."""
        self._sock = sock
        self._lock = threading.Lock()
        self._clock = clock
        self._sent_at = -_TOGETHER_SECONDS
        self._waiting: list[tuple[Event, str]] = []

    def send(self, message: dict[str, Any]) -> None:
        """Send one line, after all that waits; ends the process when the runner is gone."""
        with self._lock:
            self._write(encode_line(message))

    def send_soon(self, event: Event, run: str) -> None:
        """Send an event of a run, within `_TOGETHER_SECONDS` of the last line with those that follow."""
        with self._lock:
            self._waiting.append((event, run))
            if self._clock() - self._sent_at >= _TOGETHER_SECONDS:
                self._write()

    def send_waiting(self) -> None:
        """Send what waits."""
        with self._lock:
            if self._waiting:
                self._write()

    def _write(self, line: bytes = b"") -> None:
        waiting, self._waiting = self._waiting, []
        lines = [encode_line(to_record(event, run)) for event, run in waiting]
        self._sent_at = self._clock()
        try:
            self._sock.sendall(b"".join([*lines, line]))
        except OSError:
            os._exit(1)

    def listen(self, control: Control, take: Callable[[dict[str, Any]], None], parent: int) -> None:
        """Pass commands to `take` until the runner or the fork server is gone, then end the process at once."""
        buffer = LineBuffer()
        sent, sent_at = 0, time.monotonic()
        seconds = _PARENT_CHECK_SECONDS
        while True:
            readable, _, _ = select.select([self._sock], [], [], seconds)
            # Where epochs have waited, others will: the last of them does not wait for long.
            seconds = _LONGEST_WAIT_SECONDS if self._waiting else _PARENT_CHECK_SECONDS
            self.send_waiting()
            if os.getppid() != parent:
                os._exit(1)
            if control.beats != sent and time.monotonic() - sent_at >= _BEAT_SECONDS:
                sent, sent_at = control.beats, time.monotonic()
                self.send({"beats": sent})
            if not readable:
                continue
            try:
                data = self._sock.recv(1 << 16)
            except OSError:
                data = b""
            if not data:
                os._exit(1)
            for message in buffer.feed(data):
                take(message)


def main(sock: socket.socket, request: dict[str, Any], parent: int) -> int:
    """Carry out `request`; returns the exit status."""
    import torch

    channel, control, asked = Channel(sock), Control(), SimpleQueue[dict[str, Any]]()
    if request["kind"] == "devices":
        from forge_tui.worker.torch_devices import find_devices

        channel.send({"result": find_devices()})
        return 0
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: control.request_stop())
    inspects = request["kind"] == "inspect"
    copies = CodeRequests(channel.send)
    take = copies.before(asked.put if inspects else partial(_obey, channel, control))
    threading.Thread(target=channel.listen, args=(control, take, parent), name="listen", daemon=True).start()
    jobs = [Job.from_record(record) for record in request["jobs"]]
    torch.set_num_threads(jobs[0].threads)
    if inspects:
        return _inspect(channel, jobs[0], asked, copies)
    return _train(channel, jobs, control, copies)


def _obey(channel: Channel, control: Control, message: dict[str, Any]) -> None:
    match message["command"]:
        case "stop":
            control.request_stop()
        case "pause":
            control.pause()
        case "continue":
            control.unpause()
        case "move":
            control.move(message["directory"])
        case "leave":
            control.request_leave(message["index"])
        case "rung":
            control.rung(message["index"], message["epoch"], message["continues"])
        case "published":
            refused = message["refused"]
            control.published(message["index"], None if refused is None else Refusal(refused, message["errno"]))
        case "where":
            channel.send({"where": _main_stack()})


def _main_stack() -> str:
    """The stack of the training thread, as in a traceback."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    return "".join(traceback.format_stack(frame)) if frame is not None else ""


def _train(channel: Channel, jobs: list[Job], control: Control, copies: CodeRequests) -> int:
    from forge_tui.training.failures import Diverged
    from forge_tui.worker.memory_meter import MemoryMeter

    meter = MemoryMeter(jobs[0].device)
    telling: list[threading.Thread] = []
    remaining = list(jobs)

    def emit(event: Event) -> None:
        if not isinstance(event, EpochFinished):
            channel.send(to_record(event, jobs[0].run))
            return
        channel.send_soon(event, jobs[0].run)
        if event.index == remaining[0].index:  # once for a whole group
            grown = meter.grown()
            if grown is not None:
                telling.append(threading.Thread(target=tell, args=(grown,), daemon=True))
                telling[-1].start()

    def failed(job: Job, error: BaseException) -> None:
        record = to_record(failure(job, error), job.run)
        if isinstance(error, Diverged):
            directory = RunDirectory(Path(job.directory)).checkpoint_directory(job.model)
            fence = Fence(job.attempt, job.inherited_step)
            record["checkpoints"] = [list(one) for one in saved_in(directory, fence)]
        if isinstance(error, TrialError):
            record["final"] = True
        channel.send(record)

    def tell(grown: dict[str, int]) -> None:
        """Report memory in a thread: training does not wait for the kernel's figures."""
        channel.send(meter.with_copied(grown))

    def left(job: Job, why: Diverged | None) -> None:
        if why is not None:
            failed(job, why)
        remaining.remove(job)
        channel.send({"left": job.index})

    def at_rung(job: Job, epoch: int, loss: float | None) -> None:
        channel.send({"rung": job.index, "epoch": epoch, "loss": loss})

    def declare(job: Job, metrics: list[dict[str, Any]]) -> None:
        channel.send({"declared": metrics, "index": job.index, "attempt": job.attempt})

    def publish(directory: Path, job: Job, *, has_weights: bool = True) -> None:
        """Ask the runner to publish: only it knows whether this attempt is the current one."""
        channel.send({"result": job.index, "attempt": job.attempt, "weights": has_weights})
        refusal = control.wait_until_published(job.index)
        if refusal is not None:
            error = RunDirectoryError(refusal.message)
            error.errno = refusal.errno
            raise error

    try:
        copies.use(jobs[0])
        if is_function(jobs[0].settings["training"]["train"]):
            threading.Thread(target=_tell_memory, args=(meter, tell), name="tell memory", daemon=True).start()
            outcome = _trial_worker_of(jobs[0])(jobs[0], emit, control, at_rung, declare, publish).run()
        else:
            outcome = _trainer_of(jobs[0])(jobs, emit, control, left, at_rung, publish).run()
    except BaseException as error:  # the boundary: any end of training becomes data
        for job in remaining:
            failed(job, error)
        traceback.print_exc()
        return 1
    finally:
        for thread in telling:
            thread.join()
    channel.send({"outcome": outcome.value})
    return 0


def _trainer_of(job: Job) -> type[Trainer]:
    """What trains the job: where a profile is asked for, a trainer that measures itself."""
    from forge_tui.training.trainer import Trainer

    if job.profile is None:
        return Trainer
    from forge_tui.training.profiling.trainer import ProfiledTrainer

    return ProfiledTrainer


def _trial_worker_of(job: Job) -> type[TrialWorker]:
    """The same for a training function."""
    from forge_tui.training.trial_worker import TrialWorker

    if job.profile is None:
        return TrialWorker
    from forge_tui.training.profiling.function import ProfiledTrialWorker

    return ProfiledTrialWorker


def _tell_memory(meter: MemoryMeter, tell: Callable[[dict[str, int]], None]) -> None:
    """Report the memory of a training function periodically, also before its first report."""
    while True:
        time.sleep(_MEMORY_SECONDS)
        grown = meter.grown()
        if grown is not None:
            tell(grown)


def _inspect(channel: Channel, job: Job, asked: SimpleQueue[dict[str, Any]], copies: CodeRequests) -> int:
    from forge_tui.training.own_code import place_of
    from forge_tui.worker.function_probe import FunctionProbe
    from forge_tui.worker.inspection import Probe

    make = FunctionProbe if is_function(job.settings["training"]["train"]) else Probe
    try:
        copies.use(job)
        probe: FunctionProbe | Probe | None = None
        while (question := asked.get())["command"] != "stop":
            first, *others = question["combinations"]
            if probe is None:
                probe = make(job, first)
            probe.take(first)
            if question["command"] == "inspect":
                inspections = []
                for combination in (first, *others):
                    probe.take(combination)
                    for_gpu = question.get("for_gpu", False)
                    found = probe.inspect(question["together"], question["rehearsal"], question["check"], for_gpu)
                    inspections.append(dataclasses.asdict(found))
                result: dict[str, Any] = {"inspections": inspections}
                channel.send({"not_copied": not_copied()})
            else:
                assert isinstance(probe, Probe)  # a training function is not measured
                ways = [(models, threads, compiled) for models, threads, compiled in question["ways"]]
                rates = [(rate, decay) for rate, decay in question["rates"]]
                most_on_device = question["most_device_bytes"]
                measured = probe.measure(ways, question["seconds"], question["most_bytes"], rates, most_on_device)
                result = dataclasses.asdict(measured)
            channel.send({"result": result})
    except ForgeError as error:
        channel.send({"refused": str(error), "exit_status": error.exit_status})
        return 1
    except BaseException as error:  # reported to the caller, which has no log yet
        kind, message = classify(error)
        status = 3 if kind == "out_of_memory" else 2
        message = f"{message}{place_of(error)}"
        channel.send({"refused": message, "exit_status": status, "traceback": traceback.format_exc()})
        traceback.print_exc()
        return 1
    return 0


def classify(error: BaseException) -> tuple[str, str]:
    """The failure kind (exception, out_of_memory, diverged, changed, exit) and the message."""
    from forge_tui.training.failures import Diverged, is_out_of_memory

    if isinstance(error, Diverged):
        return "diverged", str(error)
    if isinstance(error, ChangedError):
        return "changed", str(error)
    if isinstance(error, ForgeError):
        return "exception", str(error)
    if isinstance(error, SystemExit):
        return "exit", shortened(f"the training code called sys.exit({error.code!r})", LONGEST_MESSAGE)
    name, words = type(error).__name__, _words(error)
    message = shortened(f"{name}: {words}" if words else name, LONGEST_MESSAGE)
    return ("out_of_memory" if is_out_of_memory(error) else "exception"), message


def _words(error: BaseException) -> str:
    """An exception's message; a custom class may fail even at that."""
    try:
        return str(error)
    except Exception as another:
        return f"(no message: {type(another).__name__} in its __str__)"


def failure(job: Job, error: BaseException) -> ModelFailed:
    """The record of a failed attempt; the runner decides about a retry."""
    from forge_tui.training.own_code import place_of

    kind, message = classify(error)
    is_explained = isinstance(error, ForgeError)
    if (not is_explained or isinstance(error, TrialError)) and kind in ("exception", "exit"):
        message = f"{message}{place_of(error)}"
    return ModelFailed(
        time=time.time(),
        model=job.model,
        index=job.index,
        attempt=job.attempt,
        kind=kind,
        message=message,
        traceback=None if is_explained else shortened("".join(traceback.format_exception(error)), _LONGEST_TRACEBACK),
    )
