"""Consumer groups (KIP-848) of one shard."""

from __future__ import annotations

from collections.abc import Mapping

from pybroker_protocol.schema.classes import Message
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.group.context import GroupContext, Replay


class ConsumerGroups:
    def __init__(self, context: GroupContext) -> None:
        self._context = context
        self.replays: Mapping[type[Message], Replay] = {}

    def on_loaded(self, effects: Effects) -> None:
        """Sessions begin anew for every member of a loaded group."""

    def on_unloaded(self) -> None:
        """Members who wait are answered NOT_COORDINATOR."""
