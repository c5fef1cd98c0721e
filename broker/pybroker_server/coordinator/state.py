"""What the host needs of the state that it keeps for one partition of an internal topic.

Rules of this file: the interface only. Implementations are pure; they are called on the event loop, one call at a time.
"""

from __future__ import annotations

from typing import Protocol

from pybroker_server.config.views import BrokerConfig
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.records import CoordinatorRecord
from pybroker_server.coordinator.timeouts import Timeouts
from pybroker_server.metadata.image import MetadataImage


class CoordinatorState(Protocol):
    """Built empty, then filled by `replay` from the log, then `on_loaded`; thrown away after `on_unloaded`."""

    timeouts: Timeouts

    def replay(self, record: CoordinatorRecord, producer_id: int, producer_epoch: int) -> None:
        """The only way in which durable state changes, live and on load. `producer_id` is -1 outside transactions."""

    def replay_marker(self, producer_id: int, producer_epoch: int, *, is_commit: bool) -> None:
        """The producer's transaction ended: what it wrote here counts now, or never did."""

    def on_loaded(self, effects: Effects) -> None:
        """Everything is replayed: sessions and other deadlines begin."""

    def on_unloaded(self) -> None:
        """The partition is led elsewhere: replies that wait fail with NOT_COORDINATOR; nothing else follows."""

    def on_image(self, effects: Effects, image: MetadataImage) -> None:
        """The cluster's metadata as it is now; also before `on_loaded`."""

    def on_config(self, config: BrokerConfig) -> None:
        """The broker's settings changed."""
