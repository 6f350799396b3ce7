"""Makes the next item of an iterator while the last one is used."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

_Item = TypeVar("_Item")


def made_ahead(items: Generator[_Item, None, None]) -> Iterator[_Item]:
    """The items in their order; the next one is made in a thread, which has ended when this iterator is closed.

    What `items` raises is raised where the item would have come.
    """
    nothing = object()
    with closing(items), ThreadPoolExecutor(1, "made ahead") as thread:
        coming = thread.submit(next, items, nothing)
        while (item := coming.result()) is not nothing:
            coming = thread.submit(next, items, nothing)
            yield item  # type: ignore[misc]
