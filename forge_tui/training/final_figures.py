"""What is measured once of a finished model, with the weights of its file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import torch

from forge_tui.protocol.metrics import TEST, VALIDATION, Metrics
from forge_tui.protocol.model_details import ModelDetails
from forge_tui.training import random_state
from forge_tui.training.data.dataset import Dataset
from forge_tui.training.final_details import Part, details_of
from forge_tui.training.losses import validate
from forge_tui.training.member import Member
from forge_tui.training.metrics.baseline import baseline
from forge_tui.training.metrics.known_targets import KnownTargets
from forge_tui.training.models.network import Network, set_weights
from forge_tui.training.module_state import prepare, restore_module, unpacked
from forge_tui.training.own_code import NONE, OwnCode, error_in_words
from forge_tui.training.placed_data import PlacedData, metric_in_units
from forge_tui.training.state import TrainingState, new_network


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalFigures:
    """`test`: the metrics on the test split; `baseline`: those of what the training targets alone predict."""

    test: Metrics = field(default_factory=dict)
    baseline: Metrics = field(default_factory=dict)
    details: ModelDetails = field(default_factory=ModelDetails)


class FinalMeasurement:
    """Measures the finished models of a trainer, each once."""

    def __init__(self, dataset: Dataset, data: PlacedData, device: torch.device, own: OwnCode = NONE) -> None:
        self.dataset = dataset
        self._data, self._device, self._own = data, device, own
        self._baseline: Metrics | None = None
        self._measured: dict[tuple[int, int], FinalFigures] = {}

    def of(self, member: Member, state: TrainingState, number: int) -> FinalFigures:
        """The figures of model `number` of `state`. Changes neither the state nor that of random generators."""
        key = member.job.index, state.step
        if key not in self._measured:  # otherwise its files could not be written before
            try:
                with random_state.kept(), state.autocast, self._network(member, state, number) as network:
                    self._measured[key] = self._figures(network)
            except Exception as error:
                if not self._own.takes_part:
                    raise
                # Custom code must not lose a model that is trained.
                self._measured[key] = FinalFigures()
                words = f"{member.job.model} is trained, but could not be measured at its end: {error_in_words(error)}"
                member.report.warn("metrics", words)
        return self._measured[key]

    @contextmanager
    def _network(self, member: Member, state: TrainingState, number: int) -> Iterator[Network]:
        """A network with the weights of the model's file."""
        if self._own.model is None:
            with state.final_network(number) as network:
                yield network
            return
        # A custom module may change when it is called: what is measured is another one.
        network = new_network(member.training, self.dataset, member.job.seed, self._own).to(self._device)
        final = state.final_module(number)
        module = unpacked(final.packed, final.tensors, self._device)
        prepare(network.body, module)
        set_weights(network, state.final_weights(number))
        restore_module(network.body, module)
        yield network

    def _figures(self, network: Network) -> FinalFigures:
        validation, test = self._validation_part(), self._test_part(network)
        known = None if test is None else KnownTargets(self._data.task, test.targets, network.target_scale)
        if self._baseline is None:
            of_validation, trained = self._data.known, self._data.train_targets
            self._baseline = {} if of_validation is None else baseline(trained, of_validation, VALIDATION)
            self._baseline |= {} if known is None else baseline(trained, known, TEST)
        measured: Metrics = {}
        if test is not None:
            own = replace(self._own, metric=metric_in_units(self._own.metric, network, test.raw))
            found = validate(network.body, self._data.task, test.inputs, test.targets, own=own, known=known)
            measured = {f"{TEST}{name.removeprefix(VALIDATION)}": value for name, value in found.items()}
        return FinalFigures(test=measured, baseline=self._baseline, details=self._details(network, validation, test))

    def _details(self, network: Network, validation: Part | None, test: Part | None) -> ModelDetails:
        part = test if validation is None else validation
        if part is None:
            return ModelDetails()
        confusion, worst = details_of(network, self._data.task, part, self.dataset.classes)
        return ModelDetails(split="test" if validation is None else "validation", confusion=confusion, worst=worst)

    def _validation_part(self) -> Part | None:
        raw = self.dataset.validation_targets
        if self._data.validation is None or raw is None:
            return None
        inputs, targets = self._data.validation
        return Part(inputs=inputs, targets=targets, raw=raw, rows=self.dataset.validation_rows)

    def _test_part(self, network: Network) -> Part | None:
        inputs, raw = self.dataset.test_inputs, self.dataset.test_targets
        if inputs is None or raw is None:
            return None
        placed, targets = self._data.placed(inputs, raw, network)
        return Part(inputs=placed, targets=targets, raw=raw, rows=self.dataset.test_rows)
