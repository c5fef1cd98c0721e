"""What docker/ says, linted, and run in namespaces where this machine lets us."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.containers import Network, network, why_not


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Network]:
    """A host for containers."""
    reason = why_not()
    if reason is not None:
        pytest.skip(f"containers cannot be run here: {reason}")
    with network(tmp_path) as made:
        yield made
