"""Exchanges with the first of three brokers, whose node ids are 1, 2 and 3: what one broker alone cannot show.

A part is a module here and a file of recorded answers, as in the catalogue of one broker. Node ids stand in answers as
they are. What differs from run to run, and says nothing, is given a name: who is in office, and how far metadata is.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any, Final

from tests.oracle.exchange import Exchange
from tests.oracle.runner import Player, Result

_NO_NODE: Final = -1000
"""Nobody's id: node ids are shown as they are."""
_FIRST_LEADER_EPOCHS: Final = {"leader_id", "leader_epoch", "high_watermark", "log_end_offset"}
_MOMENTS: Final = {"last_fetch_timestamp", "last_caught_up_timestamp"}


def _load() -> dict[str, tuple[Exchange, ...]]:
    return {
        f"cluster_{name}": importlib.import_module(f"{__name__}.{name}").EXCHANGES
        for name in sorted(found.name for found in pkgutil.iter_modules(__path__))
    }


class ClusterPlayer(Player):
    """Plays to the broker with node id 1 of three."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap, _NO_NODE)

    def play(self, exchange: Exchange) -> list[Result]:
        return [_steady(result) for result in super().play(exchange)]


def _steady(result: Result) -> Result:
    is_quorum = result["request"].startswith("DescribeQuorum")
    shown: Result = _value(result, is_quorum)
    return shown


def _value(value: Any, is_quorum: bool) -> Any:
    if isinstance(value, Mapping):
        return {key: _field(key, element, is_quorum) for key, element in value.items()}
    if isinstance(value, list):
        return [_value(element, is_quorum) for element in value]
    return value


def _field(key: str, value: Any, is_quorum: bool) -> Any:
    if key == "isr_nodes":
        return sorted(value, key=str)
    if key == "controller_id":
        return "<controller>" if value != -1 else value
    if is_quorum and key in _FIRST_LEADER_EPOCHS:
        return f"<{key}>" if value > 0 else value
    if is_quorum and key in _MOMENTS:
        return "<now>" if value != -1 else value
    if is_quorum and key == "name":
        return "<listener>"
    return _value(value, is_quorum)


PARTS: Final = _load()
