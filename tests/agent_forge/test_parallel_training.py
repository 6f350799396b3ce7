"""The interface kept from Agent Forge, in the six areas its description names.

Runs under pytest, as `python -m unittest tests.agent_forge.test_parallel_training`, and as a script.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
from dataclasses import dataclass, fields, replace
from pathlib import Path
from unittest import mock

import psutil
from agent_forge.phases.cognate_pretrain import (
    CognateCreator,
    TrainingConfig,
    TrainingFailed,
    create_cognate_models,
)
from agent_forge.utils import (
    ProgressAggregator,
    ResourceManager,
    TrainingPhase,
    create_progress_tracker,
    get_optimal_workers,
    get_resource_summary,
)

SMALL = {"model_size": 2_000, "epochs": 3, "checkpoint_interval": 1}
# Runs take their part of a busy machine as all other processes do: they do not wait while tests run beside them.
SAME_PRIORITY = {"PYTHONPATH": str(Path(__file__).parents[1] / "support" / "faults"), "SAME_PRIORITY": "1"}
GIB = 1 << 30


@dataclass(frozen=True)
class Trained:
    """What several tests look at: the models of a run, and what was seen while it went on."""

    home: Path
    stems: list[str]
    creator: CognateCreator
    seen: list[dict[str, object]]
    """What the callback was given."""
    threads: set[str]
    """Those that called it."""
    changed: list[str]
    """What the run changed in this process; it must be nothing."""

    def metadata(self, stem: str) -> dict[str, object]:
        return json.loads((self.home / f"{stem}.json").read_text(encoding="utf-8"))

    def weights(self, stem: str) -> bytes:
        return (self.home / f"{stem}.safetensors").read_bytes()


def caller() -> dict[str, object]:
    """What belongs to the caller and no run may change."""
    import torch

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    numbers = (random.getstate(), torch.get_rng_state().tolist())
    settings = (torch.get_num_threads(), torch.get_default_dtype())
    return {"random numbers": numbers, "torch": settings, "handlers": handlers, "priority": os.nice(0)}


_made = contextlib.ExitStack()


@functools.cache
def trained(mode: str) -> Trained:
    """A run into `models/`: in series, as it is by default; or in parallel, where series is configured."""
    import torch

    home = Path(_made.enter_context(tempfile.TemporaryDirectory())).resolve()
    creator, given = CognateCreator(TrainingConfig(**SMALL)), {}
    environment = private_directories(home)
    if mode == "parallel":
        workers, _reason = get_optimal_workers(4)
        creator = CognateCreator(TrainingConfig(**SMALL, training_mode="series", max_parallel_workers=workers))
        given = {"training_mode": "parallel"}
        environment |= SAME_PRIORITY
    seen: list[dict[str, object]] = []
    threads: set[str] = set()

    def callback(progress: dict[str, object]) -> None:
        seen.append(progress)
        threads.add(threading.current_thread().name)

    creator.set_progress_callback(callback)
    random.seed(5)
    torch.manual_seed(5)
    torch.set_num_threads(2)
    with contextlib.chdir(home), mock.patch.dict(os.environ, environment):
        before = caller()
        stems = creator.create_three_models("models/", **given)
        changed = [name for name, value in caller().items() if value != before[name]]
    return Trained(home, stems, creator, seen, threads, changed)


def tearDownModule() -> None:
    """Remove the shared runs."""
    _made.close()


def private_directories(home: Path) -> dict[str, str]:
    """The environment of private state and configuration directories."""
    return {"XDG_STATE_HOME": str(home / "state"), "XDG_CONFIG_HOME": str(home / "config")}


class Sandboxed(unittest.TestCase):
    """A private working directory, and private state and configuration directories."""

    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.home = Path(directory.name).resolve()
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.home)
        patch = mock.patch.dict(os.environ, {**SAME_PRIORITY, **private_directories(self.home)})
        patch.start()
        self.addCleanup(patch.stop)

    def metadata(self, stem: str) -> dict[str, object]:
        return json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))


class TestBackwardCompatibility(Sandboxed):
    """Existing code runs unchanged."""

    def test_import_paths(self) -> None:
        import agent_forge
        import agent_forge.phases.cognate_pretrain.cognate_creator as creator
        import agent_forge.utils.progress_aggregator as aggregator
        import agent_forge.utils.resource_manager as manager

        import forge_tui

        self.assertIs(creator.CognateCreator, forge_tui.CognateCreator)
        self.assertIs(agent_forge.TrainingConfig, forge_tui.TrainingConfig)
        self.assertIs(manager.ResourceManager, agent_forge.ResourceManager)
        self.assertIs(aggregator.ProgressAggregator, agent_forge.ProgressAggregator)

    def test_configuration_fields_in_their_order(self) -> None:
        names = [field.name for field in fields(TrainingConfig)][:12]
        self.assertEqual(
            names,
            [
                "model_type", "model_size", "learning_rate", "batch_size", "epochs", "grokfast_enabled",
                "grokfast_alpha", "grokfast_lambda", "dataset", "checkpoint_interval", "training_mode",
                "max_parallel_workers",
            ],
        )  # fmt: skip

    def test_configuration_defaults(self) -> None:
        config = TrainingConfig()
        values = [getattr(config, field.name) for field in fields(TrainingConfig)][:12]
        expected = ["planner", 100_000, 0.001, 32, 100, False, 0.98, 2.0, "synthetic", 10, "series", 3]
        self.assertEqual(values, expected)

    def test_configuration_by_position(self) -> None:
        config = TrainingConfig("memory", 5_000, 0.01, 16, 7)
        self.assertEqual((config.model_type, config.model_size, config.epochs), ("memory", 5_000, 7))

    def test_creator_without_configuration(self) -> None:
        self.assertEqual(CognateCreator().config, TrainingConfig())
        self.assertEqual(CognateCreator().config.training_mode, "series")

    def test_series_by_default_gives_three_stems(self) -> None:
        run = trained("series")
        self.assertEqual(run.stems, [f"models/cognate_planner_{index}" for index in (1, 2, 3)])
        for index, stem in enumerate(run.stems):
            record = run.metadata(stem)
            self.assertTrue(record["final_model"])
            self.assertEqual(record["seed"], index)
            self.assertEqual(record["config"]["training_mode"], "series")
            self.assertEqual(len(record["history"]), SMALL["epochs"])
            self.assertTrue(run.weights(stem))

    def test_twice_into_the_same_directory(self) -> None:
        run = trained("series")
        os.chdir(run.home)
        before = run.weights(run.stems[0])
        Path("models/notes.txt").write_text("mine", encoding="utf-8")
        self.assertEqual(run.creator.create_three_models("models/"), run.stems)
        self.assertEqual(Path("models/previous-1/cognate_planner_1.safetensors").read_bytes(), before)
        self.assertEqual(run.weights(run.stems[0]), before)
        self.assertEqual(Path("models/notes.txt").read_text(encoding="utf-8"), "mine")

    def test_function_form(self) -> None:
        models = create_cognate_models("models", epochs=1, model_size=2_000)
        self.assertEqual(models[2], "models/cognate_planner_3")

    def test_caller_is_left_alone(self) -> None:
        self.assertEqual(trained("series").changed, [])
        self.assertEqual(trained("parallel").changed, [])


class TestParallelTraining(Sandboxed):
    """The parallel mode."""

    def test_mode_given_to_the_call_wins(self) -> None:
        run = trained("parallel")
        self.assertEqual(run.creator.get_training_progress()["mode"], "parallel")
        self.assertEqual(run.metadata(run.stems[0])["config"]["training_mode"], "parallel")

    def test_unknown_mode(self) -> None:
        with self.assertRaisesRegex(ValueError, "training_mode.*sideways.*'series' or 'parallel'"):
            CognateCreator().create_three_models("models/", training_mode="sideways")
        self.assertFalse(Path("models").exists())

    def test_parallel_gives_the_models_of_series(self) -> None:
        series, parallel = trained("series"), trained("parallel")
        for left, right in zip(series.stems, parallel.stems, strict=True):
            # The same threads in both: one, on the small machines this runs on, or as many as were measured best.
            if series.metadata(left)["threads"] == parallel.metadata(right)["threads"]:
                self.assertEqual(series.weights(left), parallel.weights(right), left)

    def check_kind(self, models: list[str], kind: str) -> None:
        """That `models` are three of 2,000 parameters, of architecture `kind`."""
        self.assertEqual(models, [f"models/cognate_{kind}_{index}" for index in (1, 2, 3)])
        for stem in models:
            self.assertAlmostEqual(self.metadata(stem)["parameters"], 2_000, delta=100)

    def test_series_method(self) -> None:
        creator = CognateCreator(TrainingConfig(**SMALL, model_type="reasoner"))
        self.check_kind(creator._create_models_series("models"), "reasoner")

    def test_parallel_method(self) -> None:
        creator = CognateCreator(TrainingConfig(**SMALL, model_type="memory"))
        self.check_kind(creator._create_models_parallel("models", 2), "memory")
        self.assertEqual(creator.get_training_progress()["overall_progress"], 100.0)

    def test_optimal_workers_never_exceed_the_request(self) -> None:
        creator = CognateCreator()
        for requested in (1, 2, 64):
            workers = creator._detect_optimal_workers(requested)
            self.assertGreaterEqual(workers, 1)
            self.assertLessEqual(workers, requested)

    def test_progress_callback(self) -> None:
        run = trained("parallel")
        self.assertEqual(run.seen[-1]["overall_progress"], 100.0)
        self.assertEqual(run.seen[-1]["completed_models"], 3)
        self.assertEqual(len(run.threads), 1)
        self.assertNotIn(threading.current_thread().name, run.threads)
        percents = [progress["overall_progress"] for progress in run.seen]
        self.assertEqual(percents, sorted(percents))

    def test_plain_script_without_main_guard(self) -> None:
        script = self.home / "script.py"
        script.write_text(
            textwrap.dedent(
                f"""
                from agent_forge.phases.cognate_pretrain import CognateCreator, TrainingConfig
                models = CognateCreator(TrainingConfig(**{SMALL!r})).create_three_models("m/", "parallel")
                assert len(models) == 3
                """
            ),
            encoding="utf-8",
        )
        done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=self.home, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertTrue((self.home / "m" / "cognate_planner_3.safetensors").is_file())


class TestResourceManagement(unittest.TestCase):
    """Detection, validation and monitoring."""

    def test_detection(self) -> None:
        resources = ResourceManager().detect_system_resources()
        self.assertGreaterEqual(resources.cpu_count, 1)
        self.assertLessEqual(resources.cpu_count, len(os.sched_getaffinity(0)))
        self.assertGreater(resources.memory_gb, 0)
        self.assertLessEqual(resources.available_memory_gb, resources.memory_gb)
        self.assertGreaterEqual(resources.recommended_workers, 1)
        self.assertLessEqual(resources.recommended_workers, 6)
        self.assertEqual(resources.memory_per_worker_gb, 8.0)

    def test_invalid_worker_count(self) -> None:
        count, reason = ResourceManager().validate_worker_count(0)
        self.assertEqual(count, 1)
        self.assertTrue(reason.startswith("Invalid"), reason)

    def test_worker_count_comes_with_a_reason(self) -> None:
        count, reason = ResourceManager().validate_worker_count(10_000)
        self.assertLess(count, 10_000)
        self.assertTrue(reason)

    def test_monitoring_starts_and_stops(self) -> None:
        manager = ResourceManager()
        self.assertFalse(manager._monitoring)
        manager.start_monitoring(interval=0.05)
        self.addCleanup(manager.stop_monitoring)
        self.assertTrue(manager._monitoring)
        manager.stop_monitoring()
        self.assertFalse(manager._monitoring)

    def test_report(self) -> None:
        report = ResourceManager().generate_resource_report()
        self.assertLessEqual({"system_info", "current_usage", "recommendations", "constraints"}, set(report))
        self.assertIn(report["recommendations"]["training_mode_suggestion"], ("series", "parallel"))
        self.assertGreaterEqual(report["recommendations"]["parallel_workers"], 1)
        self.assertLessEqual({"memory_limited", "cpu_limited", "high_usage"}, set(report["constraints"]))
        json.dumps(report)

    def test_functions_and_metrics(self) -> None:
        workers, reason = get_optimal_workers(4)
        self.assertTrue(1 <= workers <= 4)
        self.assertIsInstance(reason, str)
        self.assertIsNotNone(get_resource_summary())
        self.assertAlmostEqual(ResourceManager().get_current_metrics()["timestamp"], time.time(), delta=60)


class TestProgressAggregation(unittest.TestCase):
    """The aggregator."""

    def test_overall_percent_is_the_mean(self) -> None:
        aggregator = ProgressAggregator(total_models=3)
        aggregator.update_model_progress(1, TrainingPhase.TRAINING, 50, 100)
        aggregator.update_model_progress(2, TrainingPhase.COMPLETED, 100, 100)
        progress = aggregator.get_overall_progress()
        self.assertAlmostEqual(progress["overall_percent"], 50.0)
        self.assertEqual((progress["completed_models"], progress["total_models"]), (1, 3))

    def test_message_in_parallel(self) -> None:
        aggregator = create_progress_tracker()
        aggregator.update_model_progress(1, TrainingPhase.TRAINING, 96, 100)
        aggregator.update_model_progress(2, TrainingPhase.TRAINING, 100, 100)
        message = aggregator.format_progress_message("parallel")
        self.assertEqual(message, "Training 2 models in parallel: Overall 65.3%")

    def test_message_in_series(self) -> None:
        aggregator = ProgressAggregator(total_models=3)
        aggregator.update_model_progress(1, TrainingPhase.TRAINING, 50, 100)
        self.assertEqual(aggregator.format_progress_message("series"), "Training model 1/3: Epoch 50/100 (50.0%)")

    def test_completion_and_failure(self) -> None:
        aggregator = ProgressAggregator(total_models=2)
        aggregator.update_model_progress(1, TrainingPhase.COMPLETED, 10, 10)
        self.assertFalse(aggregator.is_training_complete())
        self.assertFalse(aggregator.has_failed_models())
        aggregator.update_model_progress(2, TrainingPhase.FAILED, 5, 10)
        self.assertTrue(aggregator.has_failed_models())

    def test_log_is_exported(self) -> None:
        aggregator = ProgressAggregator(total_models=1)
        aggregator.update_model_progress(1, TrainingPhase.TRAINING, 1, 2, loss_value=0.5, learning_rate=0.1)
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "log.json"
            aggregator.export_progress_log(str(path))
            self.assertIn("0.5", path.read_text(encoding="utf-8"))

    def test_threads_lose_no_update(self) -> None:
        aggregator = ProgressAggregator(total_models=8)

        def train(model: int) -> None:
            for epoch in range(1, 101):
                aggregator.update_model_progress(model, TrainingPhase.TRAINING, epoch, 100)
            aggregator.update_model_progress(model, TrainingPhase.COMPLETED, 100, 100)

        threads = [threading.Thread(target=train, args=(model,)) for model in range(1, 9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertTrue(aggregator.is_training_complete())
        self.assertEqual(aggregator.get_overall_progress()["overall_percent"], 100.0)


class TestIntegration(Sandboxed):
    """From configuration to models that can be used."""

    def test_trained_model_loads_and_scores_as_recorded(self) -> None:
        from forge_tui import load_model

        config = TrainingConfig(model_size=5_000, epochs=15)
        stem = CognateCreator(config).create_three_models("models/")[0]
        record = self.metadata(stem)
        self.assertLess(record["history"][-1]["loss"], 0.5 * record["history"][0]["loss"])
        model = load_model(stem)
        self.assertFalse(model.training)
        self.assertEqual(sum(parameter.numel() for parameter in model.parameters()), record["parameters"])

    def test_resource_aware_configuration(self) -> None:
        workers, _reason = get_optimal_workers(4)
        run = trained("parallel")
        self.assertEqual(run.creator.config.max_parallel_workers, workers)
        self.assertEqual(len(run.stems), 3)

    def test_progress_from_another_thread(self) -> None:
        creator = CognateCreator(TrainingConfig(model_size=2_000, epochs=40))
        self.assertEqual(creator.get_training_progress()["overall_progress"], 0.0)
        seen: list[float] = []
        done = threading.Event()

        def look() -> None:
            while not done.is_set():
                seen.append(creator.get_training_progress()["overall_progress"])
                done.wait(0.05)

        watcher = threading.Thread(target=look)
        watcher.start()
        creator.create_three_models("models/")
        done.set()
        watcher.join()
        self.assertEqual(creator.get_training_progress()["overall_progress"], 100.0)
        self.assertEqual(seen, sorted(seen))


class TestErrorHandling(Sandboxed):
    """What goes wrong is told, and costs no more than it must."""

    def test_detection_failure_falls_back_to_one_worker(self) -> None:
        with mock.patch.object(psutil, "virtual_memory", side_effect=RuntimeError("no /proc")):
            count, reason = ResourceManager().validate_worker_count(4)
        self.assertEqual(count, 1)
        self.assertIn("detect", reason.lower())

    def test_little_memory_means_one_worker(self) -> None:
        sizes = {"total": 16 * GIB, "available": 2 * GIB, "used": 14 * GIB, "free": GIB, "cached": 0, "buffers": 0}
        memory = mock.Mock(percent=87.5, **sizes)
        with mock.patch.object(psutil, "virtual_memory", return_value=memory):
            count, reason = ResourceManager().validate_worker_count(4)
        self.assertEqual(count, 1)
        self.assertIn("memory", reason.lower())

    def test_values_out_of_range(self) -> None:
        wrong = {"epochs": 0, "learning_rate": -1.0, "batch_size": True, "model_type": "guesser", "model_size": 10}
        for name, value in wrong.items():
            with self.assertRaisesRegex(ValueError, name):
                replace(TrainingConfig(), **{name: value})

    def test_missing_dataset_leaves_nothing_behind(self) -> None:
        creator = CognateCreator(TrainingConfig(dataset="absent.csv"))
        with self.assertRaisesRegex(ValueError, r"absent\.csv"):
            creator.create_three_models("models/")
        self.assertFalse(Path("models").exists())

    def test_failed_models_are_reported(self) -> None:
        config = TrainingConfig(model_size=2_000, epochs=3, learning_rate=10.0, optimizer="sgd", momentum=0.99)
        rows = ["x,target", *(f"{(-1) ** row * 1e30},{row * 1.5e18}" for row in range(40))]
        Path("wild.csv").write_text("\n".join(rows), encoding="utf-8")
        creator = CognateCreator(replace(config, dataset="wild.csv"))
        with self.assertRaises(TrainingFailed) as caught:
            creator.create_three_models("models/")
        self.assertEqual(caught.exception.completed, [])
        self.assertEqual([failure.kind for failure in caught.exception.failures], ["diverged"] * 3)


if __name__ == "__main__":
    unittest.main()
