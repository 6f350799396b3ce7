"""Where models are trained, in the form: words by steps, GPUs by typing, and what is shown for what is trained."""

from __future__ import annotations

import pytest

from forge_tui.resources import installed_torch
from forge_tui.resources.gpus import Gpu
from forge_tui.resources.hardware import SystemResources
from forge_tui.settings.schema import Settings, fields_of, keys_by_name
from forge_tui.settings.setting_layers import Layer, Source
from forge_tui.tui.form.form_values import Form, form_of
from forge_tui.tui.form.kinds import Kind, hides
from forge_tui.tui.form.lines import _shown, items
from forge_tui.tui.form.settings_rows import Detail, Item, Tone
from forge_tui.tui.widgets.glyphs import ASCII

DEVICE = "resources.device"


@pytest.fixture
def form() -> Form:
    return form_of(Settings(), {key.key: Source(Layer.DEFAULT) for key in fields_of()})


def test_words_follow_one_another(form: Form) -> None:
    values = [form.values[DEVICE]]
    for _ in range(4):
        form = form.step(DEVICE, 1)
        values.append(form.values[DEVICE])
    assert values == ["auto", "cpu", "cuda", "mps", "auto"]


def test_gpus_are_typed_and_shown_without_quotation_marks(form: Form) -> None:
    form = form.edit(DEVICE, "0, GPU-5f2a")
    assert form.settings().resources.device == ("0", "GPU-5f2a")
    assert form.typed(DEVICE) == "0, GPU-5f2a"
    assert form.edit(DEVICE, form.typed(DEVICE)).settings() == form.settings()
    assert _shown(keys_by_name()[DEVICE], form.values[DEVICE]) == "0, GPU-5f2a"
    assert form.step(DEVICE, 1).values[DEVICE] == "auto"


def test_a_wrong_device_is_told_beside_its_field(form: Form) -> None:
    form = form.edit(DEVICE, "gpu")
    assert form.errors()[DEVICE].startswith("must be auto, cpu, cuda, mps or a list of GPUs")
    assert form.edit(DEVICE, "cpu").errors() == {}


@pytest.mark.parametrize("kind", list(Kind))
def test_gpus_and_cpus_per_model_are_for_functions_and_commands(kind: Kind) -> None:
    shown = kind in (Kind.FUNCTION, Kind.COMMAND)
    assert [hides(kind, f"resources.{name}") for name in ("devices_per_model", "cpus_per_model")] == [not shown] * 2


def test_what_does_not_fit_what_is_trained_is_told_beside_its_field(form: Form) -> None:
    form = form.edit(DEVICE, "mps")
    assert "float64" in form.errors()[DEVICE]
    form = form.edit("training.train", "gan.py:train").edit("resources.devices_per_model", "2")
    assert form.kind is Kind.FUNCTION
    assert form.errors() == {
        "resources.devices_per_model": "with device = mps a model has no GPUs to share; leave one of the two out"
    }
    assert form.edit(DEVICE, "0").errors() == {
        "resources.devices_per_model": "a model is to have 2 GPUs, and device lists only 1"
    }
    assert form.edit(DEVICE, "0,1").errors() == {}
    assert form.train(Kind.BUILT_IN).edit(DEVICE, "0,1").errors() == {}  # hidden, so it plays no part


def test_where_models_would_be_trained_is_told_beside_the_device(form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(installed_torch, "torch_without_cuda", lambda: None)
    gpus = tuple(Gpu(number, "Test", 80 << 30, 0, uuid=f"GPU-{number}") for number in range(2))
    machine = SystemResources(16, 64.0, 60.0, 2.0, 2, 8.0, gpus=gpus)

    def told(form: Form) -> tuple[Detail, ...]:
        (row,) = [row for row in items(form, {}, machine, ASCII) if isinstance(row, Item) and row.name == DEVICE]
        return row.details

    assert told(form) == (Detail("2 GPUs: 2 × Test", Tone.QUIET),)
    assert told(form.edit(DEVICE, "cpu")) == ()
    (refused,) = told(form.edit(DEVICE, "5"))
    assert (refused.tone, refused.text[:29]) == (Tone.WARNING, "--device 5: there is no GPU 5")
