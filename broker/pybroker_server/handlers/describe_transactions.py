"""DescribeTransactions: the state of transactional ids (KIP-664). Version 0."""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import DescribeTransactionsRequest, DescribeTransactionsResponse
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.effects import Reply as CoordinatorReply
from pybroker_server.coordinator.transaction.records import by_topic
from pybroker_server.coordinator.transaction.shard import TransactionShard
from pybroker_server.coordinator.transaction.transaction import Transaction
from pybroker_server.handlers.coordination import Gather
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Reply, RequestContext
from pybroker_server.handlers.services import Services

Described = DescribeTransactionsResponse.TransactionState
TopicData = DescribeTransactionsResponse.TopicData

_Gather = Gather[Described, DescribeTransactionsResponse]


@handles(ApiKey.DESCRIBE_TRANSACTIONS, 0, 0)
def handle_describe_transactions(
    services: Services, context: RequestContext, request: DescribeTransactionsRequest
) -> Reply:
    gather: _Gather = Gather(lambda found: DescribeTransactionsResponse(transaction_states=list(found)))
    for transactional_id in request.transactional_ids:
        _describe(services, gather, transactional_id)
    return gather.seal()


def _describe(services: Services, gather: _Gather, transactional_id: str) -> None:
    reply = gather.reply(lambda code: Described(transactional_id=transactional_id, error_code=code))
    if not transactional_id:
        reply.fail(ErrorCode.INVALID_REQUEST)
        return

    def complete(found: Transaction | ErrorCode) -> None:
        if isinstance(found, ErrorCode):
            reply.fail(found)
        else:
            reply.complete(_described(found))

    def describe(shard: TransactionShard, effects: Effects, own: CoordinatorReply[Transaction | ErrorCode]) -> None:
        shard.describe(effects, own, transactional_id)

    answer: CoordinatorReply[Transaction | ErrorCode] = CoordinatorReply(complete, lambda code: code)
    services.transactions.coordinator.run(transactional_id, describe, answer)


def _described(found: Transaction) -> Described:
    return Described(
        transactional_id=found.transactional_id,
        transaction_state=found.state.label,
        transaction_timeout_ms=found.timeout_ms,
        transaction_start_time_ms=found.start_ms,
        producer_id=found.producer_id,
        producer_epoch=found.producer_epoch,
        topics=[TopicData(topic=topic, partitions=indexes) for topic, indexes in by_topic(found.partitions).items()],
    )
