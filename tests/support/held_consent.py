"""A transaction coordinator that answers when the test says so, behind the gate of one broker."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

from tests.support.one_broker import NODE, OneBroker, topic_image

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import AddPartitionsToTxnRequest, AddPartitionsToTxnResponse
from pybroker_server.coordinator.transaction.gate import TransactionGate
from pybroker_server.coordinator.transaction.records import TRANSACTIONS_TOPIC
from pybroker_server.peers.peers import Lane
from pybroker_server.peers.problem import PeerError, Problem

TopicPartition = tuple[str, int]


class Question(NamedTuple):
    """What the coordinator was asked; `adds` or only verifies."""

    adds: bool
    transactional_id: str
    producer_id: int
    producer_epoch: int
    partitions: tuple[TopicPartition, ...]
    done: Callable[[Mapping[TopicPartition, ErrorCode]], None]

    def answer(self, code: ErrorCode = ErrorCode.NONE) -> None:
        self.done(dict.fromkeys(self.partitions, code))


class HeldConsent:
    """`asked` waits for the test. In place of `Transactions` and of `Peers`."""

    def __init__(self, broker: OneBroker, *, leader: int = NODE) -> None:
        self.asked: list[Question] = []
        self.sent: list[tuple[int, AddPartitionsToTxnRequest, Any]] = []
        replicas = (NODE,) if leader == NODE else (NODE, leader)
        broker.show_topics(topic_image(TRANSACTIONS_TOPIC, replicas=replicas, leader=leader))
        self.coordinator = SimpleNamespace(topic=TRANSACTIONS_TOPIC, partition_of=lambda name: 0)
        gate = TransactionGate(broker.manager, cast(Any, self), cast(Any, self), broker.config)
        broker.services.transaction_gate = gate

    # Transactions

    def add_partitions(self, *asked: Any) -> None:
        self._take(True, *asked)

    def verify_partitions(self, *asked: Any) -> None:
        self._take(False, *asked)

    def _take(
        self, adds: bool, name: str, producer_id: int, epoch: int, partitions: Collection[TopicPartition], done: Any
    ) -> None:
        self.asked.append(Question(adds, name, producer_id, epoch, tuple(partitions), done))

    # Peers

    def send(self, node_id: int, request: AddPartitionsToTxnRequest, done: Any, *, lane: Lane) -> None:
        assert lane is Lane.TRANSACTIONS
        self.sent.append((node_id, request, done))

    def answer_sent(self, code: ErrorCode = ErrorCode.NONE, *, top: ErrorCode = ErrorCode.NONE) -> None:
        """The oldest request is answered with `code` for every partition, or refused as a whole with `top`."""
        _, request, done = self.sent.pop(0)
        response = AddPartitionsToTxnResponse(error_code=top)
        if not top:
            response.results_by_transaction = [
                AddPartitionsToTxnResponse.AddPartitionsToTxnResult(
                    transactional_id=transaction.transactional_id,
                    topic_results=[
                        AddPartitionsToTxnResponse.AddPartitionsToTxnTopicResult(
                            name=topic.name,
                            results_by_partition=[
                                AddPartitionsToTxnResponse.AddPartitionsToTxnPartitionResult(
                                    partition_index=index, partition_error_code=code
                                )
                                for index in topic.partitions
                            ],
                        )
                        for topic in transaction.topics
                    ],
                )
                for transaction in request.transactions
            ]
        done(response, None)

    def lose_sent(self) -> None:
        """The oldest request gets no answer."""
        _, _, done = self.sent.pop(0)
        done(None, PeerError(Problem.CLOSED, "gone"))
