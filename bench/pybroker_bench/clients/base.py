"""What a client must do to be measured. Times are nanoseconds of `time.monotonic_ns`, which all processes share.

Rules: records are handed over and taken by the list; nothing is awaited per record. A send of one list keeps its order
behind earlier sends to the same partition. A client says when an acknowledgement or a record arrived, not when the
loop got to hear of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pybroker_bench.errors import BenchError
from pybroker_bench.scenario import Scenario

READ_RECORDS_MAX: Final = 10_000
BUFFER_BYTES: Final = 256 * 1024 * 1024


class SendFailed(Exception):
    """Of a list of records, `count` were not acknowledged, or not known to be."""

    def __init__(self, count: int, why: str) -> None:
        super().__init__(why)
        self.count = count


@dataclass(slots=True)
class Read:
    """Records of one partition in order. Without verification only their number, and one record for its time."""

    topic: str
    partition: int
    count: int
    at_ns: int
    sample: bytes | None = None
    offsets: Sequence[int] = ()
    values: Sequence[bytes | None] = ()


class ProducerClient(Protocol):
    async def open(self) -> None:
        """Connect, and learn the topics."""

    async def send(self, topic: str, partition: int, values: list[bytes], keys: Sequence[bytes] | None) -> int:
        """Send these and wait for their acknowledgement; when it came. Raises SendFailed."""

    async def close(self) -> None: ...


class TransactionalClient(ProducerClient, Protocol):
    async def begin(self) -> None: ...

    async def commit(self) -> None:
        """Raises SendFailed when it is not known whether it was committed."""

    async def abort(self) -> None: ...


class ConsumerClient(Protocol):
    async def open(self) -> None:
        """Connect and begin to read from the earliest offset, or where the group stands."""

    async def read(self, time_limit_s: float) -> list[Read]:
        """What has come; empty when nothing did in this time."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What one consumer is to read: a share of the partitions, or as a member of a group."""

    topics: Sequence[str]
    partitions: Sequence[tuple[str, int]]
    group: str | None
    keeps_values: bool
    read_committed: bool


def producer_client(
    name: str, bootstrap: str, scenario: Scenario, topics: Sequence[str], number: int
) -> ProducerClient:
    """Raises BenchError when the client is not installed."""
    if name == "sdk":
        from pybroker_bench.clients.sdk import SdkProducer

        return SdkProducer(bootstrap, scenario, topics, number)
    if name == "confluent-kafka":
        confluent()
        from pybroker_bench.clients.confluent import ConfluentProducer

        return ConfluentProducer(bootstrap, scenario, topics, number)
    confluent()
    from pybroker_bench.clients.librdkafka import RawProducer

    return RawProducer(bootstrap, scenario, topics)


def consumer_client(name: str, bootstrap: str, reading: Reading) -> ConsumerClient:
    """Raises BenchError when the client is not installed."""
    if name == "sdk":
        from pybroker_bench.clients.sdk import SdkConsumer

        return SdkConsumer(bootstrap, reading)
    confluent()
    # Records that are looked at pass through Python one by one: then the raw engine has nothing to offer.
    if name == "confluent-kafka" or reading.keeps_values or reading.group is not None:
        from pybroker_bench.clients.confluent import ConfluentConsumer

        return ConfluentConsumer(bootstrap, reading)
    from pybroker_bench.clients.librdkafka import RawConsumer

    return RawConsumer(bootstrap, reading)


def confluent() -> Any:
    """The module confluent_kafka. Raises BenchError when it is not installed."""
    try:
        import confluent_kafka
    except ImportError:
        raise BenchError(
            "the clients confluent-kafka and librdkafka need the package confluent-kafka",
            hint='pip install "pybroker[bench]", or --client sdk',
        ) from None
    return confluent_kafka


def librdkafka_settings(bootstrap: str, scenario: Scenario) -> Mapping[str, Any]:
    """A scenario's producer settings in librdkafka's words."""
    settings: dict[str, Any] = {
        "bootstrap.servers": bootstrap,
        "acks": scenario.acks,
        "enable.idempotence": scenario.acks == "all",
        "linger.ms": scenario.linger_ms,
        "batch.size": scenario.batch_bytes,
        "batch.num.messages": scenario.batch_records or 100_000,
        "compression.type": scenario.compression,
        "queue.buffering.max.messages": 2_000_000,
        "queue.buffering.max.kbytes": 2 * BUFFER_BYTES // 1024,
        "message.max.bytes": 10_000_000,
        "socket.nagle.disable": True,
    }
    if not scenario.batch_records:
        # It groups by the clock alone: without any wait nearly every record would be a batch of its own.
        settings["linger.ms"] = max(scenario.linger_ms, 5.0 if scenario.rate == 0 else 0.0)
    return settings
