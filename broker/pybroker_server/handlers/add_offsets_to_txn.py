"""AddOffsetsToTxn: the offsets of a group become part of a transaction: their partition of `__consumer_offsets` does.

Versions 0-4. v2 says PRODUCER_FENCED (KIP-588). Clients of transaction version 2 do without (KIP-890).
"""

from __future__ import annotations

from typing import Final

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import AddOffsetsToTxnRequest, AddOffsetsToTxnResponse
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.effects import Reply as CoordinatorReply
from pybroker_server.coordinator.java_hash import partition_for
from pybroker_server.coordinator.transaction.shard import TransactionShard
from pybroker_server.coordinator.transaction.transaction import ProducerIdAndEpoch
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Pending, Reply, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.handlers.transaction_codes import code_for_version

_FENCED_FROM: Final = 2


@handles(ApiKey.ADD_OFFSETS_TO_TXN, 0, 4)
def handle_add_offsets_to_txn(services: Services, context: RequestContext, request: AddOffsetsToTxnRequest) -> Reply:
    if not request.transactional_id:
        return AddOffsetsToTxnResponse(error_code=ErrorCode.INVALID_REQUEST)
    pending: Pending[AddOffsetsToTxnResponse] = Pending()

    def complete(code: ErrorCode) -> None:
        code = code_for_version(code, context.api_version, _FENCED_FROM)
        pending.complete(AddOffsetsToTxnResponse(error_code=code))

    producer = ProducerIdAndEpoch(request.producer_id, request.producer_epoch)
    partitions = [(services.groups.topic, _offsets_partition(services, request.group_id))]

    def add(shard: TransactionShard, effects: Effects, reply: CoordinatorReply[ErrorCode]) -> None:
        shard.add_partitions(effects, reply, request.transactional_id, producer, partitions, 0)

    services.transactions.coordinator.run(request.transactional_id, add, CoordinatorReply(complete, lambda code: code))
    return pending


def _offsets_partition(services: Services, group_id: str) -> int:
    """Also while the topic does not exist yet, as Kafka does."""
    known = services.groups.partition_of(group_id)
    if known is not None:
        return known
    count = services.config.settings.value("offsets.topic.num.partitions")
    assert isinstance(count, int)
    return partition_for(group_id, count)
