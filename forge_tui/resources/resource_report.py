"""The resource report as data: what was detected, from where, what it allows and why."""

from __future__ import annotations

import platform
from dataclasses import asdict, fields
from typing import Any

from forge_tui.resources.advice import devices_here, most_suggested, suggestion
from forge_tui.resources.energy import CpuEnergyReader
from forge_tui.resources.gpu_users import seen_gpus
from forge_tui.resources.hardware import SystemResources
from forge_tui.resources.lifetime import endings
from forge_tui.resources.policy import (
    DefaultThresholds,
    OnDevices,
    Thresholds,
    capacity,
    cpu_share,
    is_busy,
    is_low_on_memory,
    memory_capacity,
    standing_warnings,
    threads_allowed,
)
from forge_tui.resources.priority import priority_effect
from forge_tui.resources.system_probe import SystemProbe
from forge_tui.resources.visible_devices import visible_gpus


def build_report(resources: SystemResources, settings: Thresholds, probe: SystemProbe) -> dict[str, Any]:
    """The report of `ResourceManager.generate_resource_report`, JSON-able."""
    devices = devices_here(resources, settings, probe.environment)
    suggested = suggestion(resources, settings, devices)
    return {
        "system_info": _system_info(resources, probe),
        "current_usage": _current_usage(resources),
        "recommendations": {
            "parallel_workers": suggested.workers,
            "training_mode_suggestion": suggested.mode,
            "reason": suggested.reason,
            "limited_by": suggested.limited_by,
            "hint": suggested.hint,
            "devices": {
                "gpus": 0 if devices.on is None else devices.on.devices,
                "reason": devices.reason or None,
                "refused": devices.is_refused,
            },
            "policy": settings.policy,
            "threads_per_worker": threads_allowed(suggested.workers, resources, settings),
            "memory_per_worker_gb": settings.memory_per_worker_gb,
            "policies": {name: _policy(name, resources, settings, devices.on) for name in ("shared", "dedicated")},
            "warnings": list(standing_warnings(resources, settings)),
        },
        "constraints": _constraints(resources, settings, devices.on),
        "detection": {
            "limits": [asdict(limit) for limit in resources.limits],
            "failures": list(resources.failures),
            "problems": list(resources.problems),
            "priority": _priority(probe),
            "endings": [asdict(ending) for ending in endings(probe)],
            "seconds": resources.seconds,
        },
    }


def _energy(probe: SystemProbe) -> dict[str, Any]:
    """Which CPU packages report their energy, or why none does."""
    reader = CpuEnergyReader(probe)
    return {"cpu_packages": list(reader.packages), "cpu_problem": reader.problem}


def _system_info(resources: SystemResources, probe: SystemProbe) -> dict[str, Any]:
    visible = visible_gpus(resources.gpus, probe.environment)
    return {
        "host": platform.node(),
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "cpu_count": resources.cpu_count,
        "cpu_total": resources.cpu_total or resources.cpu_count,
        "cpu_limit_source": resources.cpu_limit_source,
        "memory_gb": resources.memory_gb,
        "memory_total_gb": resources.memory_total_gb or resources.memory_gb,
        "memory_limit_source": resources.memory_limit_source,
        "gpus": [seen.to_record() for seen in seen_gpus(resources.gpus, probe)],
        "visible_gpus": [gpu.uuid for gpu in visible.gpus],
        "gpu_limit_source": visible.limit,
        "energy": _energy(probe),
    }


def _current_usage(resources: SystemResources) -> dict[str, Any]:
    used = max(0.0, resources.memory_gb - resources.available_memory_gb)
    return {
        "cpu_percent": resources.cpu_usage_percent,
        "others_cpu_percent": resources.others_cpu_percent,
        "per_core_percent": list(resources.per_core_percent),
        "memory_percent": 100.0 * used / resources.memory_gb if resources.memory_gb else None,
        "memory_used_gb": used,
        "available_memory_gb": resources.available_memory_gb,
        "load_average": list(resources.load_average) if resources.load_average else None,
        "pressure": [asdict(entry) for entry in resources.pressure],
    }


def _policy(name: str, resources: SystemResources, settings: Thresholds, on: OnDevices | None) -> dict[str, Any]:
    """What a policy allows, however many are requested."""
    thresholds = DefaultThresholds(
        **{**{field.name: getattr(settings, field.name) for field in fields(DefaultThresholds)}, "policy": name}
    )
    limit = capacity(resources, thresholds, on)
    return {
        "workers": limit.workers,
        "cpus": cpu_share(resources, thresholds),
        "limited_by": limit.limited_by,
        "reason": limit.reason,
        "hint": limit.hint,
    }


def _constraints(resources: SystemResources, settings: Thresholds, on: OnDevices | None) -> dict[str, Any]:
    """Which of memory, CPUs and others' work keep the suggestion below its maximum, with the reasons."""
    shared = settings.policy == "shared"
    low, busy = is_low_on_memory(resources, settings), is_busy(resources, settings)
    cpus, memory = cpu_share(resources, settings), memory_capacity(resources, settings, on)
    most = most_suggested(settings, on)
    memory_limited = (shared and low) or (memory is not None and memory < most and memory <= cpus)
    cpu_limited = cpus < most and (memory is None or cpus <= max(1, memory))
    allowed = capacity(resources, settings, on)
    words = list(standing_warnings(resources, settings))
    if allowed.workers < most and not words:
        words.append(allowed.reason)
    return {"memory_limited": memory_limited, "cpu_limited": cpu_limited, "high_usage": busy, "words": words}


def _priority(probe: SystemProbe) -> dict[str, Any]:
    try:
        return asdict(priority_effect(probe))
    except (OSError, ValueError) as error:
        return {"works": False, "reason": f"unknown: {type(error).__name__}: {error}"}
