"""ExpireDelegationToken (key 40), versions 1 to 2: ends a token, now or soon (KIP-48). Refused as creating one is."""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import ExpireDelegationTokenRequest, ExpireDelegationTokenResponse
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services


@handles(ApiKey.EXPIRE_DELEGATION_TOKEN, 1, 2)
def handle_expire_delegation_token(
    services: Services, context: RequestContext, request: ExpireDelegationTokenRequest
) -> ExpireDelegationTokenResponse:
    return ExpireDelegationTokenResponse(
        error_code=ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, expiry_timestamp_ms=-1
    )
