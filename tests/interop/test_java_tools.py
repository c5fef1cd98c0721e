"""Kafka's own Java tools, unmodified, against a broker process. Run by `make interop`; needs Java 17 and Maven."""

from __future__ import annotations

import re
from pathlib import Path
from uuid import uuid4

import pytest
from tests.interop.kafka import tool
from tests.support.broker_process import BrokerProcess

pytestmark = pytest.mark.java


@pytest.fixture
def topic(bootstrap: str) -> str:
    name = f"java-{uuid4().hex[:12]}"
    tool("kafka-topics", "--bootstrap-server", bootstrap, "--create", "--topic", name, "--partitions", "3")
    return name


def _produce(bootstrap: str, topic: str, lines: list[str], *arguments: str) -> None:
    tool(
        "kafka-console-producer",
        "--bootstrap-server",
        bootstrap,
        "--topic",
        topic,
        *arguments,
        stdin="".join(f"{line}\n" for line in lines),
    )


def _consume(bootstrap: str, topic: str, partition: int, count: int, *arguments: str) -> list[str]:
    out = tool(
        "kafka-console-consumer",
        "--bootstrap-server",
        bootstrap,
        "--topic",
        topic,
        "--partition",
        str(partition),
        "--offset",
        "earliest",
        "--max-messages",
        str(count),
        "--timeout-ms",
        "20000",
        *arguments,
    )
    return out.splitlines()


def _ends(bootstrap: str, topic: str, time: str = "latest") -> dict[int, int]:
    out = tool("kafka-get-offsets", "--bootstrap-server", bootstrap, "--topic", topic, "--time", time)
    return {int(p): int(o) for p, o in re.findall(rf"^{re.escape(topic)}:(\d+):(-?\d+)$", out, re.MULTILINE)}


def test_kafka_topics_creates_lists_describes_grows_and_deletes(bootstrap: str, topic: str) -> None:
    server = ("--bootstrap-server", bootstrap)
    assert topic in tool("kafka-topics", *server, "--list").splitlines()
    tool("kafka-topics", *server, "--alter", "--topic", topic, "--partitions", "5")
    described = tool("kafka-topics", *server, "--describe", "--topic", topic)
    assert "PartitionCount: 5" in described
    assert len(re.findall(r"Leader: \d+\s+Replicas: \d+\s+Isr: \d+", described)) == 5
    tool("kafka-topics", *server, "--delete", "--topic", topic)
    assert topic not in tool("kafka-topics", *server, "--list").splitlines()


def test_kafka_configs_changes_and_shows_what_was_changed(bootstrap: str, topic: str) -> None:
    entity = ("--bootstrap-server", bootstrap, "--entity-type", "topics", "--entity-name", topic)
    tool("kafka-configs", *entity, "--alter", "--add-config", "retention.ms=3600000,cleanup.policy=[compact,delete]")
    described = tool("kafka-configs", *entity, "--describe")
    assert "retention.ms=3600000" in described
    assert "cleanup.policy=compact,delete" in described
    tool("kafka-configs", *entity, "--alter", "--delete-config", "retention.ms")
    everything = tool("kafka-configs", *entity, "--describe", "--all")
    assert "retention.ms=604800000" in everything


def test_what_the_console_producer_wrote_the_console_consumer_reads(bootstrap: str, topic: str) -> None:
    lines = [f"key{n}:value {n}" for n in range(30)]
    _produce(bootstrap, topic, lines, "--reader-property", "parse.key=true", "--reader-property", "key.separator=:")
    ends = _ends(bootstrap, topic)
    assert sum(ends.values()) == 30
    read: list[str] = []
    show = ("--formatter-property", "print.key=true", "--formatter-property", "key.separator=:")
    for partition, count in ends.items():
        if count:
            read += _consume(bootstrap, topic, partition, count, *show)
    assert sorted(read) == sorted(lines)


@pytest.mark.parametrize("acks", ["1", "all"])
def test_the_producer_perf_test_loses_nothing(bootstrap: str, topic: str, acks: str) -> None:
    out = tool(
        "kafka-producer-perf-test",
        *("--topic", topic, "--num-records", "50000", "--record-size", "100", "--throughput", "-1"),
        *("--producer-props", f"bootstrap.servers={bootstrap}", f"acks={acks}"),
    )
    assert "50000 records sent" in out
    assert sum(_ends(bootstrap, topic).values()) == 50_000


def test_get_offsets_tells_earliest_latest_and_the_largest_timestamp(bootstrap: str, topic: str) -> None:
    _produce(bootstrap, topic, ["only line"])
    assert sum(_ends(bootstrap, topic).values()) == 1
    assert _ends(bootstrap, topic, "earliest") == {0: 0, 1: 0, 2: 0}
    assert sorted(_ends(bootstrap, topic, "max-timestamp").values()) in ([-1, -1, 0], [0])


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_dump_log_finds_our_files_sane(broker_process: BrokerProcess, codec: str) -> None:
    """D3: what is on disk is Kafka's own format, indexes included."""
    name = f"dump-{codec}"
    server = ("--bootstrap-server", broker_process.bootstrap)
    small = ("--config", "index.interval.bytes=512", "--config", "segment.bytes=1048576")
    tool("kafka-topics", *server, "--create", "--topic", name, "--partitions", "1", *small)
    lines = [f"value {n} {'y' * 500}" for n in range(6000)]
    _produce(
        broker_process.bootstrap, name, lines, "--compression-codec", codec, "--command-property", "batch.size=4096"
    )
    broker_process.stop()
    folder = Path(broker_process.data_dir, f"{name}-0")
    for index in [*sorted(folder.glob("*.index")), *sorted(folder.glob("*.timeindex"))]:
        out = tool("kafka-dump-log", "--files", str(index), "--index-sanity-check")
        assert "passed sanity check" in out, out
        assert "Found" not in out, out
    found = 0
    for log in sorted(folder.glob("*.log")):
        out = tool("kafka-dump-log", "--files", str(log), "--print-data-log", "--deep-iteration")
        assert "isvalid: true" in out
        assert "isvalid: false" not in out
        found += len(re.findall(r"^\| offset: ", out, re.MULTILINE))
    assert found == len(lines)
