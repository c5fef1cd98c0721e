"""What cannot run before the broker has its composition root is not collected; nothing else is ever left out."""

from __future__ import annotations

import importlib.util

import pytest

_HAS_SERVER = importlib.util.find_spec("pybroker_server.server") is not None
_FOLDERS_THAT_START_A_BROKER = ["integration", "crash", "interop", "adversity", "oracle"]
collect_ignore = [] if _HAS_SERVER else _FOLDERS_THAT_START_A_BROKER
HOLDS_WITH_THE_SERVER = (
    "test_every_attribute_of_the_configuration_is_read_by_some_part",
    "test_every_event_that_is_logged_is_listed_and_every_listed_one_is_logged",
    "test_every_module_is_used",
)
"""Contracts over the whole broker: a part that only `server.py` uses looks unused until it is there."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if not _HAS_SERVER and item.name in HOLDS_WITH_THE_SERVER]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
