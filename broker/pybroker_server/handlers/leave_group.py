"""LeaveGroup: remove members from a group.

Versions 0-5; up to v2 one member, later several with a code each (KIP-345).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import LeaveGroupRequest, LeaveGroupResponse
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.effects import Reply as CoordinatorReply
from pybroker_server.handlers.coordination import Gather
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Reply, RequestContext
from pybroker_server.handlers.services import Services

if TYPE_CHECKING:
    from pybroker_server.coordinator.group.shard import GroupShard

_BATCHED_FROM = 3


@handles(ApiKey.LEAVE_GROUP, 0, 5)
def handle_leave_group(services: Services, context: RequestContext, request: LeaveGroupRequest) -> Reply:
    """See the head of this file."""
    is_batched = context.api_version >= _BATCHED_FROM
    if not is_batched:
        request.members = [LeaveGroupRequest.MemberIdentity(member_id=request.member_id)]
    if not request.group_id:
        return LeaveGroupResponse(error_code=ErrorCode.INVALID_GROUP_ID)

    def refuse(code: ErrorCode) -> LeaveGroupResponse:
        if code is not ErrorCode.UNKNOWN_MEMBER_ID:
            return LeaveGroupResponse(error_code=code)
        return LeaveGroupResponse(
            members=[
                LeaveGroupResponse.MemberResponse(
                    member_id=each.member_id, group_instance_id=each.group_instance_id, error_code=code
                )
                for each in request.members
            ]
        )

    def finish(answers: Sequence[LeaveGroupResponse]) -> LeaveGroupResponse:
        response = answers[0]
        if not is_batched and not response.error_code:
            return LeaveGroupResponse(error_code=response.members[0].error_code)
        return response

    def leave(shard: GroupShard, effects: Effects, reply: CoordinatorReply[LeaveGroupResponse]) -> None:
        shard.leave(effects, reply, request)

    gather: Gather[LeaveGroupResponse, LeaveGroupResponse] = Gather(finish)
    services.groups.run(request.group_id, leave, gather.reply(refuse))
    return gather.seal()
