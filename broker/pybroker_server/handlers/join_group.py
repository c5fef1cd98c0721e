"""JoinGroup: become a member of a group; answered when the rebalance has gathered everyone.

Versions 0-9. v4 the member id is handed out first (KIP-394), v5 static members (KIP-345), v9 `skip_assignment`
(KIP-814).
"""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import JoinGroupRequest, JoinGroupResponse
from pybroker_server.coordinator.effects import Reply as CoordinatorReply
from pybroker_server.handlers.coordination import client_of
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Pending, Reply, RequestContext
from pybroker_server.handlers.services import Services

_NULL_PROTOCOL_FROM = 7


def _refuse(code: ErrorCode, member_id: str = "") -> JoinGroupResponse:
    return JoinGroupResponse(member_id=member_id, error_code=code, protocol_name=None)


@handles(ApiKey.JOIN_GROUP, 0, 9)
def handle_join_group(services: Services, context: RequestContext, request: JoinGroupRequest) -> Reply:
    """See the head of this file."""
    config, client, version = services.config, client_of(context), context.api_version
    pending: Pending[JoinGroupResponse] = Pending()

    def complete(response: JoinGroupResponse) -> None:
        if version < _NULL_PROTOCOL_FROM and response.protocol_name is None:
            response.protocol_name = ""
        pending.complete(response)

    if not request.group_id:
        complete(_refuse(ErrorCode.INVALID_GROUP_ID, request.member_id))
    elif not config.group_min_session_timeout_ms <= request.session_timeout_ms <= config.group_max_session_timeout_ms:
        complete(_refuse(ErrorCode.INVALID_SESSION_TIMEOUT, request.member_id))
    else:
        services.groups.run(
            request.group_id,
            lambda shard, effects, reply: shard.join(effects, reply, request, client, version),
            CoordinatorReply(complete, _refuse),
        )
    return pending
