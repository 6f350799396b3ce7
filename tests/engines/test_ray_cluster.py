"""What is said of a cluster that does not answer. No Ray is needed."""

from __future__ import annotations

import socket

import pytest

from forge_tui.engines.ray.cluster import Cluster
from forge_tui.errors import UsageError


def test_where_nothing_listens_the_start_is_refused_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UsageError, match=f"nothing answers at {address} \\(Connection refused\\)"):
            Cluster().connect(address, trust=True, cpus=1, scratch=None)


@pytest.mark.parametrize("address", ["127.0.0.1:99999", "no.such.host.invalid:6379"])
def test_an_address_that_cannot_be_is_refused_in_words(address: str) -> None:
    with pytest.raises(UsageError, match="nothing answers at"):
        Cluster().connect(address, trust=True, cpus=1, scratch=None)
