"""The public names, for type checkers: at run time each is loaded where it is first used."""

from forge_tui.client import Run as Run
from forge_tui.client import attach as attach
from forge_tui.client import start as start
from forge_tui.compat.aggregator import ProgressAggregator as ProgressAggregator
from forge_tui.compat.aggregator import create_progress_tracker as create_progress_tracker
from forge_tui.compat.creator import CognateCreator as CognateCreator
from forge_tui.compat.creator import create_cognate_models as create_cognate_models
from forge_tui.errors import TrainingFailed as TrainingFailed
from forge_tui.errors import TrialStopped as TrialStopped
from forge_tui.protocol.phases import TrainingPhase as TrainingPhase
from forge_tui.protocol.snapshot import Snapshot as Snapshot
from forge_tui.protocol.trial_channel import report as report
from forge_tui.reports.ensemble import load_ensemble as load_ensemble
from forge_tui.resources.hardware import SystemResources as SystemResources
from forge_tui.resources.manager import ResourceManager as ResourceManager
from forge_tui.resources.manager import get_optimal_workers as get_optimal_workers
from forge_tui.resources.manager import get_resource_summary as get_resource_summary
from forge_tui.settings.schema import DataSettings as DataSettings
from forge_tui.settings.schema import EngineSettings as EngineSettings
from forge_tui.settings.schema import ResourceSettings as ResourceSettings
from forge_tui.settings.schema import RunSettings as RunSettings
from forge_tui.settings.schema import SearchSettings as SearchSettings
from forge_tui.settings.schema import Settings as Settings
from forge_tui.settings.schema import TrainingConfig as TrainingConfig
from forge_tui.settings.schema import UiSettings as UiSettings
from forge_tui.training.export import load_model as load_model
from forge_tui.training.models.inputs import InputSpec as InputSpec
from forge_tui.training.prediction.predictions import Predicts as Predicts
from forge_tui.training.trial import Trial as Trial

__version__: str
