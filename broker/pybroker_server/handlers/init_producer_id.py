"""InitProducerId: the id and epoch by which a producer's retries and transactions are known (KIP-98, KIP-360).

Versions 0-5; v3 names the id and epoch that the producer has, v4 says PRODUCER_FENCED (KIP-588). Without a
transactional id a producer always gets a fresh id with epoch 0. With one, it gets the next epoch of that id's, older
producers are fenced, and a transaction that they left open is aborted first: meanwhile it is told
CONCURRENT_TRANSACTIONS.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import InitProducerIdRequest, InitProducerIdResponse
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.effects import Reply as CoordinatorReply
from pybroker_server.coordinator.transaction.shard import TransactionShard
from pybroker_server.coordinator.transaction.transaction import NO_PRODUCER_ID, ProducerIdAndEpoch
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Pending, Reply, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.handlers.transaction_codes import code_for_version

_FENCED_FROM: Final = 4


@handles(ApiKey.INIT_PRODUCER_ID, 0, 5)
def handle_init_producer_id(services: Services, context: RequestContext, request: InitProducerIdRequest) -> Reply:
    version = context.api_version
    code = _refusal(services, request)
    if code is not ErrorCode.NONE:
        return _refused(version, code)
    pending: Pending[InitProducerIdResponse] = Pending()
    # A new transactional id, or one at the end of its epochs, needs a producer id too.
    services.producer_ids.when_ready(partial(_go_on, services, version, request, pending))
    return pending


def _refusal(services: Services, request: InitProducerIdRequest) -> ErrorCode:
    if (request.producer_id == -1) != (request.producer_epoch == -1):
        return ErrorCode.INVALID_REQUEST
    if request.transactional_id is None:
        return ErrorCode.NONE
    if not request.transactional_id:
        return ErrorCode.INVALID_REQUEST
    if not 0 < request.transaction_timeout_ms <= services.config.transaction_max_timeout_ms:
        return ErrorCode.INVALID_TRANSACTION_TIMEOUT
    return ErrorCode.NONE


def _go_on(
    services: Services,
    version: int,
    request: InitProducerIdRequest,
    pending: Pending[InitProducerIdResponse],
    error: KafkaError | None,
) -> None:
    transactional_id = request.transactional_id
    if transactional_id is None:
        if error is None:
            pending.complete(InitProducerIdResponse(producer_id=services.producer_ids.take(), producer_epoch=0))
        else:
            # Kafka's answer while it has no block of ids; idempotent producers try again.
            pending.complete(_refused(version, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS))
        return
    expected = None
    if request.producer_id != NO_PRODUCER_ID:
        expected = ProducerIdAndEpoch(request.producer_id, request.producer_epoch)

    def complete(given: ProducerIdAndEpoch | ErrorCode) -> None:
        if isinstance(given, ErrorCode):
            pending.complete(_refused(version, given))
        else:
            pending.complete(InitProducerIdResponse(producer_id=given.producer_id, producer_epoch=given.epoch))

    def init(
        shard: TransactionShard, effects: Effects, reply: CoordinatorReply[ProducerIdAndEpoch | ErrorCode]
    ) -> None:
        shard.init_producer_id(effects, reply, transactional_id, request.transaction_timeout_ms, expected)

    answer: CoordinatorReply[ProducerIdAndEpoch | ErrorCode] = CoordinatorReply(complete, lambda code: code)
    services.transactions.coordinator.run(transactional_id, init, answer)


def _refused(version: int, code: ErrorCode) -> InitProducerIdResponse:
    return InitProducerIdResponse(
        error_code=code_for_version(code, version, _FENCED_FROM), producer_id=-1, producer_epoch=-1
    )
