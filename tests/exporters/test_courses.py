"""Which epochs an output lacks after resumes, retries and rollbacks."""

from __future__ import annotations

import math
import random

import pytest

from forge_tui.exporters.courses import Change, Course, Mark, Marks, history_of
from forge_tui.protocol.events import EpochFinished


def epoch(number: int, loss: float = 1.0, *, time: float = 0.0, speed: float = 10.0) -> EpochFinished:
    """An epoch with that loss."""
    return EpochFinished(
        time=time, model="m", index=1, attempt=1, epoch=number, epochs=10, step=number, best_loss=loss,
        metrics={"loss": loss, "steps_per_second": speed},
    )  # fmt: skip


def rows(*epochs: EpochFinished, since: int = 0) -> list[tuple[int, EpochFinished]]:
    """Epochs with their event numbers."""
    return list(enumerate(epochs, since + 1))


def numbers(change: Change) -> tuple[int | None, list[int]]:
    """Where a change begins to replace, and the epochs that it adds."""
    return change.replaced_from, [one.epoch for one in change.new]


def course_with(count: int, *, alone: bool = False) -> Course:
    """A course of so many epochs, with losses of their own."""
    course = Course(alone)
    course.take(rows(*(epoch(number, 1 / number) for number in range(1, count + 1))), ended=False)
    return course


def test_epochs_are_added_once() -> None:
    course, told = Course(alone=False), rows(epoch(1), epoch(2))
    assert numbers(course.take(told, ended=False)) == (None, [1, 2])
    assert numbers(course.take(told, ended=False)) == (None, [])
    assert numbers(course.take([*told, (3, epoch(3))], ended=True)) == (None, [3])
    assert (course.since, course.last) == (3, Mark(3, 0.0))


def test_an_exact_repetition_stays_as_it_was_first_written() -> None:
    course = course_with(5)
    again = [epoch(number, 1 / number, time=9.0, speed=3.0) for number in (4, 5)]
    assert numbers(course.take(rows(*again, since=5), ended=False)) == (None, [])
    assert numbers(course.take([(8, epoch(6))], ended=False)) == (None, [6])
    assert course.last == Mark(6, 0.0)


def test_other_figures_replace_all_that_follow() -> None:
    course = course_with(5)
    assert numbers(course.take([(6, epoch(3, 0.7))], ended=False)) == (3, [])
    assert numbers(course.take([(7, epoch(4, 0.6))], ended=False)) == (None, [4])


def test_what_an_ended_attempt_has_not_come_to_is_forgotten() -> None:
    course = course_with(5)
    assert numbers(course.take([(6, epoch(4, 0.25))], ended=False)) == (None, [])  # 5 may follow
    assert numbers(course.take([], ended=True)) == (5, [])
    assert numbers(course.take([], ended=True)) == (None, [])


def test_what_was_never_written_is_not_replaced() -> None:
    course = course_with(2)
    told = rows(epoch(3, 0.1), epoch(4, 0.1), epoch(3, 0.2), epoch(4, 0.3), since=2)
    change = course.take(told, ended=False)
    assert change.replaced_from is None
    assert [(one.epoch, one.loss) for one in change.new] == [(3, 0.2), (4, 0.3)]
    gone = course_with(2)
    told = rows(epoch(3, 0.1), epoch(4, 0.1), epoch(3, 0.1), since=2)
    assert numbers(gone.take(told, ended=True)) == (None, [3])


def test_a_training_function_replaces_one_epoch_and_keeps_the_later_ones() -> None:
    course = course_with(5, alone=True)
    assert numbers(course.take([(6, epoch(2, 0.1))], ended=False)) == (2, [])
    assert numbers(course.take([(7, epoch(9))], ended=True)) == (None, [9])
    assert numbers(course.take([(8, epoch(7))], ended=True)) == (7, [])  # left out until now


def test_nan_is_the_same_as_another_nan() -> None:
    course = Course(alone=False)
    course.take(rows(epoch(1, float("nan"))), ended=False)
    assert numbers(course.take([(2, epoch(1, math.nan))], ended=False)) == (None, [])


@pytest.mark.parametrize("alone", [False, True])
def test_however_it_is_cut_into_passes_the_output_has_the_history(alone: bool) -> None:
    """Random retries and rollbacks, read in random pieces, against the history at the end."""
    for seed in range(300):
        chosen = random.Random(seed)
        told, number = [], 0
        for seq in range(1, 30):
            number = chosen.randint(1, number) if number and chosen.random() < 0.2 else number + 1
            told.append((seq, epoch(number, chosen.choice([0.5, 0.25]), time=float(seq))))
        output: list[EpochFinished] = []
        course, place = Course(alone), 0
        while place < len(told):
            size = chosen.randint(1, 6)
            piece, place = told[place : place + size], place + size
            change = course.take(piece, ended=place >= len(told) or chosen.random() < 0.1)
            if change.replaced_from is not None:
                assert any(one.epoch >= change.replaced_from for one in output), f"seed {seed}"
                history = history_of(told[:place], alone)
                output = [one for one in output if one.epoch < change.replaced_from]
                output += [one for one in history if one.epoch >= change.replaced_from]
            assert not change.new or not output or change.new[0].epoch > output[-1].epoch, f"seed {seed}"
            output += change.new
        expected = [(one.epoch, one.loss) for one in history_of(told, alone)]
        assert [(one.epoch, one.loss) for one in output] == expected, f"seed {seed}"


def test_marks_are_found_and_discarded() -> None:
    marks = Marks()
    for number in (1, 2, 3, 2):
        marks.put(Mark(number, number / 10))
    marks.discard_from(3)
    assert list(marks) == [Mark(1, 0.1), Mark(2, 0.2), Mark(2, 0.2)]
    assert Mark(2, 0.2) in marks
    assert Mark(2, 0.3) not in marks
    assert (2, 0.2, "other") not in marks
    assert len(marks) == 3
