"""Keys and values of the metadata store: what is written is read back, and a newer release's fields are no
harm."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import msgpack  # type: ignore[import-untyped]
import pytest

from pybroker_server.metadata import keys
from pybroker_server.metadata.image import CLUSTER_DEFAULT, BrokerImage, Endpoint, PartitionImage
from pybroker_server.metadata.store import StoreDamagedError

TOPIC_ID = UUID("0e8a9b44-9d2f-4f7c-8f7e-8a1d5d1c2b3a")
PLAIN = PartitionImage(3, (1, 2, 3), (1, 2), 1, 4, 9, mod_revision=77)
BROKER = BrokerImage(
    node_id=7,
    epoch=12,
    endpoints=(Endpoint("PLAINTEXT", "h", 9092), Endpoint("TLS", "h", 9093, "SSL")),
    rack="a",
    fenced=True,
    shutting_down=True,
    directory_ids=(TOPIC_ID,),
    host_id="machine",
    mod_revision=15,
)


@pytest.mark.parametrize(
    ("key", "parsed"),
    [
        (keys.CLUSTER_KEY, keys.ParsedKey(keys.Kind.CLUSTER)),
        (keys.broker_key(12), keys.ParsedKey(keys.Kind.BROKER, node_id=12)),
        (keys.topic_key("a.b"), keys.ParsedKey(keys.Kind.TOPIC, collision_name="a_b")),
        (keys.partition_key(TOPIC_ID, 5), keys.ParsedKey(keys.Kind.PARTITION, topic_id=TOPIC_ID, index=5)),
        (keys.topic_config_key(TOPIC_ID), keys.ParsedKey(keys.Kind.TOPIC_CONFIG, topic_id=TOPIC_ID)),
        (keys.broker_config_key(3), keys.ParsedKey(keys.Kind.BROKER_CONFIG, node_id=3)),
        (keys.broker_config_key(CLUSTER_DEFAULT), keys.ParsedKey(keys.Kind.BROKER_CONFIG)),
        (keys.PRODUCER_IDS_KEY, None),
        (b"acl/of/a/newer/release", None),
        (b"\xff\xfe", None),
    ],
)
def test_keys_are_read_back(key: bytes, parsed: keys.ParsedKey | None) -> None:
    assert keys.parse_key(key) == parsed


def test_byte_order_of_partition_keys_is_numeric() -> None:
    made = [keys.partition_key(TOPIC_ID, index) for index in (2, 10, 1, 10_000)]
    assert sorted(made) == [keys.partition_key(TOPIC_ID, index) for index in (1, 2, 10, 10_000)]


@pytest.mark.parametrize(
    "partition",
    [
        PLAIN,
        replace(PLAIN, leader=-1, isr=(), eligible_leader_replicas=(2,), last_known_eligible_leader_replicas=(3,)),
        replace(PLAIN, adding_replicas=(4,), removing_replicas=(1,), recovering=True),
    ],
)
def test_partitions_are_read_back(partition: PartitionImage) -> None:
    assert keys.decode_partition(3, keys.encode_partition(partition), 77) == partition


def test_a_registration_takes_its_epoch_from_its_commit_and_a_change_keeps_it() -> None:
    assert keys.decode_broker(7, keys.encode_broker(BROKER), 15) == replace(BROKER, epoch=15)
    assert keys.decode_broker(7, keys.encode_broker(BROKER, keep_epoch=True), 15) == BROKER


def test_small_values_are_read_back() -> None:
    topic = keys.TopicValue(TOPIC_ID, "a.b", 12)
    assert keys.decode_topic(keys.encode_topic(topic)) == topic
    assert keys.decode_config(keys.encode_config({"b": "1", "a": "2"})) == {"a": "2", "b": "1"}
    assert keys.decode_cluster(keys.encode_cluster("id")) == "id"
    assert keys.decode_producer_ids(keys.encode_producer_ids(2**40)) == 2**40


def test_fields_of_a_newer_release_are_passed_over() -> None:
    fields = msgpack.unpackb(keys.encode_partition(PLAIN)) | {"new": [1]}
    assert keys.decode_partition(3, msgpack.packb(fields), 77) == PLAIN


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x93\x01", msgpack.packb([1]), msgpack.packb({"name": "t"})])
def test_a_value_that_cannot_be_read_is_damage(value: bytes) -> None:
    with pytest.raises(StoreDamagedError):
        keys.decode_topic(value)
