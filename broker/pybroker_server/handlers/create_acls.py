"""CreateAcls (key 30), versions 1 to 3: adds access rules (KIP-140)."""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import CreateAclsRequest, CreateAclsResponse
from pybroker_server.handlers.no_authorizer import NO_AUTHORIZER
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services


@handles(ApiKey.CREATE_ACLS, 1, 3)
def handle_create_acls(services: Services, context: RequestContext, request: CreateAclsRequest) -> CreateAclsResponse:
    refused = CreateAclsResponse.AclCreationResult(error_code=ErrorCode.SECURITY_DISABLED, error_message=NO_AUTHORIZER)
    return CreateAclsResponse(results=[refused] * len(request.creations))
