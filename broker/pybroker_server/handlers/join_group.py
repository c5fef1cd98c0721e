"""JoinGroup: become a member of a group; answered when the rebalance has gathered everyone.

Versions 0-9. v4 the member id is handed out first (KIP-394), v5 static members (KIP-345), v9 `skip_assignment`
(KIP-814).
"""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import JoinGroupRequest, JoinGroupResponse
from pybroker_server.handlers.coordination import ask, client_of
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Reply, RequestContext
from pybroker_server.handlers.services import Services


def _refuse(code: ErrorCode) -> JoinGroupResponse:
    return JoinGroupResponse(error_code=code)


@handles(ApiKey.JOIN_GROUP, 0, 9)
def handle_join_group(services: Services, context: RequestContext, request: JoinGroupRequest) -> Reply:
    """See the head of this file."""
    config = services.config
    if not request.group_id:
        return JoinGroupResponse(member_id=request.member_id, error_code=ErrorCode.INVALID_GROUP_ID)
    if not config.group_min_session_timeout_ms <= request.session_timeout_ms <= config.group_max_session_timeout_ms:
        return JoinGroupResponse(member_id=request.member_id, error_code=ErrorCode.INVALID_SESSION_TIMEOUT)
    client, version = client_of(context), context.api_version
    return ask(
        services.groups,
        request.group_id,
        lambda shard, effects, reply: shard.join(effects, reply, request, client, version),
        _refuse,
    )
