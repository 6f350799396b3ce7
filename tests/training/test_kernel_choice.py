"""Which kernel trains a model: chosen once, recorded, and kept by a resume."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from native import native_library
from trained import KillAt, Killed, bytes_of, jobs_of, record_of, run

from forge_tui.errors import SettingsError
from forge_tui.kernels.library import Library, NoKernel
from forge_tui.protocol.events import Event, ResourceWarned
from forge_tui.protocol.job import Control, Job, Outcome
from forge_tui.settings.schema import DataSettings, Settings, TrainingConfig, from_plain
from forge_tui.training import checkpoint, kernel_choice
from forge_tui.training.data import load_dataset
from forge_tui.training.kernel_choice import choose_kernel, require_kernel
from forge_tui.training.own_code import NONE, OwnCode
from forge_tui.training.trainer import Trainer
from forge_tui.worker.inspection import Probe

CPU = torch.device("cpu")
NATIVE = {"kernel": "native"}
SMALL = {"batch_size": 16, "epochs": 5, "checkpoint_interval": 2}  # 99 samples: 7 steps an epoch
NOT_NATIVE: dict[str, tuple[dict[str, Any], str]] = {
    "another architecture": ({"model_type": "reasoner"}, "only planners"),
    "another optimizer": ({"optimizer": "sgd"}, "--optimizer sgd"),
    "GrokFast": ({"grokfast_enabled": True}, "GrokFast"),
    "clipping": ({"gradient_clip": 1.0}, "clipping"),
    "accumulation": ({"accumulate": 2}, "accumulation"),
    "bfloat16": ({"precision": "bfloat16"}, "--precision bfloat16"),
    "torch.compile": ({"compile": True}, "--compile"),
}


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on there is no native kernel."""

    def take_away() -> None:
        def refuse() -> Library:
            raise NoKernel("no C++ compiler was found")

        monkeypatch.setattr(kernel_choice, "load_library", refuse)

    return take_away


def chosen(tmp_path: Path, before: str | None = None, **training: Any) -> kernel_choice.Kernel:
    settings = Settings(
        training=TrainingConfig(**{"model_size": 2_000, **training}), data=DataSettings(samples=60, features=6)
    )
    return choose_kernel(settings.training, load_dataset(settings, tmp_path), CPU, NONE, before=before)


def test_planners_on_features_are_trained_natively_unless_eager_steps_are_asked_for(tmp_path: Path) -> None:
    library = native_library()
    found = chosen(tmp_path)
    assert found.conditions == {"kernel": "native", "kernel_build": library.build}
    assert chosen(tmp_path, **NATIVE).name == "native"
    assert chosen(tmp_path, kernel="eager").conditions == {"kernel": "eager"}


@pytest.mark.parametrize(("training", "words"), NOT_NATIVE.values(), ids=NOT_NATIVE)
def test_what_the_native_kernel_cannot_do_is_eager_and_refused_where_it_is_asked_for(
    training: dict[str, Any], words: str, tmp_path: Path
) -> None:
    found = chosen(tmp_path, **training)
    assert found.name == "eager"
    assert words in found.reason
    asked = TrainingConfig(**NATIVE, **training)
    with pytest.raises(SettingsError, match=f"--kernel native: .*{words}.*use --kernel auto"):
        require_kernel(asked, chosen(tmp_path, **NATIVE, **training))


def test_devices_data_and_losses_that_it_cannot_do(tmp_path: Path) -> None:
    settings = Settings(training=TrainingConfig(model_size=2_000), data=DataSettings(samples=60))
    dataset = load_dataset(settings, tmp_path)
    problem = kernel_choice.native_problem
    assert problem(settings.training, dataset, CPU, NONE) is None
    assert "cuda" in str(problem(settings.training, dataset, torch.device("cuda"), NONE))
    assert "a custom loss" in str(problem(settings.training, dataset, CPU, OwnCode(loss=lambda out, targets: out)))
    assert problem(settings.training, dataset, CPU, OwnCode(metric=lambda out, targets: 0.0)) is None
    wide = dataclasses.replace(dataset, train_inputs=dataset.train_inputs.double())
    assert "float32" in str(problem(settings.training, wide, CPU, NONE))
    tokens = Settings(training=TrainingConfig(model_size=9_000, dataset="modular"), data=DataSettings(prime=7))
    assert "tokens" in str(problem(tokens.training, load_dataset(tokens, tmp_path), CPU, NONE))


def test_without_a_compiler_steps_are_eager_and_native_ones_are_refused(tmp_path: Path, no_compiler: Any) -> None:
    no_compiler()
    assert chosen(tmp_path) == kernel_choice.Kernel(reason="no C++ compiler was found")
    with pytest.raises(SettingsError, match="no C\\+\\+ compiler was found"):
        require_kernel(TrainingConfig(**NATIVE), chosen(tmp_path, **NATIVE))


def test_a_refusal_comes_before_any_model_starts(make_job: Any) -> None:
    with pytest.raises(SettingsError, match="--kernel native: GrokFast is not native"):
        Probe(make_job(training={**NATIVE, "grokfast_enabled": True}))


def test_large_models_are_left_to_torch_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native_library()
    monkeypatch.setattr(kernel_choice, "_MOST_PARAMETERS", 1_999)
    assert "more than 1,999 parameters" in chosen(tmp_path).reason
    assert chosen(tmp_path, **NATIVE).name == "native"
    assert chosen(tmp_path, before="native").name == "native"


def kernel_of(job: Job) -> str:
    found = checkpoint.newest_valid(Path(job.directory) / "checkpoints" / job.model)
    assert found is not None
    return str(found.record["environment"]["kernel"])


@pytest.mark.parametrize("options", [{}, {"weights_average": 0.9}], ids=["plain", "averaged weights"])
def test_a_native_model_killed_anywhere_has_the_same_bytes_alone_and_in_a_group(
    make_job: Any, stop_after: Any, options: dict[str, Any]
) -> None:
    native_library()
    training = {**SMALL, **NATIVE, **options}
    whole, broken = (jobs_of(make_job, name, training=training) for name in ("whole", "broken"))
    run(whole)
    assert run(broken, stop_after(10))[0] is Outcome.STOPPED
    assert kernel_of(broken[0]) == "native"
    with pytest.raises(Killed):  # after the checkpoint of epoch 2 (step 14), inside epoch 4
        run(broken, KillAt(13))
    _, events = run(broken)
    assert bytes_of(broken) == bytes_of(whole)
    assert not [event for event in events if isinstance(event, ResourceWarned)]
    for job, other in zip(whole, broken, strict=True):
        (alone,) = [one for one in jobs_of(make_job, "alone", training=training) if one.model == job.model]
        Trainer([alone], lambda event: None, Control()).run()
        assert bytes_of([alone]) == bytes_of([job])
        assert [record_of(one)["kernel"] for one in (alone, job, other)] == ["native"] * 3
        assert [record_of(one)["exact"] for one in (alone, job, other)] == [True] * 3


def test_a_run_that_asked_for_it_continues_where_there_is_none(
    make_job: Any, stop_after: Any, no_compiler: Any
) -> None:
    native_library()
    job = make_job("run", {**SMALL, **NATIVE})
    Trainer([job], lambda event: None, stop_after(10)).run()
    no_compiler()
    fingerprint = load_dataset(from_plain(job.settings), Path(job.working_directory)).fingerprint
    assert fingerprint is not None
    resumed = dataclasses.replace(job, data=fingerprint.to_record())
    assert Probe(dataclasses.replace(resumed)).inspect().kernel == "eager"
    events: list[Event] = []
    assert Trainer([resumed], events.append, Control()).run() is Outcome.COMPLETED
    assert (record_of(job)["kernel"], record_of(job)["exact"]) == ("eager", False)
    warned = {event.kind: event.message for event in events if isinstance(event, ResourceWarned)}
    assert warned["kernel"] == "cognate_planner_1 trains with eager steps: no C++ compiler was found"
    assert "kernel native → eager" in warned["exactness"]


def test_a_resume_keeps_the_kernel(make_job: Any, stop_after: Any) -> None:
    native_library()
    for kernel in ("eager", "native"):
        job = make_job(kernel, {**SMALL, "kernel": kernel})
        Trainer([job], lambda event: None, stop_after(10)).run()
        resumed = make_job(kernel, {**SMALL, "kernel": "auto"})
        assert Trainer([resumed], lambda event: None, Control()).run() is Outcome.COMPLETED
        record = record_of(resumed)
        assert (record["kernel"], record["exact"]) == (kernel, True)


def test_a_resume_that_cannot_keep_it_is_not_exact_and_says_why(
    make_job: Any, stop_after: Any, no_compiler: Any
) -> None:
    native_library()
    job = make_job("run", SMALL)
    Trainer([job], lambda event: None, stop_after(10)).run()
    no_compiler()
    events: list[Event] = []
    assert Trainer([job], events.append, Control()).run() is Outcome.COMPLETED
    record = record_of(job)
    assert (record["kernel"], record["exact"]) == ("eager", False)
    (warned,) = [event.message for event in events if isinstance(event, ResourceWarned)]
    assert "kernel native → eager: no C++ compiler was found" in warned


def test_a_checkpoint_of_an_early_version_is_an_eager_one() -> None:
    assert kernel_choice.kernel_before({"threads": 1}) == "eager"


def test_a_group_that_loses_models_ends_as_each_of_them_alone(make_job: Any) -> None:
    """The last model of a group continues as a group of one."""
    native_library()
    training = {**SMALL, **NATIVE, "patience": 1, "epochs": 40, "learning_rate": 0.05}
    together, alone = (jobs_of(make_job, name, training=training) for name in ("together", "alone"))
    run(together)
    for job in alone:
        Trainer([job], lambda event: None, Control()).run()
    assert len({record_of(job)["epochs_completed"] for job in together}) > 1
    assert bytes_of(together) == bytes_of(alone)


def test_ways_are_measured_with_native_steps(make_job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    native_library()
    steps: list[int] = []
    train = kernel_choice.NativeState._train

    def counted(state: Any, data: Any, orders: Any, count: int) -> None:
        steps.append(count * len(state.progress))
        train(state, data, orders, count)

    monkeypatch.setattr(kernel_choice.NativeState, "_train", counted)
    measured = Probe(make_job()).measure([(1, 1, False), (3, 1, False)], 0.02, most_bytes=float("inf"))
    assert all(way.steps_per_second > 0 for way in measured.ways)
    assert sum(steps) > 0
    steps.clear()
    Probe(make_job(training={"kernel": "eager"})).measure([(1, 1, False)], 0.02, most_bytes=float("inf"))
    assert steps == []
