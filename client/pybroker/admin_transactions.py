"""The admin of transactions: which are open, since when and where, which hang; and their end.

Rules: a transaction is asked of its coordinator, what a partition knows of producers of the partition's leader. A
transaction hangs when a partition waits for its end and no coordinator will ever send one: readers of what is committed
wait there with it (KIP-664).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pybroker.admin_calls import AdminCalls, CoordinatorKind, check
from pybroker.errors import NotFound, Retriable, error_for
from pybroker.metadata import TopicPartition
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    DescribeTransactionsRequest,
    InitProducerIdRequest,
    ListTransactionsRequest,
    WriteTxnMarkersRequest,
)

__all__ = ["HangingTransaction", "ProducerState", "TransactionAdmin", "TransactionInfo", "TransactionListing"]

_FENCING_TIMEOUT_MS: Final = 1
"""Nobody will begin a transaction with what InitProducerId gives out here."""
_MARKERS_OF_ADMINS: Final = 1
_OVER: Final = frozenset({"Empty", "CompleteCommit", "CompleteAbort", "Dead"})


@dataclass(frozen=True, slots=True)
class TransactionListing:
    """A transactional id. `state` is Kafka's word: "Ongoing", "PrepareCommit", "CompleteAbort", "Empty"..."""

    transactional_id: str
    producer_id: int
    state: str
    coordinator: int
    """The node id of the broker that looks after it."""


@dataclass(frozen=True, slots=True)
class TransactionInfo:
    """`started` is None unless a transaction is under way; `partitions` are those that it writes to."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    state: str
    coordinator: int
    timeout_ms: int
    started: datetime | None
    partitions: tuple[TopicPartition, ...]

    @property
    def is_open(self) -> bool:
        return self.state not in _OVER


@dataclass(frozen=True, slots=True)
class ProducerState:
    """What a partition knows of one producer. `start_offset`: where its open transaction begins, None without one."""

    producer_id: int
    producer_epoch: int
    last_sequence: int
    last_written: datetime | None
    coordinator_epoch: int
    start_offset: int | None


@dataclass(frozen=True, slots=True)
class HangingTransaction:
    """A transaction in a partition that nobody will end. `transactional_id` is None when nobody knows it any more."""

    partition: TopicPartition
    producer: ProducerState
    transactional_id: str | None


class TransactionAdmin(AdminCalls):
    """See the head of this file."""

    async def transactions(
        self, *, states: Iterable[str] = (), open_for: float = -1.0, producer_ids: Iterable[int] = ()
    ) -> list[TransactionListing]:
        """Every transactional id of the cluster, by name; only those in `states`, or open for longer (seconds)."""
        request = ListTransactionsRequest(
            state_filters=list(states),
            producer_id_filters=list(producer_ids),
            duration_filter=int(open_for * 1000) if open_for >= 0 else -1,
        )

        async def attempt() -> list[TransactionListing]:
            found = {}
            for node, answer in (await self._ask_nodes(ApiKey.LIST_TRANSACTIONS, request)).items():
                check(answer.error_code, f"list the transactions of node {node}", None)
                for each in answer.transaction_states:
                    found[each.transactional_id] = TransactionListing(
                        each.transactional_id, each.producer_id, each.transaction_state, node
                    )
            return [found[name] for name in sorted(found)]

        return await self._retried("list transactions", attempt)

    async def transaction(self, transactional_id: str) -> TransactionInfo:
        """One transactional id, with what is under way. Raises `NotFound`."""
        request = DescribeTransactionsRequest(transactional_ids=[transactional_id])
        what = f"describe transactional id {transactional_id}"

        async def attempt() -> TransactionInfo:
            node = await self._coordinator(CoordinatorKind.TRANSACTION, transactional_id)
            answer = (await self.client.ask_node(node, ApiKey.DESCRIBE_TRANSACTIONS, request)).transaction_states[0]
            if answer.error_code == ErrorCode.TRANSACTIONAL_ID_NOT_FOUND:
                raise NotFound(
                    f"there is no transactional id {transactional_id}", code=ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
                )
            check(answer.error_code, what, None)
            partitions = [TopicPartition(topic.topic, index) for topic in answer.topics for index in topic.partitions]
            return TransactionInfo(
                transactional_id,
                answer.producer_id,
                answer.producer_epoch,
                answer.transaction_state,
                node,
                answer.transaction_timeout_ms,
                _moment(answer.transaction_start_time_ms),
                tuple(sorted(partitions)),
            )

        return await self._retried(what, attempt)

    async def producers(self, partitions: Iterable[tuple[str, int]]) -> dict[TopicPartition, list[ProducerState]]:
        """The producers that partitions know. Raises `NotFound`."""
        wanted = [TopicPartition(*tp) for tp in partitions]

        async def attempt() -> dict[TopicPartition, list[ProducerState]]:
            leaders = await self._partition_leaders(sorted({tp.topic for tp in wanted}))
            by_node: dict[int, dict[str, list[int]]] = {}
            for tp in wanted:
                if tp not in leaders:
                    raise NotFound(f"{tp} does not exist", code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
                if leaders[tp] < 0:
                    raise Retriable(f"{tp} has no leader now", code=ErrorCode.LEADER_NOT_AVAILABLE)
                by_node.setdefault(leaders[tp], {}).setdefault(tp.topic, []).append(tp.partition)
            found: dict[TopicPartition, list[ProducerState]] = {}
            for node, topics in by_node.items():
                found |= await self._producers_of(node, topics)
            return found

        return await self._retried("describe producers", attempt) if wanted else {}

    async def _producers_of(self, node: int, topics: dict[str, list[int]]) -> dict[TopicPartition, list[ProducerState]]:
        request = DescribeProducersRequest(
            topics=[
                DescribeProducersRequest.TopicRequest(name=name, partition_indexes=indexes)
                for name, indexes in topics.items()
            ]
        )
        response: DescribeProducersResponse = await self.client.ask_node(node, ApiKey.DESCRIBE_PRODUCERS, request)
        found = {}
        for topic in response.topics:
            for partition in topic.partitions:
                tp = TopicPartition(topic.name, partition.partition_index)
                check(partition.error_code, f"describe producers of {tp}", partition.error_message)
                found[tp] = [
                    ProducerState(
                        each.producer_id,
                        each.producer_epoch,
                        each.last_sequence,
                        _moment(each.last_timestamp),
                        each.coordinator_epoch,
                        each.current_txn_start_offset if each.current_txn_start_offset >= 0 else None,
                    )
                    for each in partition.active_producers
                ]
        return found

    async def hanging_transactions(
        self, partitions: Iterable[tuple[str, int]] | None = None, *, older_than: float = 900.0
    ) -> list[HangingTransaction]:
        """Transactions whose last record is older than that (seconds; the longest timeout that brokers allow, by
        default) and that no coordinator has under way; in all partitions of the cluster unless named."""
        where = await self._all_partitions() if partitions is None else [TopicPartition(*tp) for tp in partitions]
        limit = datetime.now(UTC).timestamp() - older_than
        suspects = [
            (tp, producer)
            for tp, producers in (await self.producers(where)).items()
            for producer in producers
            if producer.start_offset is not None
            and (producer.last_written is None or producer.last_written.timestamp() <= limit)
        ]
        listed = (
            await self.transactions(producer_ids={producer.producer_id for _, producer in suspects}) if suspects else []
        )
        names = {each.producer_id: each.transactional_id for each in listed}
        hanging = []
        for tp, producer in suspects:
            name = names.get(producer.producer_id)
            if name is None or not await self._is_under_way(name, tp, producer):
                hanging.append(HangingTransaction(tp, producer, name))
        return hanging

    async def _is_under_way(self, transactional_id: str, tp: TopicPartition, producer: ProducerState) -> bool:
        try:
            known = await self.transaction(transactional_id)
        except NotFound:
            return False
        return known.is_open and known.producer_id == producer.producer_id and tp in known.partitions

    async def abort_transaction(self, transactional_id: str) -> None:
        """Abort what is open under this id and fence its producer, which finds out with its next request."""
        request = InitProducerIdRequest(
            transactional_id=transactional_id,
            transaction_timeout_ms=_FENCING_TIMEOUT_MS,
            producer_id=-1,
            producer_epoch=-1,
        )
        what = f"abort the transaction of {transactional_id}"

        async def attempt() -> None:
            node = await self._coordinator(CoordinatorKind.TRANSACTION, transactional_id)
            response = await self.client.ask_node(node, ApiKey.INIT_PRODUCER_ID, request)
            if response.error_code == ErrorCode.CONCURRENT_TRANSACTIONS:
                raise Retriable(f"{what}: its end is under way", code=ErrorCode.CONCURRENT_TRANSACTIONS)
            check(response.error_code, what, None)

        await self._retried(what, attempt)

    async def abort_hanging(self, hanging: HangingTransaction) -> None:
        """End a hanging transaction in its partition, where readers of what is committed then go on."""
        tp, producer = hanging.partition, hanging.producer
        request = WriteTxnMarkersRequest(
            markers=[
                WriteTxnMarkersRequest.WritableTxnMarker(
                    producer_id=producer.producer_id,
                    producer_epoch=producer.producer_epoch,
                    transaction_result=False,
                    coordinator_epoch=max(producer.coordinator_epoch, 0),
                    topics=[
                        WriteTxnMarkersRequest.WritableTxnMarkerTopic(name=tp.topic, partition_indexes=[tp.partition])
                    ],
                )
            ]
        )
        what = f"abort the transaction of producer {producer.producer_id} in {tp}"

        async def attempt() -> None:
            leader = (await self._partition_leaders([tp.topic])).get(tp, -1)
            if leader < 0:
                raise error_for(ErrorCode.LEADER_NOT_AVAILABLE, what)
            response = await self._ask_at_most(leader, ApiKey.WRITE_TXN_MARKERS, request, _MARKERS_OF_ADMINS)
            check(response.markers[0].topics[0].partitions[0].error_code, what, None)

        await self._retried(what, attempt)

    async def _partition_leaders(self, topics: list[str]) -> dict[TopicPartition, int]:
        answers = (await self._metadata(topics)).topics
        return {
            TopicPartition(topic.name or "", each.partition_index): each.leader_id
            for topic in answers
            for each in topic.partitions
        }

    async def _all_partitions(self) -> list[TopicPartition]:
        async def attempt() -> list[TopicPartition]:
            return [
                TopicPartition(topic.name or "", each.partition_index)
                for topic in (await self._metadata(None)).topics
                for each in topic.partitions
                if each.leader_id >= 0
            ]

        return await self._retried("list topics", attempt)


def _moment(time_ms: int) -> datetime | None:
    return datetime.fromtimestamp(time_ms / 1000, UTC) if time_ms >= 0 else None
