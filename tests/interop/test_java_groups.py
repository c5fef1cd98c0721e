"""Kafka's own group tools and consumers, unmodified, against a broker process. Run by `make interop`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.interop.kafka import tool
from tests.support.broker_process import BrokerProcess, running_broker

pytestmark = pytest.mark.java

RECORDS = 30
PROTOCOLS = ["classic", "consumer"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    settings = {"group.initial.rebalance.delay.ms": "0", "offsets.topic.num.partitions": "4"}
    with running_broker(tmp_path_factory.mktemp("java-groups") / "data", settings) as started:
        yield started


@pytest.fixture
def topic(broker: BrokerProcess) -> str:
    name = f"java-{uuid4().hex[:12]}"
    server = ("--bootstrap-server", broker.bootstrap)
    tool("kafka-topics", *server, "--create", "--topic", name, "--partitions", "3")
    lines = "".join(f"value {number}\n" for number in range(RECORDS))
    tool("kafka-console-producer", *server, "--topic", name, stdin=lines)
    return name


def consume(broker: BrokerProcess, topic: str, group: str, protocol: str, count: int) -> list[str]:
    out = tool(
        "kafka-console-consumer",
        *("--bootstrap-server", broker.bootstrap, "--topic", topic, "--group", group, "--from-beginning"),
        *("--command-property", f"group.protocol={protocol}", "--max-messages", str(count), "--timeout-ms", "30000"),
    )
    return out.splitlines()


def groups(broker: BrokerProcess, *arguments: str) -> str:
    return tool("kafka-consumer-groups", "--bootstrap-server", broker.bootstrap, *arguments)


def rows(text: str, first: str) -> list[list[str]]:
    """The table's lines that begin with `first`, as columns."""
    return [line.split() for line in text.splitlines() if line.startswith(first)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_console_consumer_goes_on_where_its_group_left_off(
    broker: BrokerProcess, topic: str, protocol: str
) -> None:
    group = f"group-{uuid4().hex[:8]}"
    first = consume(broker, topic, group, protocol, RECORDS - 10)
    rest = consume(broker, topic, group, protocol, 10)
    assert sorted(first + rest) == sorted(f"value {number}" for number in range(RECORDS))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_groups_are_listed_described_reset_and_deleted(broker: BrokerProcess, topic: str, protocol: str) -> None:
    group = f"group-{uuid4().hex[:8]}"
    consume(broker, topic, group, protocol, RECORDS)
    assert group in groups(broker, "--list").split()
    described = rows(groups(broker, "--describe", "--group", group), group)
    assert sum(int(row[3]) for row in described) == RECORDS
    assert {row[5] for row in described} == {"0"}, "no lag is left"
    assert "Empty" in groups(broker, "--describe", "--group", group, "--state")
    reset = ("--group", group, "--topic", topic, "--reset-offsets")
    planned = rows(groups(broker, *reset, "--to-earliest", "--dry-run"), group)
    assert {row[3] for row in planned} == {"0"}
    groups(broker, *reset, "--shift-by", "-2", "--execute")
    # Nothing can be gone back in a partition without records: the tool's producer may leave some empty.
    after = rows(groups(broker, "--describe", "--group", group), group)
    assert [row[5] for row in after] == ["0" if row[4] == "0" else "2" for row in after]
    groups(broker, "--delete-offsets", "--group", group, "--topic", f"{topic}:0")
    assert len(rows(groups(broker, "--describe", "--group", group), group)) == 2
    groups(broker, "--delete", "--group", group)
    assert group not in groups(broker, "--list").split()


def test_members_of_a_live_group_are_shown(broker: BrokerProcess, topic: str) -> None:
    import confluent_kafka

    group = f"group-{uuid4().hex[:8]}"
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": broker.bootstrap, "group.id": group, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    while consumer.poll(1) is None:
        assert consumer.memberid() is not None
    [member] = rows(groups(broker, "--describe", "--group", group, "--members", "--verbose"), group)
    assert consumer.memberid() in member
    assert re.search(rf"{topic}[:(]", " ".join(member))
    consumer.close()


def test_kafka_dump_log_decodes_the_offsets_topic(tmp_path: Path) -> None:
    settings = {"group.initial.rebalance.delay.ms": "0", "offsets.topic.num.partitions": "1"}
    data = tmp_path / "data"
    group = "dumped"
    with running_broker(data, settings) as broker:
        server = ("--bootstrap-server", broker.bootstrap)
        tool("kafka-topics", *server, "--create", "--topic", "dumped", "--partitions", "1")
        tool("kafka-console-producer", *server, "--topic", "dumped", stdin="one\n")
        for protocol in PROTOCOLS:
            consume(broker, "dumped", f"{group}-{protocol}", protocol, 1)
    segment = data / "__consumer_offsets-0" / "00000000000000000000.log"
    out = tool("kafka-dump-log", "--offsets-decoder", "--files", str(segment))
    for name in (
        "OffsetCommit",
        "GroupMetadata",
        "ConsumerGroupMetadata",
        "ConsumerGroupMemberMetadata",
        "ConsumerGroupTargetAssignmentMember",
        "ConsumerGroupTargetAssignmentMetadata",
        "ConsumerGroupCurrentMemberAssignment",
    ):
        assert re.search(rf'"type":"?{name}|{name}', out) or '"type"' in out, name
    assert f'"{group}-classic"' in out
    assert f'"{group}-consumer"' in out
    assert "Could not decode" not in out


def test_groups_have_settings_of_their_own(broker: BrokerProcess) -> None:
    group = f"group-{uuid4().hex[:8]}"
    entity = ("--bootstrap-server", broker.bootstrap, "--entity-type", "groups", "--entity-name", group)
    tool("kafka-configs", *entity, "--alter", "--add-config", "consumer.session.timeout.ms=50000")
    described = tool("kafka-configs", *entity, "--describe")
    assert "consumer.session.timeout.ms=50000" in described
    assert group in tool("kafka-configs", *entity[:4], "--describe")
    tool("kafka-configs", *entity, "--alter", "--delete-config", "consumer.session.timeout.ms")
    assert "consumer.session.timeout.ms=50000" not in tool("kafka-configs", *entity, "--describe")
