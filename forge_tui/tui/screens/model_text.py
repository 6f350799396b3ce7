"""The text about one model: headline, metrics, attempts with tracebacks, config, checkpoints, output."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge_tui.protocol.metrics import LOSSES, SHARE, Metric, MetricTable
from forge_tui.protocol.model_details import ModelDetails
from forge_tui.protocol.model_state import Failure, ModelState
from forge_tui.protocol.phases import TrainingPhase
from forge_tui.text.baseline_lines import baseline_sentence
from forge_tui.text.detail_lines import confusion_lines, worst_lines
from forge_tui.text.device_names import device_in_words, placed_gpus
from forge_tui.text.figures import age_text, duration, epoch_text, memory, number, short_path
from forge_tui.tui.screens.model_files import ModelFiles
from forge_tui.tui.widgets import cells
from forge_tui.tui.widgets.cells import Piece
from forge_tui.tui.widgets.document import Paragraph
from forge_tui.tui.widgets.glyphs import Glyphs

if TYPE_CHECKING:
    from forge_tui.resources.gpu_users import SeenGpu

_INDENT = 2
_LABEL = 15
_PAIR_LEAST = 38
# Space in the headline for phase, attempt and index beside a long name.
_BESIDE_NAME = 44
_NAMED = 3

Pair = tuple[str, str]


def model_document(
    model: ModelState,
    table: MetricTable,
    files: ModelFiles | None,
    problem: str,
    width: int,
    glyphs: Glyphs,
    now: float,
    took: float | None,
    gpus: Sequence[SeenGpu] = (),
) -> list[Paragraph]:
    """All sections for a document of `width` cells; for a failed model the reason comes first.

    `table`: the metrics of the run. `now` is in UNIX seconds; `took`: how long workers have been busy with the model
    (seconds); `gpus`: those of this machine, now.
    """
    attempts = _attempts(model)
    metrics = [_heading("METRICS"), *_grid([*_metrics(model, table, glyphs, took), *_gpus(model, gpus)], width)]
    parts = [attempts, metrics] if model.error is not None else [metrics, attempts]
    parts.append([_heading("CONFIG"), *_grid(_config(model.config), width)])
    if files is None:
        parts.append([Paragraph((((problem or "Reading checkpoints and output…"), "failed" if problem else "quiet"),))])
    else:
        parts += [_confusion(files.details), _worst(files.details), _checkpoints(files, now), _log(files)]
        if files.problem or problem:
            parts.append([Paragraph(((files.problem or problem, "failed"),))])
    paragraphs: list[Paragraph] = []
    for number_of_part, part in enumerate(part for part in parts if part):
        paragraphs += [Paragraph(), *part] if number_of_part else part
    return paragraphs


def headline(model: ModelState, glyphs: Glyphs, count: int, width: int) -> list[Piece]:
    """The first line, at most `width` cells: name, phase, attempt, index and number of models."""
    sign, word = glyphs.phase(model.phase)
    name = cells.clean(model.name, glyphs.ascii)
    pieces = [
        (cells.middle(name, min(cells.width_of(name), max(12, width - _BESIDE_NAME)), glyphs.ellipsis), "bold"),
        (f"  {sign} {model.phase.value if model.phase.is_final else word}", _phase_style(model)),
    ]
    if model.reason and not model.phase.is_final:
        pieces.append((f" ({cells.clean(model.reason, glyphs.ascii)})", ""))
    if model.attempt > 1:
        pieces.append((f"  attempt {model.attempt}", ""))
    pieces.append((f"  model {model.index} of {count}", "dim"))
    return pieces


def model_progress(
    model: ModelState, table: MetricTable, glyphs: Glyphs, width: int, took: float | None
) -> list[Piece]:
    """The second line: epochs with a bar, losses, validation, time left; for a failed model the reason."""
    if model.error is not None:
        return [(cells.clean(f"{first_line(model.error)} (epoch {model.error.epoch})", glyphs.ascii), "bold red")]
    if model.epoch == 0 and not model.phase.is_final:
        waiting = "waiting for a worker" if model.phase is TrainingPhase.QUEUED else "no epoch yet: warming up"
        return [(f"epoch {epoch_text(0, model.epochs)}  ", ""), (waiting, "dim")]
    done, left = glyphs.bar(model.percent / 100, 20 if width >= 100 else 10)
    loss = "diverged" if model.diverged else cells.short_number(model.loss, glyphs)
    pieces: list[Piece] = [
        (f"epoch {epoch_text(model.epoch, model.epochs)} ", ""),
        (done, "green" if model.phase is TrainingPhase.COMPLETED else ""),
        (left, "dim"),
        (f"  loss {loss}  lowest {cells.short_number(model.best_loss, glyphs)}", "red" if model.diverged else ""),
    ]
    if (metric := _validation(model, table)) is not None:
        pieces.append((f"  {metric}", ""))
    if model.phase is TrainingPhase.COMPLETED:
        pieces.append((f"  took {duration(took)}", ""))
    elif not model.phase.is_final:
        pieces.append((f"  ETA {cells.short_duration(model.eta_seconds, glyphs)}", ""))
    return pieces


def first_line(failure: Failure) -> str:
    """A failure in one line."""
    return f"{failure.kind}: {failure.message}".partition("\n")[0]


def _phase_style(model: ModelState) -> str:
    match model.phase:
        case TrainingPhase.FAILED:
            return "red"
        case TrainingPhase.COMPLETED | TrainingPhase.TRAINING:
            return "green"
        case TrainingPhase.PAUSED | TrainingPhase.CANCELLED:
            return "yellow"
    return ""


def _validation(model: ModelState, table: MetricTable) -> str | None:
    metric = table.headline(model.metrics)
    if metric is None:
        loss = model.metrics.get("validation_loss")
        return None if loss is None else f"val loss {number(loss)}"
    value = model.metrics[metric.name]
    if metric.unit == SHARE and value is not None:
        return f"val {100 * value:.1f}%"
    return f"val {metric.title} {number(value)}"


def _heading(title: str, more: str = "") -> Paragraph:
    pieces: list[Piece] = [(title, "heading")]
    if more:
        pieces.append((f"  {more}", "quiet"))
    return Paragraph(tuple(pieces), hang=_INDENT, anchor=title.lower())


def _grid(pairs: Sequence[Pair], width: int) -> list[Paragraph]:
    """Labels and values in as many columns as fit, read downwards; long values get separate lines at the end."""
    room = max(_PAIR_LEAST, width - _INDENT)
    columns = max(1, room // _PAIR_LEAST)
    each = room // columns
    label = max([_LABEL, *(cells.width_of(name) + 2 for name, _ in pairs if cells.width_of(name) + 2 <= each // 2 + 6)])
    short = [pair for pair in pairs if cells.width_of(pair[0]) < label and cells.width_of(pair[1]) < each - label]
    rows = -(-len(short) // columns)
    found = []
    for row in range(rows):
        pieces: list[Piece] = [(" " * _INDENT, "text")]
        for name, value in short[row::rows]:
            pieces += [(cells.left(name, label), "label"), (cells.left(value, each - label), "text")]
        found.append(Paragraph(tuple(pieces)))
    for name, value in pairs:
        if (name, value) not in short:
            gap = cells.left(name, max(label, cells.width_of(name) + 1))
            found.append(Paragraph(((" " * _INDENT + gap, "label"), (value, "text")), hang=_INDENT + 2))
    return found


def _label(metric: Metric) -> str:
    return f"val {metric.title}" if metric.is_validation else metric.title


def _value(metric: Metric, value: float | None, unknown: str) -> str:
    if value is None:
        return unknown
    return f"{100 * value:.2f} %" if metric.unit == SHARE else number(value)


def _metrics(model: ModelState, table: MetricTable, glyphs: Glyphs, took: float | None) -> list[Pair]:
    unknown = glyphs.unknown

    def known(value: float | None, unit: str = "") -> str:
        return unknown if value is None else f"{number(value)}{unit}"

    pairs = [
        ("epoch", epoch_text(model.epoch, model.epochs, " of ")),
        ("step", f"{model.step:,}"),
        ("loss", "diverged" if model.diverged else known(model.loss)),
        ("lowest loss", known(model.best_loss)),
        ("val loss", known(model.metrics.get("validation_loss"))),
    ]
    for metric in table.ordered(model.metrics):
        if (metric.default or metric.is_validation or metric.is_test) and metric.name not in LOSSES:
            pairs.append((_label(metric), _value(metric, model.metrics[metric.name], unknown)))
    if (against := baseline_sentence(model, table)) is not None:
        pairs.append(("baseline", against))
    rate = model.metrics.get("learning_rate")
    pairs += [
        ("learning rate", unknown if rate is None else f"{rate:g}"),
        ("steps/s", known(model.metrics.get("steps_per_second"))),
        ("epoch takes", known(model.epoch_seconds, " s")),
        ("parameters", unknown if model.parameters is None else f"{model.parameters:,}"),
        ("seed", str(model.seed)),
        ("device", _device(model, unknown)),
        ("started", _moment(model.started, unknown)),
        ("ended" if model.phase.is_final else "running for", _ended(model, took, unknown)),
        ("checkpoint", f"epoch {model.checkpoint_epoch}" if model.checkpoint_step else unknown),
    ]
    pairs += [(name, _plain(value)) for name, value in model.combination.items() if name not in model.config]
    if model.best_epoch is not None:
        pairs.append(("best epoch", f"{model.best_epoch}: its weights, its losses"))
    if model.reason and model.phase.is_final and model.error is None:
        pairs.append(("why", model.reason))
    if model.group:
        others = [name for name in model.group if name != model.name]
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        pairs.append(("trained with", ", ".join(others[:_NAMED]) + more))
    if model.path:
        pairs.append(("path", short_path(Path(model.path))))
    if model.exact is False:
        pairs.append(("exact", "no: the same seed may give slightly other numbers"))
    return pairs


def _device(model: ModelState, unknown: str) -> str:
    if model.device is None:
        return unknown
    threads = f", {model.threads} thread{'' if model.threads == 1 else 's'}" if model.threads else ""
    worker = f", worker {model.worker}" if model.worker is not None else ""
    return f"{device_in_words(model.device, model.place)}{threads}{worker}"


def _gpus(model: ModelState, gpus: Sequence[SeenGpu]) -> list[Pair]:
    """The GPUs that a worker is training it on, if they are this machine's."""
    placed = placed_gpus(model.place) if model.phase.is_active else ()
    if not placed:
        return []
    from forge_tui.resources.gpu_words import figures, labels, short_name, users_in_words

    found: list[Pair] = []
    for label, seen in zip(labels(one.gpu for one in gpus), gpus, strict=True):
        if seen.gpu.uuid in placed:
            users = users_in_words(seen.users)
            state = seen.gpu.problem or figures(seen.gpu) + (f"; on it: {users}" if users else "")
            found.append((f"GPU {label}", f"{short_name(seen.gpu)}, {state}"))
    return found


def _ended(model: ModelState, took: float | None, unknown: str) -> str:
    if not model.phase.is_final:
        return unknown if took is None else duration(took)
    ended = _moment(model.finished, unknown)
    return ended if took is None else f"{ended[11:]}, took {duration(took)}"


def _moment(when: float | None, unknown: str) -> str:
    return unknown if when is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def _config(config: Mapping[str, Any], prefix: str = "") -> list[Pair]:
    pairs: list[Pair] = []
    for key, value in config.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            pairs += _config(value, f"{name}.")
        elif isinstance(value, list | tuple):
            pairs.append((name, ", ".join(map(_plain, value)) or "none"))
        else:
            pairs.append((name, _plain(value)))
    return pairs or ([] if prefix else [("", "Known when the model starts.")])


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _attempts(model: ModelState) -> list[Paragraph]:
    """The failed attempts, the newest first, each with its traceback; nothing if there are none."""
    if not model.failures:
        return []
    count = len(model.failures)
    lines = [_heading("ATTEMPTS", f"{count} failed" if count > 1 else "")]
    if model.attempt > model.failures[-1].attempt and not model.phase.is_final:
        lines.append(Paragraph(((f"  attempt {model.attempt}: ", "text"), (model.phase.value, "active"))))
    for failure in reversed(model.failures):
        when = "" if failure.time is None else time.strftime(", %H:%M:%S", time.localtime(failure.time))
        where = f"  attempt {failure.attempt}, epoch {failure.epoch}{when}: "
        message = failure.message.splitlines() or [""]
        lines.append(Paragraph(((where, "text"), (f"{failure.kind}: {message[0]}", "failed")), hang=4))
        lines += [Paragraph((("    " + line, "failed"),), hang=4) for line in message[1:]]
        for line in (failure.traceback or "").rstrip().splitlines():
            indent = len(line) - len(line.lstrip())
            lines.append(Paragraph((("    " + line.expandtabs(), "quiet"),), hang=min(4 + indent + 2, 16)))
    return lines


def _confusion(details: ModelDetails) -> list[Paragraph]:
    if details.confusion is None:
        return []
    return [_heading("CONFUSION", f"{details.split} split"), *_lines(confusion_lines(details.confusion))]


def _worst(details: ModelDetails) -> list[Paragraph]:
    """The samples with the largest losses."""
    if not details.worst:
        return []
    return [_heading("WORST ROWS", f"{details.split} split"), *_lines(worst_lines(details.worst))]


def _lines(lines: Sequence[str]) -> list[Paragraph]:
    return [Paragraph(((" " * _INDENT + line, "text"),), hang=2 * _INDENT) for line in lines]


def _checkpoints(files: ModelFiles, now: float) -> list[Paragraph]:
    lines = [_heading("CHECKPOINTS", "" if files.checkpoints or files.finished else "none yet")]
    for path, size in files.finished:
        lines.append(Paragraph((("  ", "text"), (path.name, "done"), (f"  {memory(size)}", "quiet")), hang=4))
    for file in files.checkpoints:
        pieces: list[Piece] = [("  ", "text"), (file.path.name, "text")]
        if file.problem:
            pieces.append((f"  {file.problem}", "failed"))
        else:
            age = f"{age_text(max(0.0, now - file.written))} ago"
            pieces.append((f"  epoch {file.epoch}, step {file.step:,}, {memory(file.bytes)}, {age}", "quiet"))
        lines.append(Paragraph(tuple(pieces), hang=4))
    return lines


def _log(files: ModelFiles) -> list[Paragraph]:
    more = f"the last {len(files.log)} lines" if files.log_is_cut else "" if files.log else "nothing was printed"
    return [_heading("OUTPUT", more), *(Paragraph((("  " + line, "quiet"),), hang=4) for line in files.log)]
