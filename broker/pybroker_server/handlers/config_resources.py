"""The resources that carry configuration, as requests name them. No API of its own."""

from __future__ import annotations

import re
from enum import IntEnum

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.controller.configs import BrokerResource, GroupResource, Resource, TopicResource
from pybroker_server.controller.topics import check_name
from pybroker_server.metadata.image import CLUSTER_DEFAULT

_INTEGER = re.compile(r"[+-]?[0-9]{1,10}")


KAFKAS_RESOURCE_TYPES = frozenset({2, 4, 8, 16, 32})
"""Topics, brokers, broker loggers, client metrics, groups."""


class ResourceType(IntEnum):
    """Those of Kafka's types that carry configuration here."""

    TOPIC = 2
    BROKER = 4
    GROUP = 32


def parse_resource(resource_type: int, name: str, own_node_id: int) -> Resource:
    """Raises KafkaError for a resource that this broker has no configuration of."""
    if resource_type == ResourceType.TOPIC:
        if not name:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Default topic resources are not allowed.")
        check_name(name)
        return TopicResource(name)
    if resource_type == ResourceType.BROKER:
        return BrokerResource(parse_broker(name, own_node_id))
    if resource_type == ResourceType.GROUP:
        if not name:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Default group resources are not allowed.")
        return GroupResource(name)
    raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown resource type {resource_type}")


def parse_broker(name: str, own_node_id: int) -> int:
    """CLUSTER_DEFAULT for the empty name. A broker answers for itself only: its file and flags are its
    own."""
    if not name:
        return CLUSTER_DEFAULT
    if not _INTEGER.fullmatch(name):
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Node id must be an integer, but it is: {name}")
    if int(name) != own_node_id:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST, f"Unexpected broker id, expected {own_node_id}, but received {name}"
        )
    return own_node_id
