"""Heartbeat: a member of a group is alive, and learns of a rebalance by the error.

Versions 0-4. While the group is still being loaded the answer is success: a member has done its part, and its session
begins when loading ends.
"""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import HeartbeatRequest, HeartbeatResponse
from pybroker_server.handlers.coordination import ask
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Reply, RequestContext
from pybroker_server.handlers.services import Services


def _refuse(code: ErrorCode) -> HeartbeatResponse:
    return HeartbeatResponse(error_code=ErrorCode.NONE if code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS else code)


@handles(ApiKey.HEARTBEAT, 0, 4)
def handle_heartbeat(services: Services, context: RequestContext, request: HeartbeatRequest) -> Reply:
    """See the head of this file."""
    if not request.group_id:
        return _refuse(ErrorCode.INVALID_GROUP_ID)
    return ask(
        services.groups,
        request.group_id,
        lambda shard, effects, reply: shard.heartbeat(effects, reply, request),
        _refuse,
    )
