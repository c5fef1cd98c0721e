"""EndTxn: commit or abort a transaction (KIP-98). Versions 0-5.

Answered when the decision is stored; the markers follow. v2 says PRODUCER_FENCED (KIP-588). v5 stands for transaction
version 2 (KIP-890): the answer has the epoch, at the end of epochs also the producer id, of the next transaction.
"""

from __future__ import annotations

from typing import Final

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import EndTxnRequest, EndTxnResponse
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.effects import Reply as CoordinatorReply
from pybroker_server.coordinator.transaction.shard import TransactionShard
from pybroker_server.coordinator.transaction.transaction import EPOCH_PER_TRANSACTION, ProducerIdAndEpoch
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Pending, Reply, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.handlers.transaction_codes import code_for_version

_FENCED_FROM: Final = 2
_EPOCH_BUMP_FROM: Final = 5


@handles(ApiKey.END_TXN, 0, 5)
def handle_end_txn(services: Services, context: RequestContext, request: EndTxnRequest) -> Reply:
    version = context.api_version
    if not request.transactional_id:
        return EndTxnResponse(error_code=ErrorCode.INVALID_REQUEST)
    pending: Pending[EndTxnResponse] = Pending()

    def complete(ended: ProducerIdAndEpoch | ErrorCode) -> None:
        if isinstance(ended, ErrorCode):
            pending.complete(EndTxnResponse(error_code=code_for_version(ended, version, _FENCED_FROM)))
        else:
            pending.complete(EndTxnResponse(producer_id=ended.producer_id, producer_epoch=ended.epoch))

    def end(shard: TransactionShard, effects: Effects, reply: CoordinatorReply[ProducerIdAndEpoch | ErrorCode]) -> None:
        shard.end(
            effects,
            reply,
            request.transactional_id,
            ProducerIdAndEpoch(request.producer_id, request.producer_epoch),
            commit=request.committed,
            client_version=EPOCH_PER_TRANSACTION if version >= _EPOCH_BUMP_FROM else 0,
        )

    answer: CoordinatorReply[ProducerIdAndEpoch | ErrorCode] = CoordinatorReply(complete, lambda code: code)
    services.transactions.coordinator.run(request.transactional_id, end, answer)
    return pending
