"""Where a finished model errs, in words."""

from __future__ import annotations

from forge_tui.protocol.model_details import Confusion, Mistake, WorstRow
from forge_tui.text.detail_lines import confusion_lines, worst_lines


def test_a_small_matrix_is_shown_whole() -> None:
    confusion = Confusion(classes=("cat", "dog"), matrix=((12, 3), (0, 1000)))
    assert confusion_lines(confusion) == [
        "true \\ predicted  cat    dog",
        "cat                12      3",
        "dog                 0  1,000",
    ]


def test_of_many_classes_the_confused_pairs_are_named() -> None:
    size = 13
    matrix = [[5 if true == found else 0 for found in range(size)] for true in range(size)]
    assert confusion_lines(Confusion(classes=tuple(range(size)), matrix=tuple(map(tuple, matrix)))) == [
        "no class is taken for another"
    ]
    matrix[3][7], matrix[1][2] = 4, 9
    assert confusion_lines(Confusion(classes=tuple(range(size)), matrix=tuple(map(tuple, matrix)))) == [
        "9 of 1 taken for 2",
        "4 of 3 taken for 7",
    ]
    assert confusion_lines(Confusion(mistakes=(Mistake(true="a", predicted="b", count=2),))) == ["2 of a taken for b"]


def test_worst_rows_have_their_number_and_values_that_cannot_steer_a_terminal() -> None:
    worst = (
        WorstRow(row=1234, loss=2.5, true=3.25, predicted=17.0),
        WorstRow(row=None, loss=None, true="\x1b[31mred", predicted="y" * 60),
    )
    lines = worst_lines(worst)
    assert lines[0] == "row 1,234: is 3.25, predicted 17 (loss 2.500)"
    assert "\x1b" not in lines[1]
    assert lines[1].endswith(f"predicted {'y' * 39}… (loss —)")
