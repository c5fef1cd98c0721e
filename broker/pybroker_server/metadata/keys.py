"""The key layout of the metadata store and the msgpack values behind it (design D4).

Rules of this file: the only place that knows how metadata is spelled in bytes; pure. Values are maps, so that
a field can be added: readers ignore names they do not know and take a default for those that are missing.

    cluster                          the cluster id
    producer-ids                     the first producer id that no broker has been given yet
    broker/<node id>                 a registration, under a lease; the commit that wrote it gives the broker epoch
    node/<node id>                   what the broker registered last: it outlives the registration, which makes the
                                     broker a fenced one, until somebody unregisters it
    controller                       which registration is the controller's, under that broker's lease
    topic/<name, '.' read as '_'>    a topic: one key for names that collide, so that one of them can exist
    partition/<topic id>/<index>     one key each, so that an ISR change is one small compare-and-swap
    config/topic/<topic id>          overrides; the key is missing when there are none
    config/broker/<node id|default>  dynamic overrides of one broker or of all
    config/group/<group id in hex>   overrides of one group

Numbers are padded to ten digits, so byte order is numeric order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgpack  # type: ignore[import-untyped]

from pybroker_server.metadata.image import (
    CLUSTER_DEFAULT,
    NO_INCARNATION,
    BrokerImage,
    ControllerImage,
    Endpoint,
    PartitionImage,
)
from pybroker_server.metadata.store import StoreDamagedError

CLUSTER_KEY = b"cluster"
PRODUCER_IDS_KEY = b"producer-ids"
CONTROLLER_KEY = b"controller"
NO_TOPIC_ID = UUID(int=0)


class Kind(Enum):
    CLUSTER = auto()
    BROKER = auto()
    NODE = auto()
    CONTROLLER = auto()
    TOPIC = auto()
    PARTITION = auto()
    TOPIC_CONFIG = auto()
    BROKER_CONFIG = auto()
    GROUP_CONFIG = auto()


@dataclass(frozen=True, slots=True)
class ParsedKey:
    """The other fields are set for the kinds that have them."""

    kind: Kind
    node_id: int = CLUSTER_DEFAULT
    topic_id: UUID = NO_TOPIC_ID
    index: int = -1
    collision_name: str = ""
    group_id: str = ""


@dataclass(frozen=True, slots=True)
class TopicValue:
    """`partition_count` tells which partition keys are in force: those below it."""

    topic_id: UUID
    name: str
    partition_count: int


def collision_name(topic: str) -> str:
    """Names that are equal here may not exist together: Kafka's metric names read `.` as `_`."""
    return topic.replace(".", "_")


def broker_key(node_id: int) -> bytes:
    return b"broker/%010d" % node_id


def node_key(node_id: int) -> bytes:
    return b"node/%010d" % node_id


def topic_key(name: str) -> bytes:
    return b"topic/" + collision_name(name).encode()


def partition_key(topic_id: UUID, index: int) -> bytes:
    return b"partition/%s/%010d" % (topic_id.hex.encode(), index)


def topic_config_key(topic_id: UUID) -> bytes:
    return b"config/topic/" + topic_id.hex.encode()


def broker_config_key(node_id: int) -> bytes:
    if node_id == CLUSTER_DEFAULT:
        return b"config/broker/default"
    return b"config/broker/%010d" % node_id


def group_config_key(group_id: str) -> bytes:
    return b"config/group/" + group_id.encode().hex().encode()


def parse_key(key: bytes) -> ParsedKey | None:
    """None for a key that no image shows (another part's, or a newer release's)."""
    match key.decode("utf-8", "replace").split("/"):
        case ["cluster"]:
            return ParsedKey(Kind.CLUSTER)
        case ["broker", node_id]:
            return ParsedKey(Kind.BROKER, node_id=int(node_id))
        case ["node", node_id]:
            return ParsedKey(Kind.NODE, node_id=int(node_id))
        case ["controller"]:
            return ParsedKey(Kind.CONTROLLER)
        case ["topic", name]:
            return ParsedKey(Kind.TOPIC, collision_name=name)
        case ["partition", topic_id, index]:
            return ParsedKey(Kind.PARTITION, topic_id=_topic_id(topic_id), index=int(index))
        case ["config", "topic", topic_id]:
            return ParsedKey(Kind.TOPIC_CONFIG, topic_id=_topic_id(topic_id))
        case ["config", "broker", "default"]:
            return ParsedKey(Kind.BROKER_CONFIG)
        case ["config", "broker", node_id]:
            return ParsedKey(Kind.BROKER_CONFIG, node_id=int(node_id))
        case ["config", "group", group_id]:
            return ParsedKey(Kind.GROUP_CONFIG, group_id=bytes.fromhex(group_id).decode())
    return None


def encode_cluster(cluster_id: str) -> bytes:
    return _pack({"id": cluster_id})


def decode_cluster(value: bytes) -> str:
    cluster_id: str = _unpack(value, "id")["id"]
    return cluster_id


def encode_producer_ids(first_free: int) -> bytes:
    return _pack({"next": first_free})


def decode_producer_ids(value: bytes) -> int:
    first_free: int = _unpack(value, "next")["next"]
    return first_free


def encode_controller(node_id: int, broker_epoch: int) -> bytes:
    return _pack({"node": node_id, "epoch": broker_epoch})


def decode_controller(value: bytes, mod_revision: int) -> ControllerImage:
    fields = _unpack(value, "node", "epoch")
    return ControllerImage(fields["node"], fields["epoch"], mod_revision)


def encode_topic(topic: TopicValue) -> bytes:
    return _pack({"id": topic.topic_id.bytes, "name": topic.name, "partitions": topic.partition_count})


def decode_topic(value: bytes) -> TopicValue:
    fields = _unpack(value, "id", "name", "partitions")
    return TopicValue(UUID(bytes=fields["id"]), fields["name"], fields["partitions"])


def encode_config(overrides: Mapping[str, str]) -> bytes:
    return _pack(dict(sorted(overrides.items())))


def decode_config(value: bytes) -> dict[str, str]:
    return _unpack(value)


def encode_broker(broker: BrokerImage, *, keep_epoch: bool = False) -> bytes:
    """A registration takes the revision of its commit as broker epoch; a later change (`keep_epoch`) keeps
    it."""
    return _pack(
        {
            "epoch": broker.epoch if keep_epoch else 0,
            "endpoints": [[e.listener, e.host, e.port, e.security_protocol] for e in broker.endpoints],
            "rack": broker.rack,
            "fenced": broker.fenced,
            "shutting_down": broker.shutting_down,
            "directories": [directory.bytes for directory in broker.directory_ids],
            "host": broker.host_id,
            "incarnation": broker.incarnation_id.bytes,
        }
    )


def decode_broker(node_id: int, value: bytes, mod_revision: int) -> BrokerImage:
    fields = _unpack(value, "endpoints")
    return BrokerImage(
        node_id=node_id,
        epoch=fields.get("epoch") or mod_revision,
        endpoints=tuple(Endpoint(*endpoint) for endpoint in fields["endpoints"]),
        rack=fields.get("rack"),
        fenced=fields.get("fenced", False),
        shutting_down=fields.get("shutting_down", False),
        directory_ids=tuple(UUID(bytes=directory) for directory in fields.get("directories", ())),
        host_id=fields.get("host", ""),
        incarnation_id=UUID(bytes=fields["incarnation"]) if "incarnation" in fields else NO_INCARNATION,
        mod_revision=mod_revision,
    )


def decode_node(node_id: int, value: bytes, mod_revision: int) -> BrokerImage:
    """A broker without a registration: fenced, under the epoch that it had."""
    return replace(decode_broker(node_id, value, mod_revision), fenced=True, shutting_down=False, mod_revision=0)


def encode_partition(partition: PartitionImage) -> bytes:
    fields: dict[str, Any] = {
        "replicas": partition.replicas,
        "isr": partition.isr,
        "leader": partition.leader,
        "leader_epoch": partition.leader_epoch,
        "partition_epoch": partition.partition_epoch,
    }
    rare = {
        "elr": partition.eligible_leader_replicas,
        "last_elr": partition.last_known_eligible_leader_replicas,
        "adding": partition.adding_replicas,
        "removing": partition.removing_replicas,
        "recovering": partition.recovering,
    }
    return _pack(fields | {name: value for name, value in rare.items() if value})


def decode_partition(index: int, value: bytes, mod_revision: int) -> PartitionImage:
    fields = _unpack(value, "replicas", "isr", "leader", "leader_epoch", "partition_epoch")
    return PartitionImage(
        index=index,
        replicas=tuple(fields["replicas"]),
        isr=tuple(fields["isr"]),
        leader=fields["leader"],
        leader_epoch=fields["leader_epoch"],
        partition_epoch=fields["partition_epoch"],
        mod_revision=mod_revision,
        eligible_leader_replicas=tuple(fields.get("elr", ())),
        last_known_eligible_leader_replicas=tuple(fields.get("last_elr", ())),
        adding_replicas=tuple(fields.get("adding", ())),
        removing_replicas=tuple(fields.get("removing", ())),
        recovering=fields.get("recovering", False),
    )


@lru_cache(maxsize=256)
def _topic_id(text: str) -> UUID:
    """Partitions come topic by topic, and making a UUID costs as much as reading a partition."""
    return UUID(hex=text)


def _pack(fields: Mapping[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(fields, use_bin_type=True)
    return packed


def _unpack(value: bytes, *required: str) -> dict[str, Any]:
    try:
        fields = msgpack.unpackb(value, raw=False)
    except (ValueError, msgpack.UnpackException) as error:
        raise StoreDamagedError(f"a metadata value is not msgpack: {error}") from error
    if not isinstance(fields, dict) or not fields.keys() >= set(required):
        raise StoreDamagedError(f"a metadata value lacks one of {', '.join(required)}")
    return fields
