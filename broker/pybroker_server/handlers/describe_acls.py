"""DescribeAcls (key 29), versions 1 to 3: the access rules that match a filter (KIP-140)."""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import DescribeAclsRequest, DescribeAclsResponse
from pybroker_server.handlers.no_authorizer import NO_AUTHORIZER
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services


@handles(ApiKey.DESCRIBE_ACLS, 1, 3)
def handle_describe_acls(
    services: Services, context: RequestContext, request: DescribeAclsRequest
) -> DescribeAclsResponse:
    return DescribeAclsResponse(error_code=ErrorCode.SECURITY_DISABLED, error_message=NO_AUTHORIZER)
