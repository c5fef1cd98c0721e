"""What the parts of a group shard share."""

from __future__ import annotations

from uuid import UUID

from pybroker_server.config.views import broker_config
from pybroker_server.coordinator.group.context import GroupContext
from pybroker_server.metadata.image import MetadataImage


def test_a_consumer_group_has_what_it_set_and_the_rest_from_the_broker() -> None:
    own = {"consumer.heartbeat.interval.ms": "9000", "share.isolation.level": "read_committed"}
    image = MetadataImage(group_configs={"own": own})
    context = GroupContext(broker_config(), image, lambda: UUID(int=1))
    assert context.consumer_config("usual") == (45_000, 5_000, 1_000)
    assert context.consumer_config("own") == (45_000, 9_000, 1_000)
