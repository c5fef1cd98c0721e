"""A transaction coordinator over logs in memory: requests in, answers out, markers held until the test lets them go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, cast

from tests.support.one_broker import OneBroker, topic_image

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import TransactionLogKey, TransactionLogValue
from pybroker_protocol.records.batch import iter_batches
from pybroker_protocol.records.builder import RecordBatchBuilder
from pybroker_protocol.records.record import iter_records
from pybroker_protocol.schema.classes import Message
from pybroker_server.coordinator.effects import Reply
from pybroker_server.coordinator.end_marker import EndMarker
from pybroker_server.coordinator.records import CoordinatorRecord
from pybroker_server.coordinator.transaction.markers import Marked
from pybroker_server.coordinator.transaction.records import RECORD_TYPES, TRANSACTIONS_TOPIC, transaction_from
from pybroker_server.coordinator.transaction.shard import TransactionShard
from pybroker_server.coordinator.transaction.transaction import ProducerIdAndEpoch, TopicPartition, Transaction
from pybroker_server.coordinator.transaction.transactions import Transactions
from pybroker_server.log.validator import AppendOrigin
from pybroker_server.peers.connection import Done
from pybroker_server.peers.peers import Lane
from pybroker_server.replica.partition import ACKS_ALL

TIMEOUT_MS = 60_000


class Held(NamedTuple):
    """Markers that were handed over to be written; `answer` says what became of them."""

    marker: EndMarker
    partitions: tuple[TopicPartition, ...]
    done: Marked

    def answer(self, code: ErrorCode = ErrorCode.NONE) -> None:
        self.done(dict.fromkeys(self.partitions, code))


class HeldMarkers:
    """A `MarkerSink`. `written` are those that were answered with NONE."""

    def __init__(self) -> None:
        self.held: list[Held] = []
        self.sent: list[EndMarker] = []

    def write(self, marker: EndMarker, partitions: Iterable[TopicPartition], done: Marked) -> None:
        self.sent.append(marker)
        self.held.append(Held(marker, tuple(partitions), done))

    def let_go(self, code: ErrorCode = ErrorCode.NONE) -> int:
        """Answers all that are held; how many there were."""
        held, self.held = self.held, []
        for one in held:
            one.answer(code)
        return len(held)


class SilentPeers:
    """`Peers`, as far as markers go: `sent` waits for the test to answer it, as (node, request, done)."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, Any, Done]] = []

    def send(self, node_id: int, request: Message, done: Done, *, lane: Lane) -> None:
        assert lane is Lane.TRANSACTIONS
        self.sent.append((node_id, request, done))


class TransactionDesk(OneBroker):
    """One partition of `__transaction_state`, and a topic `t` with three. Answers are lists: empty while they wait."""

    def __init__(self, settings: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(settings, **more)
        self.sink = HeldMarkers()
        self.peers = SilentPeers()
        self.transactions = Transactions(
            self.manager, self.sink, cast(Any, self.peers), self.config, lambda: self.new_producer_id()
        )
        self.services.transactions = self.transactions
        self.lead(0)
        self.show_topics(topic_image("t", 3))
        self.blocking.run_all()

    def lead(self, leader_epoch: int, leader: int = 1) -> None:
        """This broker, or another, leads the transactions' log from now on in this term."""
        topic = topic_image(TRANSACTIONS_TOPIC, replicas=(1, 2), leader=leader, leader_epoch=leader_epoch)
        self.show_topics(replace(topic, partitions=tuple(replace(p, isr=(leader,)) for p in topic.partitions)))

    # -- requests

    def init(self, name: str = "x", expected: tuple[int, int] | None = None, timeout_ms: int = TIMEOUT_MS) -> list[Any]:
        given: list[Any] = []
        wanted = None if expected is None else ProducerIdAndEpoch(*expected)
        self.transactions.coordinator.run(
            name,
            lambda shard, effects, reply: shard.init_producer_id(effects, reply, name, timeout_ms, wanted),
            Reply(given.append, lambda code: code),
        )
        return given

    def add(
        self, producer: tuple[int, int], *partitions: TopicPartition, name: str = "x", version: int = 2
    ) -> list[Any]:
        given: list[Any] = []
        who = ProducerIdAndEpoch(*producer)
        self.transactions.coordinator.run(
            name,
            lambda shard, effects, reply: shard.add_partitions(effects, reply, name, who, partitions, version),
            Reply(given.append, lambda code: code),
        )
        return given

    def end(self, producer: tuple[int, int], *, commit: bool, name: str = "x", version: int = 2) -> list[Any]:
        given: list[Any] = []
        who = ProducerIdAndEpoch(*producer)
        self.transactions.coordinator.run(
            name,
            lambda shard, effects, reply: shard.end(effects, reply, name, who, commit=commit, client_version=version),
            Reply(given.append, lambda code: code),
        )
        return given

    def describe(self, name: str = "x") -> Transaction | ErrorCode:
        """As it is once everything is safe."""
        given: list[Any] = []

        def ask(shard: TransactionShard, effects: Any, reply: Any) -> None:
            shard.describe(effects, reply, name)

        self.transactions.coordinator.run(name, ask, Reply(given.append, lambda code: code))
        self.settle()
        [found] = given
        assert isinstance(found, (Transaction, ErrorCode))
        return found

    # -- the world

    def write_raw(self, name: str, *, status: int) -> None:
        """A record that the coordinator would not write."""
        value = TransactionLogValue(producer_id=1, producer_epoch=0, transaction_status=status)
        key, stored = RECORD_TYPES.encode(CoordinatorRecord(TransactionLogKey(transactional_id=name), value, 1))
        builder = RecordBatchBuilder()
        builder.append(self.time.wall_ms(), key, stored)
        partition = self.partition(TRANSACTIONS_TOPIC)
        now_ms, wall_ms = self.time.monotonic_ms(), self.time.wall_ms()
        partition.append(memoryview(builder.build()), ACKS_ALL, now_ms, wall_ms, AppendOrigin.COORDINATOR)
        self.settle()

    def settle(self) -> None:
        """Everything that was appended is flushed, and answered."""
        while self.flusher.requested:
            self.flusher.flush()
            self.time.advance_ms(0)
        self.time.advance_ms(0)

    def begin(self, *partitions: TopicPartition, name: str = "x") -> ProducerIdAndEpoch:
        """A producer with these partitions in its open transaction."""
        given = self.init(name)
        self.settle()
        [producer] = given
        assert isinstance(producer, ProducerIdAndEpoch), producer
        added = self.add(producer, *partitions, name=name)
        self.settle()
        assert added == [ErrorCode.NONE]
        return producer

    def stored(self, *, committed: bool = False) -> list[Transaction | str]:
        """What lies in the log of transactions, record by record; of a tombstone the name."""
        partition = self.partition(TRANSACTIONS_TOPIC)
        log = partition.log
        upper = partition.high_watermark_position if committed else log.end_position
        data = memoryview(bytes(log.read(0, 1 << 30, upper, min_one=True, nowait=False).records))
        found: list[Transaction | str] = []
        for at, header in iter_batches(data):
            for record in iter_records(data[at : at + header.size_bytes], max_bytes=1 << 24):
                decoded: Any = RECORD_TYPES.decode(record.raw_key, record.raw_value)
                name = decoded.key.transactional_id
                found.append(name if decoded.value is None else transaction_from(name, decoded.value, -1))
        return found
