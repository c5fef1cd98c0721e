"""FindCoordinator: the broker that coordinates a group, a transactional id or a share partition.

Versions 0-6. v1 key types, v4 many keys at once (KIP-699), v6 share partitions (KIP-932). Coordinators are
not served yet, so a well-formed key is answered COORDINATOR_NOT_AVAILABLE, upon which clients try again
later.
"""

from __future__ import annotations

from enum import IntEnum

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import FindCoordinatorRequest, FindCoordinatorResponse
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services

_BATCHED_FROM = 4


class KeyType(IntEnum):
    GROUP = 0
    TRANSACTION = 1
    SHARE = 2


@handles(ApiKey.FIND_COORDINATOR, 0, 6)
def handle_find_coordinator(
    services: Services, context: RequestContext, request: FindCoordinatorRequest
) -> FindCoordinatorResponse:
    if context.api_version < _BATCHED_FROM:
        code = _code_for(request.key, request.key_type, context.api_version)
        return FindCoordinatorResponse(error_code=code, error_message=code.message, node_id=-1, host="", port=-1)
    coordinators = []
    for key in request.coordinator_keys:
        code = _code_for(key, request.key_type, context.api_version)
        coordinators.append(
            FindCoordinatorResponse.Coordinator(
                key=key, node_id=-1, host="", port=-1, error_code=code, error_message=code.message
            )
        )
    return FindCoordinatorResponse(coordinators=coordinators)


def _code_for(key: str, key_type: int, version: int) -> ErrorCode:
    if key_type in (KeyType.GROUP, KeyType.TRANSACTION):
        return ErrorCode.COORDINATOR_NOT_AVAILABLE
    if key_type == KeyType.SHARE and version >= 6 and len(key.split(":")) == 3:
        return ErrorCode.COORDINATOR_NOT_AVAILABLE
    return ErrorCode.INVALID_REQUEST
