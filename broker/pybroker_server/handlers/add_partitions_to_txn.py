"""AddPartitionsToTxn: partitions become part of a transaction. Versions 0-5.

v0-3 come from clients, with one transaction; v2 says PRODUCER_FENCED (KIP-588). v4-5 come from brokers (KIP-890), with
many, each of which may only be asked about (`verify_only`). Of one transaction all partitions are added or none: when
one does not exist, the others are OPERATION_NOT_ATTEMPTED.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import AddPartitionsToTxnRequest, AddPartitionsToTxnResponse
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.effects import Reply as CoordinatorReply
from pybroker_server.coordinator.transaction.shard import TransactionShard
from pybroker_server.coordinator.transaction.transaction import (
    EPOCH_PER_TRANSACTION,
    ProducerIdAndEpoch,
    TopicPartition,
)
from pybroker_server.handlers.coordination import Gather
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Reply, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.handlers.transaction_codes import code_for_version
from pybroker_server.metadata.image import INTERNAL_TOPICS

Topic = AddPartitionsToTxnRequest.AddPartitionsToTxnTopic
TopicResult = AddPartitionsToTxnResponse.AddPartitionsToTxnTopicResult
PartitionResult = AddPartitionsToTxnResponse.AddPartitionsToTxnPartitionResult
Transaction = AddPartitionsToTxnRequest.AddPartitionsToTxnTransaction

_BATCHED_FROM: Final = 4
_FENCED_FROM: Final = 2

_Codes = Mapping[TopicPartition, ErrorCode]


def refuse_all(
    context: RequestContext, request: AddPartitionsToTxnRequest, code: ErrorCode
) -> AddPartitionsToTxnResponse:
    """A response that says `code` of everything asked."""
    if context.api_version >= _BATCHED_FROM:
        return AddPartitionsToTxnResponse(error_code=code)
    topics = request.v3_and_below_topics
    codes = dict.fromkeys(_partitions(topics), code)
    return AddPartitionsToTxnResponse(results_by_topic_v3_and_below=_results(codes))


@handles(ApiKey.ADD_PARTITIONS_TO_TXN, 0, 5, error_response=refuse_all)
def handle_add_partitions_to_txn(
    services: Services, context: RequestContext, request: AddPartitionsToTxnRequest
) -> Reply:
    version = context.api_version
    if version >= _BATCHED_FROM:
        transactions = request.transactions
        gather: Gather[_Codes, AddPartitionsToTxnResponse] = Gather(lambda found: _batched(transactions, found))
        for transaction in transactions:
            _ask(services, gather, transaction, EPOCH_PER_TRANSACTION)
        return gather.seal()
    return _ask_for_client(services, request, version)


def _ask_for_client(services: Services, request: AddPartitionsToTxnRequest, version: int) -> Reply:
    """Topics of the broker's own are not for clients. The answer repeats what was asked."""
    only = Transaction(
        transactional_id=request.v3_and_below_transactional_id,
        producer_id=request.v3_and_below_producer_id,
        producer_epoch=request.v3_and_below_producer_epoch,
        topics=request.v3_and_below_topics,
    )
    partitions = _partitions(only.topics)
    own = [where for where in partitions if where[0] in INTERNAL_TOPICS]
    if own:
        codes = _refused(services, partitions) | dict.fromkeys(own, ErrorCode.TOPIC_AUTHORIZATION_FAILED)
        return AddPartitionsToTxnResponse(results_by_topic_v3_and_below=_results(codes))

    def finish(found: Sequence[_Codes]) -> AddPartitionsToTxnResponse:
        codes = {where: code_for_version(code, version, _FENCED_FROM) for where, code in found[0].items()}
        return AddPartitionsToTxnResponse(
            results_by_topic_v3_and_below=[
                TopicResult(
                    name=topic.name,
                    results_by_partition=[
                        PartitionResult(partition_index=index, partition_error_code=codes[topic.name, index])
                        for index in topic.partitions
                    ],
                )
                for topic in only.topics
            ]
        )

    gather: Gather[_Codes, AddPartitionsToTxnResponse] = Gather(finish)
    _ask(services, gather, only, 0)
    return gather.seal()


def _ask(
    services: Services,
    gather: Gather[_Codes, AddPartitionsToTxnResponse],
    transaction: Transaction,
    client_version: int,
) -> None:
    partitions = _partitions(transaction.topics)
    reply = gather.reply(lambda code: dict.fromkeys(partitions, code))
    codes = _refused(services, partitions)
    if ErrorCode.UNKNOWN_TOPIC_OR_PARTITION in codes.values():
        reply.complete(codes)
        return
    transactional_id = transaction.transactional_id
    if not transactional_id:
        reply.fail(ErrorCode.INVALID_REQUEST)
        return
    producer = ProducerIdAndEpoch(transaction.producer_id, transaction.producer_epoch)
    coordinator = services.transactions.coordinator

    def verify(shard: TransactionShard, effects: Effects, own: CoordinatorReply[_Codes]) -> None:
        shard.verify_partitions(effects, own, transactional_id, producer, partitions)

    def add(shard: TransactionShard, effects: Effects, own: CoordinatorReply[ErrorCode]) -> None:
        shard.add_partitions(effects, own, transactional_id, producer, partitions, client_version)

    if transaction.verify_only:
        coordinator.run(transactional_id, verify, reply)
    else:
        coordinator.run(transactional_id, add, CoordinatorReply(reply.fail, lambda code: code))


def _refused(services: Services, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, ErrorCode]:
    """The codes when one of them cannot be added: those that do not exist are named, the others not tried."""
    image = services.metadata.image
    return {
        where: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if image.partition(*where) is None
        else ErrorCode.OPERATION_NOT_ATTEMPTED
        for where in partitions
    }


def _partitions(topics: Sequence[Topic]) -> list[TopicPartition]:
    """Each once."""
    return list(dict.fromkeys((topic.name, index) for topic in topics for index in topic.partitions))


def _batched(transactions: Sequence[Transaction], found: Sequence[_Codes]) -> AddPartitionsToTxnResponse:
    return AddPartitionsToTxnResponse(
        results_by_transaction=[
            AddPartitionsToTxnResponse.AddPartitionsToTxnResult(
                transactional_id=transaction.transactional_id, topic_results=_results(codes)
            )
            for transaction, codes in zip(transactions, found, strict=True)
        ]
    )


def _results(codes: _Codes) -> list[TopicResult]:
    by_topic: dict[str, list[PartitionResult]] = {}
    for (topic, index), code in codes.items():
        by_topic.setdefault(topic, []).append(PartitionResult(partition_index=index, partition_error_code=code))
    return [TopicResult(name=topic, results_by_partition=results) for topic, results in by_topic.items()]
