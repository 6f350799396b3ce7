"""How the rows of a dataset are split into training and validation, without doing it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from forge_tui.settings.schema import DataSettings
from forge_tui.tables.table import Table, clean_name

IN_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "group": "whole groups",
        "stratified": "stratified by class",
        "ordered": "last rows",
        "random": "random permutation",
    }
)
"""The methods of `data.split` but for `auto`."""
GIVEN_APART = "given by the dataset"
"""The method of a split whose validation rows are a table of their own."""


def method_of(split: str, *, has_groups: bool, is_classes: bool) -> str:
    """What `data.split` is; `auto` depends on the data."""
    if split != "auto":
        return split
    return "group" if has_groups else "stratified" if is_classes else "random"


def split_in_words(table: Table, data: DataSettings, is_classes: bool) -> str:
    """The split of a table's rows in words, as a run records it."""
    if data.validation is not None:
        is_column = clean_name(data.validation) in table.names
        return f"column {data.validation}" if is_column else GIVEN_APART
    return IN_WORDS[method_of(data.split, has_groups=data.group is not None, is_classes=is_classes)]
