"""Lets the first write of a transaction into a partition only with the consent of its coordinator (KIP-890).

Rules of this file: the event loop only. Each partition that has nothing of the transaction yet begins a `Verification`;
then the coordinator, here or on another broker, is asked to add the partitions (transaction version 2) or whether they
were added (older clients). The caller appends with what it is given; the log refuses it if the transaction ended
meanwhile. A broker is sent one request at a time: what comes while one is under way goes out together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from enum import Enum
from functools import partial
from typing import NamedTuple

from pybroker_protocol.errors import ErrorCode, KafkaError, error_code
from pybroker_protocol.messages import AddPartitionsToTxnRequest, AddPartitionsToTxnResponse
from pybroker_server.config.views import BrokerConfig
from pybroker_server.coordinator.transaction.transaction import TopicPartition
from pybroker_server.coordinator.transaction.transactions import Transactions
from pybroker_server.log.verification import Verification
from pybroker_server.peers.peers import Lane, Peers
from pybroker_server.peers.problem import PeerError
from pybroker_server.replica.manager import ReplicaManager

Codes = Mapping[TopicPartition, ErrorCode]
Asked = AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction
Topic = AddPartitionsToTxnRequest.AddPartitionsToTxnTopic


class Consent(Enum):
    """How a client's version takes part."""

    CHECKED = "checked"
    """The client has added the partition itself; a refusal is INVALID_TXN_STATE."""
    CHECKED_ABORTABLE = "checked-abortable"
    """The same; a refusal is TRANSACTION_ABORTABLE, which the client knows."""
    ADDED = "added"
    """The write adds the partition: transaction version 2."""


class Writer(NamedTuple):
    """Who writes in a transaction."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    consent: Consent


class Admission(NamedTuple):
    """`errors` of partitions that must not be written; `held` goes with the append, for those that need it."""

    errors: Codes
    held: Mapping[TopicPartition, Verification]


Admitted = Callable[[Admission], None]


class TransactionGate:
    """See the head of this file."""

    def __init__(
        self, replicas: ReplicaManager, transactions: Transactions, peers: Peers, config: BrokerConfig
    ) -> None:
        self._replicas = replicas
        self._transactions = transactions
        self._config = config
        self._others = _OtherCoordinators(peers)

    def on_config(self, config: BrokerConfig) -> None:
        """The broker's settings changed."""
        self._config = config

    def admit(self, writer: Writer, sequences: Mapping[TopicPartition, int], admitted: Admitted) -> None:
        """Asks for each partition with the sequence of its next batch (-1 for a coordinator's). `admitted` is called
        once, now when nothing has to be asked.

        With `Consent.ADDED`, CONCURRENT_TRANSACTIONS is tried again for a moment: the producer has just ended the last
        transaction, and its markers are under way.
        """
        may_retry = writer.consent is Consent.ADDED and bool(self._config.add_partitions_to_txn_retry_backoff_max_ms)
        until_ms = self._replicas.clock.monotonic_ms() + self._config.add_partitions_to_txn_retry_backoff_max_ms
        self._ask(writer, sequences, admitted, until_ms if may_retry else 0)

    def admit_one(
        self, writer: Writer, where: TopicPartition, done: Callable[[ErrorCode, Verification | None], None]
    ) -> None:
        """The same for what a coordinator of this broker writes, with one try."""

        def admitted(admission: Admission) -> None:
            done(admission.errors.get(where, ErrorCode.NONE), admission.held.get(where))

        self._ask(writer, {where: -1}, admitted, 0)

    def _ask(self, writer: Writer, sequences: Mapping[TopicPartition, int], admitted: Admitted, until_ms: int) -> None:
        adds = writer.consent is Consent.ADDED
        if not adds and not self._config.transaction_partition_verification_enable:
            admitted(Admission({}, {}))
            return
        errors: dict[TopicPartition, ErrorCode] = {}
        held: dict[TopicPartition, Verification] = {}
        wall_ms = self._replicas.clock.wall_ms()
        for where, sequence in sequences.items():
            try:
                found = self._replicas.partition(*where).begin_verification(
                    writer.producer_id, writer.producer_epoch, sequence, wall_ms, adds=adds
                )
            except KafkaError as error:
                errors[where] = error.code
            else:
                if found is not None:
                    held[where] = found
        if not held:
            admitted(Admission(errors, held))
            return

        def answered(codes: Codes) -> None:
            told = {where: _as_client_knows(code, writer.consent) for where, code in codes.items() if code}
            is_over = self._replicas.clock.monotonic_ms() >= until_ms
            if not is_over and ErrorCode.CONCURRENT_TRANSACTIONS in told.values():
                again = partial(self._ask, writer, sequences, admitted, until_ms)
                self._replicas.timers.call_after_ms(self._config.add_partitions_to_txn_retry_backoff_ms, again)
                return
            admitted(Admission({**errors, **told}, held))

        self._ask_coordinator(writer, list(held), answered)

    def _ask_coordinator(
        self, writer: Writer, partitions: Collection[TopicPartition], answered: Callable[[Codes], None]
    ) -> None:
        if not writer.transactional_id:
            answered(dict.fromkeys(partitions, ErrorCode.INVALID_REQUEST))
            return
        coordinator = self._transactions.coordinator
        index = coordinator.partition_of(writer.transactional_id)
        leader = -1 if index is None else self._replicas.leader_of(coordinator.topic, index)[0]
        if leader < 0:
            answered(dict.fromkeys(partitions, ErrorCode.COORDINATOR_NOT_AVAILABLE))
        elif leader == self._replicas.node_id:
            adds = writer.consent is Consent.ADDED
            ask = self._transactions.add_partitions if adds else self._transactions.verify_partitions
            ask(writer.transactional_id, writer.producer_id, writer.producer_epoch, partitions, answered)
        else:
            self._others.ask(leader, writer, partitions, answered)


def _as_client_knows(code: ErrorCode, consent: Consent) -> ErrorCode:
    if code is ErrorCode.PRODUCER_FENCED:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    if code is ErrorCode.TRANSACTION_ABORTABLE and consent is Consent.CHECKED:
        return ErrorCode.INVALID_TXN_STATE
    return code


class _Question(NamedTuple):
    writer: Writer
    partitions: Collection[TopicPartition]
    answered: Callable[[Codes], None]

    def fail(self, code: ErrorCode) -> None:
        self.answered(dict.fromkeys(self.partitions, code))


class _OtherCoordinators:
    """Questions to other brokers, by node id."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers
        self._waiting: dict[int, list[_Question]] = {}
        """A node is in here while a request to it is under way."""

    def ask(
        self, node_id: int, writer: Writer, partitions: Collection[TopicPartition], answered: Callable[[Codes], None]
    ) -> None:
        question = _Question(writer, partitions, answered)
        waiting = self._waiting.get(node_id)
        if waiting is not None:
            waiting.append(question)
            return
        self._waiting[node_id] = []
        self._send(node_id, [question])

    def _send(self, node_id: int, questions: list[_Question]) -> None:
        """One per transactional id: a request holds no more. The others wait for the next."""
        asked = {question.writer.transactional_id: question for question in reversed(questions)}
        first = list(asked.values())
        self._waiting[node_id] += [question for question in questions if question not in first]
        request = AddPartitionsToTxnRequest(transactions=[_asked(question) for question in first])
        self._peers.send(node_id, request, partial(self._on_answer, node_id, first), lane=Lane.TRANSACTIONS)

    def _on_answer(
        self,
        node_id: int,
        questions: list[_Question],
        response: AddPartitionsToTxnResponse | None,
        error: PeerError | None,
    ) -> None:
        waiting = self._waiting.pop(node_id)
        if waiting:
            self._waiting[node_id] = []
            self._send(node_id, waiting)
        codes = {} if response is None else _codes(response)
        failed = ErrorCode.NETWORK_EXCEPTION if response is None else error_code(response.error_code)
        for question in questions:
            told = codes.get(question.writer.transactional_id)
            if told is None:
                question.fail(failed or ErrorCode.NETWORK_EXCEPTION)
            else:
                question.answered(
                    {where: told.get(where, ErrorCode.NETWORK_EXCEPTION) for where in question.partitions}
                )


def _asked(question: _Question) -> Asked:
    topics: dict[str, list[int]] = {}
    for topic, index in question.partitions:
        topics.setdefault(topic, []).append(index)
    writer = question.writer
    return Asked(
        transactional_id=writer.transactional_id,
        producer_id=writer.producer_id,
        producer_epoch=writer.producer_epoch,
        verify_only=writer.consent is not Consent.ADDED,
        topics=[Topic(name=name, partitions=indexes) for name, indexes in topics.items()],
    )


def _codes(response: AddPartitionsToTxnResponse) -> dict[str, Codes]:
    return {
        result.transactional_id: {
            (topic.name, each.partition_index): error_code(each.partition_error_code)
            for topic in result.topic_results
            for each in topic.results_by_partition
        }
        for result in response.results_by_transaction
    }
