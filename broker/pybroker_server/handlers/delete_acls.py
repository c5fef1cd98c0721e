"""DeleteAcls (key 31), versions 1 to 3: removes the access rules that match filters (KIP-140)."""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import DeleteAclsRequest, DeleteAclsResponse
from pybroker_server.handlers.no_authorizer import NO_AUTHORIZER
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services


@handles(ApiKey.DELETE_ACLS, 1, 3)
def handle_delete_acls(services: Services, context: RequestContext, request: DeleteAclsRequest) -> DeleteAclsResponse:
    refused = DeleteAclsResponse.DeleteAclsFilterResult(
        error_code=ErrorCode.SECURITY_DISABLED, error_message=NO_AUTHORIZER
    )
    return DeleteAclsResponse(filter_results=[refused] * len(request.filters))
