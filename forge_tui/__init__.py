"""forge-tui: train several PyTorch models on one server, in series or in parallel, without overloading it.

Names are loaded where they are first used: `import forge_tui` imports neither torch nor textual.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "CognateCreator": "forge_tui.compat.creator",
    "create_cognate_models": "forge_tui.compat.creator",
    "TrainingConfig": "forge_tui.settings.schema",
    "Settings": "forge_tui.settings.schema",
    "RunSettings": "forge_tui.settings.schema",
    "DataSettings": "forge_tui.settings.schema",
    "ResourceSettings": "forge_tui.settings.schema",
    "EngineSettings": "forge_tui.settings.schema",
    "SearchSettings": "forge_tui.settings.schema",
    "UiSettings": "forge_tui.settings.schema",
    "ResourceManager": "forge_tui.resources.manager",
    "SystemResources": "forge_tui.resources.hardware",
    "get_optimal_workers": "forge_tui.resources.manager",
    "get_resource_summary": "forge_tui.resources.manager",
    "ProgressAggregator": "forge_tui.compat.aggregator",
    "TrainingPhase": "forge_tui.protocol.phases",
    "create_progress_tracker": "forge_tui.compat.aggregator",
    "Snapshot": "forge_tui.protocol.snapshot",
    "TrainingFailed": "forge_tui.errors",
    "Trial": "forge_tui.training.trial",
    "TrialStopped": "forge_tui.errors",
    "report": "forge_tui.protocol.trial_channel",
    "Run": "forge_tui.client",
    "start": "forge_tui.client",
    "attach": "forge_tui.client",
    "load_model": "forge_tui.training.export",
    "InputSpec": "forge_tui.training.models.inputs",
    "load_ensemble": "forge_tui.reports.ensemble",
    "Predicts": "forge_tui.training.prediction.predictions",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
