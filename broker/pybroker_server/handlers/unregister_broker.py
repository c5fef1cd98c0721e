"""UnregisterBroker: forgets a broker that is gone for good (KIP-500).

Version 0. Until then a broker that is away counts as one that will be back. One that is alive registers anew.
"""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import KafkaError
from pybroker_protocol.messages import UnregisterBrokerRequest, UnregisterBrokerResponse
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services


@handles(ApiKey.UNREGISTER_BROKER, 0, 0)
async def handle_unregister_broker(
    services: Services, context: RequestContext, request: UnregisterBrokerRequest
) -> UnregisterBrokerResponse:
    try:
        await services.controller.unregister_broker(request.broker_id)
    except KafkaError as error:
        return UnregisterBrokerResponse(error_code=error.code, error_message=error.message)
    return UnregisterBrokerResponse(error_message=None)
