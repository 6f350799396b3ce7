"""All of a custom module's state through checkpoint, stop, kill, retry, early stopping and `load_model`."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import modules_code
import pytest
import torch
from torch.nn.functional import cross_entropy
from trained import KillAt, Killed, bytes_of, record_of, run

from forge_tui import load_model
from forge_tui.errors import RunDirectoryError, SettingsError
from forge_tui.protocol.events import Event, ResourceWarned
from forge_tui.protocol.job import Job, Outcome
from forge_tui.settings.schema import Settings, TrainingConfig
from forge_tui.training import checkpoint as checkpoints
from forge_tui.training.data.load import load_dataset
from forge_tui.training.models.modes import evaluating
from forge_tui.training.module_state import Built, prepare, restore_module, unpacked
from forge_tui.training.own_code import load_own_code
from forge_tui.training.tensor_file import read_tensors
from forge_tui.training.trainer import Trainer
from forge_tui.worker.inspection import Probe

CODE = Path(modules_code.__file__)
# 54 samples for training: 4 steps an epoch.
TRAINING = {"dataset": f"{CODE}:dataset", "batch_size": 16, "epochs": 6, "checkpoint_interval": 2}
KINDS = ("extra", "hidden", "replaced", "late", "expanded", "views", "counter", "nested", "tensors", "noise", "frozen",
         "freezes_later", "turns_itself")  # fmt: skip
IN_GROUPS = ("hidden", "expanded", "frozen", "turns_itself")


def jobs_for(make_job: Any, where: str, kind: str, models: int = 1, **training: Any) -> list[Job]:
    named = {**TRAINING, "model_type": f"{CODE}:{kind}", **training}
    return [make_job(where, named, model=f"cognate_{kind}_{n}", index=n, seed=n - 1) for n in range(1, models + 1)]


def ended(job: Job) -> tuple[Any, ...]:
    """All that an undisturbed run and a disturbed one must have alike."""
    record = record_of(job)
    history = [{**epoch, "seconds": 0.0} for epoch in record["history"]]
    return history, record.get("module_state"), record["sha256"], bytes_of([job])


def warnings_of(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, ResourceWarned)]


@pytest.mark.parametrize(
    ("kind", "grouped"), [*((kind, False) for kind in KINDS), *((kind, True) for kind in IN_GROUPS)]
)
def test_stopped_and_killed_it_goes_on_to_the_same_bytes(
    make_job: Any, stop_after: Any, kind: str, grouped: bool
) -> None:
    models = 3 if grouped else 1
    alone, broken = (jobs_for(make_job, where, kind, models) for where in ("alone", "broken"))
    _, events = run(alone)
    assert warnings_of(events) == []
    assert all(record_of(job)["exact"] for job in alone)

    assert Trainer(broken, lambda event: None, stop_after(10)).run() is Outcome.STOPPED  # within epoch 3
    with pytest.raises(Killed):
        run(broken, KillAt(7))  # within epoch 5, after the checkpoint of epoch 4
    _, events = run(broken)
    assert warnings_of(events) == []
    for job, other in zip(broken, alone, strict=True):
        assert ended(job) == ended(other)
        assert record_of(job)["exact"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_module_comes_back_as_it_was_measured_last(make_job: Any, kind: str) -> None:
    (job,) = jobs_for(make_job, "run", kind)
    run([job])
    stem = Path(job.directory) / job.model
    before = torch.get_rng_state()
    module = load_model(stem, trust_code=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(part.training for part in module.modules())
    assert not any(item.requires_grad for item in module.parameters())
    dataset = load_dataset(Settings(training=TrainingConfig(**TRAINING)), Path(), modules_code.dataset)
    loss = cross_entropy(module(dataset.validation_inputs), dataset.validation_targets)
    assert float(loss) == pytest.approx(record_of(job)["validation"]["loss"], rel=1e-5)


def test_each_members_buffers_come_back(make_job: Any) -> None:
    jobs = jobs_for(make_job, "run", "hidden", 3)
    run(jobs)
    found = [load_model(Path(job.directory) / job.model, trust_code=True).body.mean for job in jobs]
    alone = jobs_for(make_job, "alone", "hidden", 3)
    for job, mean in zip(alone, found, strict=True):
        run([job])
        torch.testing.assert_close(
            load_model(Path(job.directory) / job.model, trust_code=True).body.mean, mean, rtol=1e-4, atol=1e-6
        )
    assert len({float(mean[0]) for mean in found}) == 3


def test_what_each_kind_keeps(make_job: Any) -> None:
    """By name, in NAME.json and NAME.safetensors."""
    (job,) = jobs_for(make_job, "run", "counter")
    run([job])
    told = record_of(job)["module_state"]["state"]
    assert told == {
        "dict": [["attributes", {"dict": [["", {"dict": [
            ["steps", {"tuple": ["set", 24]}],
            ["temperature", {"tuple": ["set", pytest.approx(0.99**24)]}],
            ["mode", {"tuple": ["set", "cold"]}],
        ]}]]}]]
    }  # fmt: skip
    (job,) = jobs_for(make_job, "run", "hidden")
    run([job])
    stored, _ = read_tensors(Path(job.directory) / f"{job.model}.safetensors")
    assert sorted(stored) == ["body.last.bias", "body.last.weight", "feature_mean", "feature_scale", "module_state/0"]
    told = record_of(job)["module_state"]["state"]
    assert told == {"dict": [["buffers", {"dict": [["mean", {"tensor": "0"}]]}]]}


@pytest.mark.parametrize("kind", ["base", "frozen", "turns_itself", "normed", "traced"])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_files_without_such_state_are_as_before(make_job: Any, kind: str) -> None:
    (job,) = jobs_for(make_job, "run", kind)
    _, events = run([job])
    assert warnings_of(events) == []
    assert "module_state" not in record_of(job)
    stored, _ = read_tensors(Path(job.directory) / f"{job.model}.safetensors")
    assert not [name for name in stored if name.startswith("module_state")]
    kept = checkpoints.newest_valid(Path(job.directory) / "checkpoints" / job.model)
    assert kept is not None
    assert ("module" in kept.record) is (kind == "turns_itself")  # its mode
    assert "best_module" not in kept.record


@pytest.mark.parametrize("kind", ["extra", "replaced", "counter", "nested"])
def test_early_stopping_keeps_the_state_of_the_best_epoch(make_job: Any, kind: str) -> None:
    """Through a kill after it, too."""
    training = {"patience": 3, "learning_rate": 0.3, "epochs": 40}
    whole, broken = (jobs_for(make_job, where, kind, **training) for where in ("whole", "broken"))
    run(whole)
    found = record_of(whole[0])
    best = found["best_epoch"]
    assert found["stopped_early"], "the test needs a model that gets worse"
    until = jobs_for(make_job, "until", kind, **{**training, "epochs": best})
    run(until)
    assert record_of(until[0])["module_state"] == found["module_state"]
    assert bytes_of(until) == bytes_of(whole)

    with pytest.raises(Killed):
        run(broken, KillAt(4 * (best + 2) + 1))
    run(broken)
    assert ended(broken[0]) == ended(whole[0])


# --- modes


@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "group"])
def test_a_frozen_part_stays_frozen(make_job: Any, grouped: bool) -> None:
    """Its statistics are those that it was built with, and its dropout draws nothing."""
    jobs = jobs_for(make_job, "run", "frozen", 3)
    for group in [jobs] if grouped else [[job] for job in jobs]:
        run(group)
    for job in jobs:
        norm = load_model(Path(job.directory) / job.model, trust_code=True).body.first[0]
        assert norm.running_mean.tolist() == [0.0] * modules_code.FEATURES
        assert norm.num_batches_tracked.item() == 0


@pytest.mark.parametrize("grouped", [False, True], ids=["alone", "group"])
@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "muon"])
def test_weight_decay_leaves_frozen_parameters_alone(make_job: Any, optimizer: str, grouped: bool) -> None:
    jobs = jobs_for(make_job, "run", "half_frozen", 2, optimizer=optimizer, weight_decay=0.1, learning_rate=0.05)
    for group in [jobs] if grouped else [[job] for job in jobs]:
        run(group)
    for job in jobs:
        body = load_model(Path(job.directory) / job.model, trust_code=True).body
        assert body.first.weight.tolist() == torch.eye(modules_code.FEATURES).tolist()
        assert body.last.weight.abs().sum() > 0


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd", "muon"])
def test_a_part_that_is_frozen_while_it_moves_stands_still_at_once(make_job: Any, optimizer: str) -> None:
    """Momentum would carry it on."""
    found = []
    for epochs in (2, 4):  # it is frozen in step 7
        (job,) = jobs_for(make_job, f"to {epochs}", "freezes_later", optimizer=optimizer, momentum=0.9, epochs=epochs)
        run([job])
        found.append(load_model(Path(job.directory) / job.model, trust_code=True).body)
    assert found[0].norm.weight.tolist() == found[1].norm.weight.tolist() != [1.0] * modules_code.FEATURES
    assert found[0].first.weight.tolist() != found[1].first.weight.tolist()


def test_a_group_with_frozen_parts_is_each_of_its_models(make_job: Any) -> None:
    together, alone = (jobs_for(make_job, where, "frozen", 3) for where in ("together", "alone"))
    run(together)
    for job, other in zip(together, alone, strict=True):
        run([other])
        for epoch, expected in zip(record_of(job)["history"], record_of(other)["history"], strict=True):
            assert epoch["metrics"] == pytest.approx(expected["metrics"], rel=1e-4)


def test_a_frozen_part_stays_frozen_in_a_compiled_model(make_job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # What is frozen is decided before code is generated, which takes a C++ compiler 20 s.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    jobs = jobs_for(make_job, "compiled", "frozen", epochs=3, compile=True)
    plain = jobs_for(make_job, "plain", "frozen", epochs=3)
    _, events = run(jobs)
    run(plain)
    assert warnings_of(events) == []
    compiled = load_model(Path(jobs[0].directory) / jobs[0].model, trust_code=True)
    assert compiled.body.first[0].num_batches_tracked.item() == 0
    for epoch, expected in zip(record_of(jobs[0])["history"], record_of(plain[0])["history"], strict=True):
        assert epoch["loss"] == pytest.approx(expected["loss"], rel=1e-3)
    assert "module_state" not in record_of(jobs[0])


def test_evaluating_puts_every_part_back_by_its_own_train() -> None:
    body = torch.nn.Sequential(modules_code.Merging(_Inputs()), torch.nn.Dropout().eval(), torch.nn.Dropout())
    body.eval()
    body[0].train()
    weight = body[0].last.weight.detach().clone()
    before = [part.training for part in body.modules()]
    with evaluating(body):
        assert not any(part.training for part in body.modules())
        assert not torch.equal(body[0].last.weight, weight)
    assert [part.training for part in body.modules()] == before
    torch.testing.assert_close(body[0].last.weight, weight)
    with pytest.raises(ZeroDivisionError), evaluating(body):
        raise ZeroDivisionError
    assert [part.training for part in body.modules()] == before


class _Inputs:
    features, outputs = modules_code.FEATURES, modules_code.CLASSES


# --- what cannot be kept


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("keeps", "inner.stats is a _Stats; tensors, NumPy arrays, numbers, text"),
        ("one_way", "get_extra_state() has no set_extra_state()"),
        ("odd", "get_extra_state()['names'] is a set; tensors"),
        ("large", "seen holds tensors of 65 MiB; more than 64 MiB are kept in buffers only (register_buffer)"),
    ],
)
def test_what_cannot_be_kept_is_named_and_the_model_is_not_exact(make_job: Any, kind: str, words: str) -> None:
    (job,) = jobs_for(make_job, "run", kind, checkpoint_interval=1, epochs=3)
    _, events = run([job])
    (warning,) = warnings_of(events)  # once, however many checkpoints there are
    assert warning.startswith(f"{job.model}: {words}")
    assert [event.kind for event in events if isinstance(event, ResourceWarned)] == ["exactness"]
    assert record_of(job)["exact"] is False
    load_model(Path(job.directory) / job.model, trust_code=True)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("extra", "get_extra_state() is shared, not per model"),
        ("counter", "steps is shared, not per model"),
        ("nested", "log is shared"),
        ("tensors", "mean is shared"),
        ("noise", "torch_one is shared"),
        ("freezes_later", "steps is shared"),
        ("keeps", "inner.stats is shared"),
        ("replaced", "mean changes differently in a group; change buffers in place"),
        ("late", "mean changes differently in a group"),
        ("drawn", "power differs from model to model"),
        ("views", "part changes differently in a group"),
        ("captured", "the gradient of scale differs in a group"),
        ("merging", "last.weight changes with the training mode"),
    ],
)
def test_why_models_are_not_trained_together(make_job: Any, kind: str, words: str) -> None:
    (job,) = jobs_for(make_job, "run", kind)
    probe = Probe(job)
    found = probe.inspect().grouping_problem
    assert found is not None
    assert found.startswith(words)
    with pytest.raises(SettingsError, match=r"--fuse 3: such models cannot be trained together .*; use --fuse 1"):
        probe.inspect(together=3)


@pytest.mark.parametrize("kind", ["base", *IN_GROUPS])
def test_others_are(make_job: Any, kind: str) -> None:
    (job,) = jobs_for(make_job, "run", kind)
    assert Probe(job).inspect(together=3).grouping_problem is None


def test_a_group_whose_models_turn_out_to_differ_is_refused(make_job: Any) -> None:
    with pytest.raises(SettingsError, match="power differs from model to model"):
        run(jobs_for(make_job, "run", "drawn", 3))


def test_a_group_says_what_it_could_not_keep(make_job: Any) -> None:
    """Where no trial has seen it."""
    jobs = jobs_for(make_job, "run", "counter", 3)
    _, events = run(jobs)
    told = warnings_of(events)
    assert len(told) == 9  # three attributes of three models
    assert told[0].startswith(f"{jobs[0].model}: steps changes while models train together, which have one of it")
    assert not any(record_of(job)["exact"] for job in jobs)


# --- files


def test_a_changed_state_is_not_taken(make_job: Any) -> None:
    (job,) = jobs_for(make_job, "run", "counter")
    run([job])
    stem = Path(job.directory) / job.model
    record = record_of(job)
    record["module_state"]["state"]["dict"][0][1]["dict"][0][1]["dict"][0][1] = {"tuple": ["set", 7]}
    stem.with_name(f"{stem.name}.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(RunDirectoryError, match="the SHA-256 of module_state is not the recorded one"):
        load_model(stem, trust_code=True)
    del record["module_state"]
    stem.with_name(f"{stem.name}.json").write_text(json.dumps(record), encoding="utf-8")
    load_model(stem, trust_code=True)  # one of an early version, which had none


def test_a_model_and_a_checkpoint_of_an_early_version_are_taken(make_job: Any) -> None:
    """Those hold weights alone; what they lack begins as it is built."""
    (job,) = jobs_for(make_job, "run", "hidden")
    with pytest.raises(Killed):
        run([job], KillAt(9))
    (path,) = checkpoints.paths(Path(job.directory) / "checkpoints" / job.model)
    kept = checkpoints.load_checkpoint(path)
    tensors = {name: item for name, item in kept.tensors.items() if not name.startswith("module/")}
    record = {name: told for name, told in kept.record.items() if name != "module"}
    assert (len(tensors), len(record)) == (len(kept.tensors) - 1, len(kept.record) - 1)
    checkpoints.save_checkpoint(path.parent, kept.step, tensors, record)
    outcome, _ = run([job])
    assert outcome is Outcome.COMPLETED
    assert record_of(job)["epochs_completed"] == 6


@pytest.mark.parametrize("kind", ["nested", "tensors"])
def test_what_was_one_object_is_one_again(kind: str) -> None:
    settings = Settings(training=TrainingConfig(**{**TRAINING, "model_type": f"{CODE}:{kind}"}))
    own = load_own_code(settings)
    assert own.model is not None
    inputs = load_dataset(settings, Path(), own.dataset).inputs
    body, other = own.model(inputs), own.model(inputs)
    built = Built(body)
    for _ in range(3):
        body(torch.ones(4, modules_code.FEATURES))
    kept = built.state()
    module = unpacked(json.loads(json.dumps(kept.packed)), {name: item.clone() for name, item in kept.tensors.items()})
    prepare(other, module)
    restore_module(other, module)
    if kind == "nested":
        assert other.log is other.last.log
        assert (other.log, other.pair, other.table) == (body.log, body.pair, body.table)
        assert not hasattr(other, "once")
    else:
        assert other.part.data_ptr() == other.whole.data_ptr()
        assert other.same is other.whole
        assert other.part.tolist() == pytest.approx([0.03, 0.03])
        assert other.counts.dtype == body.counts.dtype
