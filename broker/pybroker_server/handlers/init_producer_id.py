"""InitProducerId: an id by which the broker tells a producer's retries from its new batches (KIP-98).

Versions 0-5. An idempotent producer (no transactional id) always gets a fresh id with epoch 0, also when it
comes with an older one (KIP-360, v3). Transaction coordinators are not served yet: a transactional id is
answered COORDINATOR_NOT_AVAILABLE, upon which clients look for the coordinator again.
"""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import InitProducerIdRequest, InitProducerIdResponse
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services


@handles(ApiKey.INIT_PRODUCER_ID, 0, 5)
async def handle_init_producer_id(
    services: Services, context: RequestContext, request: InitProducerIdRequest
) -> InitProducerIdResponse:
    code = _refusal(services, request)
    if code is not ErrorCode.NONE:
        return InitProducerIdResponse(error_code=code, producer_id=-1, producer_epoch=-1)
    try:
        producer_id = await services.producer_ids.next()
    except KafkaError:
        # Kafka's answer while it has no block of ids; idempotent producers try again.
        code = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        return InitProducerIdResponse(error_code=code, producer_id=-1, producer_epoch=-1)
    return InitProducerIdResponse(producer_id=producer_id, producer_epoch=0)


def _refusal(services: Services, request: InitProducerIdRequest) -> ErrorCode:
    if (request.producer_id == -1) != (request.producer_epoch == -1):
        return ErrorCode.INVALID_REQUEST
    if request.transactional_id is None:
        return ErrorCode.NONE
    if not request.transactional_id:
        return ErrorCode.INVALID_REQUEST
    if not 0 < request.transaction_timeout_ms <= services.config.transaction_max_timeout_ms:
        return ErrorCode.INVALID_TRANSACTION_TIMEOUT
    return ErrorCode.COORDINATOR_NOT_AVAILABLE
