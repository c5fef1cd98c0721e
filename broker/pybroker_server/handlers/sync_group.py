"""SyncGroup: the leader hands in the assignment, every member receives its part.

Versions 0-5. v5 protocol type and name must be given, and are checked (KIP-559).
"""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import SyncGroupRequest, SyncGroupResponse
from pybroker_server.handlers.coordination import ask
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Reply, RequestContext
from pybroker_server.handlers.services import Services

_PROTOCOL_FROM = 5


def _refuse(code: ErrorCode) -> SyncGroupResponse:
    return SyncGroupResponse(error_code=code)


@handles(ApiKey.SYNC_GROUP, 0, 5)
def handle_sync_group(services: Services, context: RequestContext, request: SyncGroupRequest) -> Reply:
    """See the head of this file."""
    if context.api_version >= _PROTOCOL_FROM and (request.protocol_type is None or request.protocol_name is None):
        return _refuse(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    if not request.group_id:
        return _refuse(ErrorCode.INVALID_GROUP_ID)
    return ask(
        services.groups,
        request.group_id,
        lambda shard, effects, reply: shard.sync(effects, reply, request),
        _refuse,
    )
