"""The resource report as text, for `forge-tui doctor`. 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from forge_tui.resources.gpu_users import GpuUser
from forge_tui.resources.gpu_words import figures, labels, users_in_words
from forge_tui.resources.gpus import Gpu

_LABEL = 17


def doctor_text(report: dict[str, Any], width: int = 80) -> str:
    """`ResourceManager.generate_resource_report()` as text: what was detected, from where, and what it allows."""
    sections = (
        ("Machine", _machine(report)),
        ("In use now", _usage(report)),
        ("Limits found", _limits(report)),
        ("What this allows", _allowed(report)),
        ("Suggestion", _suggestion(report)),
        ("After you leave", _endings(report)),
        ("Site-wide settings", _site(report)),
        ("Problems", _problems(report)),
    )
    blocks = []
    for title, lines in sections:
        rows = [_row(label, text, width) for label, text in lines]
        if rows:
            blocks.append("\n".join([title, *rows]))
    return "\n\n".join(blocks) + "\n"


def _row(label: str, text: str, width: int) -> str:
    indent = " " * (_LABEL + 2)
    return textwrap.fill(
        text, width, initial_indent=f"  {label:<{_LABEL - 1}} ", subsequent_indent=indent, break_on_hyphens=False
    )


def _machine(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    system = report["system_info"]
    yield "host", f"{system['host']}, {system['platform']}, Python {system['python']}"
    yield "CPUs", _of(system["cpu_count"], system["cpu_total"], "", system["cpu_limit_source"])
    memory, total = f"{system['memory_gb']:.1f}", f"{system['memory_total_gb']:.1f}"
    yield "memory", _of(memory, total, " GiB", system["memory_limit_source"])
    if not system["gpus"]:
        yield "GPUs", "none found"
    yield from gpu_rows(system["gpus"])
    if system["gpus"] and system["gpu_limit_source"] is not None:
        visible = set(system["visible_gpus"])
        gpus = [Gpu(**{**record, "processes": None}) for record in system["gpus"]]
        shown = ", ".join(label for label, gpu in zip(labels(gpus), gpus, strict=True) if gpu.uuid in visible)
        yield "GPUs visible", f"{shown or 'none'}, limited by {system['gpu_limit_source']}"
    energy = system["energy"]
    yield "CPU energy", energy["cpu_problem"] or f"readable: {', '.join(energy['cpu_packages'])}"


def gpu_rows(records: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """A label and a text for each GPU (`SeenGpu.to_record`): its figures, and who is on it."""
    gpus = [Gpu(**{**record, "processes": None}) for record in records]
    for label, gpu, record in zip(labels(gpus), gpus, records, strict=True):
        name = f"{gpu.name} ({gpu.uuid})" if gpu.uuid else gpu.name
        if gpu.problem is not None:
            yield f"GPU {label}", f"{name}: {gpu.problem}"
            continue
        processes = record["processes"]
        users = None if processes is None else [GpuUser(**one) for one in processes]
        on_it = "unknown who is on it" if users is None else users_in_words(users) or "nobody is on it"
        yield f"GPU {label}", f"{name}, {figures(gpu)}; {on_it}"


def _of(usable: object, total: object, unit: str, source: str | None) -> str:
    if source is None:
        return f"{usable}{unit}, all of the machine's"
    return f"{usable} of {total}{unit}, limited by {source}"


def _usage(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    usage = report["current_usage"]
    others = usage["others_cpu_percent"]
    if others is None:
        yield "CPU", "— (not measured)"
    else:
        yield "CPU", f"{usage['cpu_percent']:.0f} % busy, {others:.0f} % with work that is not of your runs"
    percent = "" if usage["memory_percent"] is None else f"{usage['memory_percent']:.0f} % in use, "
    yield "memory", f"{percent}{usage['available_memory_gb']:.1f} GiB available (reclaimable cache counts as available)"
    if usage["load_average"]:
        yield "load", " ".join(f"{load:.2f}" for load in usage["load_average"]) + " (1, 5, 15 minutes)"
    if not usage["pressure"]:
        yield "pressure", "— (this kernel does not measure it: no PSI)"
    for entry in usage["pressure"]:
        full = "" if entry["full_percent"] is None else f", all work {entry['full_percent']:.1f} %"
        waited = f"some work waited {entry['some_percent']:.1f} % of the last 10 s{full}"
        yield f"{entry['resource']} pressure", f"{waited} ({entry['source']})"


def _limits(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    limits = report["detection"]["limits"]
    if not limits:
        yield "none", "no CPU affinity, control group or Slurm limit on this process"
    for limit in limits:
        value = f"{limit['value']:.3g} CPUs" if limit["resource"] == "cpu" else f"{limit['value']:.2f} GiB"
        yield limit["resource"], f"{value}: {limit['source']}"


def _allowed(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, policy in report["recommendations"]["policies"].items():
        workers = "1 worker" if policy["workers"] == 1 else f"{policy['workers']} workers"
        lift = f" More with: {policy['hint']}" if policy["hint"] else ""
        yield name, f"up to {workers} on {policy['cpus']} CPU{'s' * (policy['cpus'] != 1)}. {policy['reason']}.{lift}"
    priority = report["detection"]["priority"]
    yield "priority", f"{'works' if priority['works'] else 'has little effect'}: {priority['reason']}"


def _suggestion(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    advice = report["recommendations"]
    workers = advice["parallel_workers"]
    how = (
        f"--mode parallel --workers {workers}" if advice["training_mode_suggestion"] == "parallel" else "--mode series"
    )
    yield "use", f"{how} (policy {advice['policy']})"
    yield "because", advice["reason"]
    if advice["devices"]["reason"]:
        yield ("refused" if advice["devices"]["refused"] else "trained on"), advice["devices"]["reason"]
    if advice["hint"]:
        yield "more with", advice["hint"]


def _endings(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    endings = report["detection"]["endings"]
    if not endings:
        yield "a run", "continues when you log out: nothing was found that would end it"
    for ending in endings:
        yield ending["what"], ending["reason"]
        if ending["remedy"]:
            yield "advice", ending["remedy"]


def _site(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    site = report.get("site")
    if site is None:
        return
    for file in site["files"]:
        yield "file", file
    if site["values"]:
        yield "values", f"{len(site['values'])}: {', '.join(site['values'])}"
    for name, place in site["locked"].items():
        yield "locked", f"{name}, by {place}"
    if site["problem"] is not None:
        yield "refused", f"{site['problem']}"


def _problems(report: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for failure in report["detection"]["failures"]:
        yield "failed", f"{failure}; one worker is used until this can be detected"
    for problem in report["detection"]["problems"]:
        yield "note", problem
    for warning in report["recommendations"]["warnings"]:
        yield "warning", warning
