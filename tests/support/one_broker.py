"""One broker's replicas and hot handlers, over logs in memory and time that the test moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast
from uuid import UUID

from tests.support.manual_time import ManualTime
from tests.support.memory_log import ManualBlocking, ManualFlusher, MemoryLog, MemoryLogs

from pybroker_protocol.records.builder import RecordBatchBuilder
from pybroker_server.config.views import BrokerConfig, broker_config
from pybroker_server.coordinator.group.coordinator import group_coordinator
from pybroker_server.coordinator.marking import MarkerWriter
from pybroker_server.coordinator.transaction.gate import TransactionGate
from pybroker_server.coordinator.transaction.transactions import Transactions
from pybroker_server.handlers.request import ConnectionInfo, Pending, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.metadata.image import BrokerImage, Endpoint, MetadataImage, PartitionImage, TopicImage
from pybroker_server.replica.fetch_session import FetchSessionCache
from pybroker_server.replica.manager import ReplicaManager
from pybroker_server.replica.partition import Partition
from pybroker_server.runtime.entropy import SystemEntropy

NODE = 1


def batch(
    *values: bytes | None,
    timestamps: Sequence[int] = (),
    producer: tuple[int, int, int] = (-1, -1, -1),
    key: bytes | None = b"k",
    transactional: bool = False,
) -> memoryview:
    """A record batch as a client sends it; `producer` is (id, epoch, base sequence)."""
    builder = RecordBatchBuilder(
        producer_id=producer[0], producer_epoch=producer[1], base_sequence=producer[2], is_transactional=transactional
    )
    for number, value in enumerate(values or (b"v",)):
        builder.append(timestamps[number] if timestamps else 1_000, key, value)
    return memoryview(bytearray(builder.build()))


def topic_id_of(name: str) -> UUID:
    return UUID(bytes=name.encode().ljust(16, b"\0")[:16])


def topic_image(
    name: str,
    partitions: int = 1,
    *,
    replicas: tuple[int, ...] = (NODE,),
    leader: int = NODE,
    leader_epoch: int = 0,
    partition_epoch: int = 0,
    configs: Mapping[str, str] | None = None,
    topic_id: UUID | None = None,
) -> TopicImage:
    return TopicImage(
        topic_id=topic_id or topic_id_of(name),
        name=name,
        partitions=tuple(
            PartitionImage(i, replicas, replicas, leader, leader_epoch, partition_epoch) for i in range(partitions)
        ),
        configs=MappingProxyType(dict(configs or {})),
    )


class OneBroker:
    """Everything in a test's reach: `manager`, `services`, `logs`, and the hands of time, flusher and disk."""

    def __init__(self, settings: Mapping[str, str] | None = None, *, logs: MemoryLogs | None = None) -> None:
        self.time = ManualTime()
        self.flusher = ManualFlusher()
        self.blocking = ManualBlocking()
        self.logs = logs or MemoryLogs()
        self.config: BrokerConfig = broker_config(settings)
        self.manager = ReplicaManager(
            NODE,
            self.config,
            cast(Any, self.logs),
            cast(Any, self.flusher),
            clock=self.time,
            timers=self.time,
            blocking=cast(Any, self.blocking),
        )
        self.connection = ConnectionInfo(1, "PLAINTEXT", "127.0.0.1", 9092, "127.0.0.1", 50_000)
        self._correlation_ids = count(1)
        self.metadata = SimpleNamespace(image=MetadataImage())
        self.groups = group_coordinator(self.manager, self.config, SystemEntropy())
        self.markers = MarkerWriter(self.manager, self.groups, self.config.request_timeout_ms)
        self.new_producer_id = count(1_000).__next__
        unused = cast(Any, None)
        self.transactions = Transactions(
            self.manager, self.markers, unused, self.config, lambda: self.new_producer_id()
        )
        brokers = {
            node: BrokerImage(node, node * 10, (Endpoint("PLAINTEXT", f"host{node}", 9090 + node),), rack=f"rack{node}")
            for node in (1, 2)
        }
        self.show(brokers=MappingProxyType(brokers))
        unused = cast(Any, None)
        self.services = Services(
            config=self.config,
            node_id=NODE,
            cluster_id="cluster",
            metadata=cast(Any, self.metadata),
            controller=unused,
            replicas=self.manager,
            logs=cast(Any, self.logs),
            groups=self.groups,
            markers=self.markers,
            transactions=self.transactions,
            transaction_gate=TransactionGate(self.manager, self.transactions, unused, self.config),
            peers=unused,
            departures=unused,
            producer_ids=unused,
            fetch_sessions=FetchSessionCache(1_000, 120_000, count(1).__next__),
            runtime=cast(Any, SimpleNamespace(blocking=self.blocking, clock=self.time, timers=self.time)),
            endpoint_of=lambda broker, connection: broker.endpoint(connection.listener),
            api_table={},
        )

    # -- metadata

    def show(self, **changes: Any) -> None:
        """Publishes a changed image."""
        old = self.metadata.image
        new = replace(old, revision=old.revision + 1, **changes)
        self.metadata.image = new
        self.manager.on_image(old, new)
        self.groups.on_image(old, new)
        self.transactions.on_image(old, new)

    def show_topics(self, *topics: TopicImage) -> None:
        """These topics are added, or take the place of those with their id."""
        by_id = {**self.metadata.image.topics_by_id, **{topic.topic_id: topic for topic in topics}}
        self._show_by_id(by_id)

    def hide_topic(self, topic_id: UUID) -> None:
        self._show_by_id({i: topic for i, topic in self.metadata.image.topics_by_id.items() if i != topic_id})

    def _show_by_id(self, by_id: Mapping[UUID, TopicImage]) -> None:
        self.show(
            topics_by_id=MappingProxyType(dict(by_id)),
            topics_by_name=MappingProxyType({topic.name: topic for topic in by_id.values()}),
        )

    def partition(self, topic: str = "t", index: int = 0) -> Partition:
        return self.manager.partition(topic, index)

    def log(self, topic: str = "t", index: int = 0) -> MemoryLog:
        return cast(MemoryLog, self.partition(topic, index).log)

    # -- requests

    def context(self, api_key: int, version: int) -> RequestContext:
        return RequestContext(
            api_key,
            version,
            next(self._correlation_ids),
            "test",
            self.connection,
            self.time.monotonic_us(),
            self.time.monotonic_ms(),
            self.time.wall_ms(),
        )

    def append(self, *values: bytes | None, topic: str = "t", index: int = 0, flush: bool = True) -> int:
        """Appends one batch past all handlers; its base offset. Flushed, it is what readers see."""
        info = self.partition(topic, index).append(batch(*values), 1, self.time.monotonic_ms(), self.time.wall_ms())
        if flush:
            self.flush()
        return info.base_offset

    def flush(self, error: OSError | None = None) -> None:
        self.flusher.flush(error)
        self.settle()

    def settle(self) -> None:
        """Runs what was left for after the current call."""
        self.time.advance_ms(0)


class Answer:
    """Watches a reply: at once, or whenever its `Pending` is completed."""

    def __init__(self, reply: Any) -> None:
        self.given: list[Any] = []
        self.pending: Pending[Any] | None = reply if isinstance(reply, Pending) else None
        if self.pending is None:
            self.given.append(reply)
        else:
            self.pending.attach(self.given.append)

    @property
    def is_waiting(self) -> bool:
        return not self.given

    @property
    def response(self) -> Any:
        assert len(self.given) == 1, f"{len(self.given)} answers"
        return self.given[0]
