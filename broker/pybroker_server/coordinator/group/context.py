"""What the parts of a group shard share: settings, metadata, deadlines, and the groups by name.

Rules of this file: plain values. `config` and `image` are replaced when they change, so nobody keeps a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from pybroker_server.config.views import BrokerConfig
from pybroker_server.coordinator.group.group import Group
from pybroker_server.coordinator.records import CoordinatorRecord
from pybroker_server.coordinator.timeouts import Timeouts
from pybroker_server.metadata.image import MetadataImage


class Client(NamedTuple):
    """Who asks, as group descriptions show it."""

    client_id: str
    host: str
    """`/192.0.2.1`: with the slash that Java prints before an address."""


class ConsumerGroupConfig(NamedTuple):
    """What holds for the members of one consumer group."""

    session_timeout_ms: int
    heartbeat_interval_ms: int
    assignment_interval_ms: int


@dataclass(slots=True)
class GroupContext:
    config: BrokerConfig
    image: MetadataImage
    new_uuid: Callable[[], UUID]
    """Randomness, for member ids."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    groups: dict[str, Group] = field(default_factory=dict)

    def consumer_config(self, group_id: str) -> ConsumerGroupConfig:
        """What holds for the members of a consumer group: its own settings, else the broker's."""
        config = self.config
        usual = ConsumerGroupConfig(
            config.group_consumer_session_timeout_ms,
            config.group_consumer_heartbeat_interval_ms,
            config.group_consumer_assignment_interval_ms,
        )
        own = self.image.group_configs.get(group_id)
        if not own:
            return usual
        return ConsumerGroupConfig(
            int(own.get("consumer.session.timeout.ms", usual.session_timeout_ms)),
            int(own.get("consumer.heartbeat.interval.ms", usual.heartbeat_interval_ms)),
            int(own.get("consumer.assignment.interval.ms", usual.assignment_interval_ms)),
        )


Replay = Callable[[CoordinatorRecord, int, int], None]
"""(record, producer id, producer epoch): brings a record into the state; the ids are -1 outside transactions."""
