"""RenewDelegationToken (key 39), versions 1 to 2: prolongs a token (KIP-48). Refused as creating one is."""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import RenewDelegationTokenRequest, RenewDelegationTokenResponse
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services


@handles(ApiKey.RENEW_DELEGATION_TOKEN, 1, 2)
def handle_renew_delegation_token(
    services: Services, context: RequestContext, request: RenewDelegationTokenRequest
) -> RenewDelegationTokenResponse:
    return RenewDelegationTokenResponse(
        error_code=ErrorCode.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED, expiry_timestamp_ms=-1
    )
