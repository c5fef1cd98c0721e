"""DescribeGroups: state and members of classic groups.

Versions 0-6. v3 authorised operations (KIP-430), v6 an error for what is no classic group (KIP-1043).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import DescribeGroupsRequest, DescribeGroupsResponse
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.effects import Reply as CoordinatorReply
from pybroker_server.handlers.authorized_operations import on_group
from pybroker_server.handlers.coordination import Gather
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Reply, RequestContext
from pybroker_server.handlers.services import Services

if TYPE_CHECKING:
    from pybroker_server.coordinator.group.shard import GroupShard

DescribedGroup = DescribeGroupsResponse.DescribedGroup


@handles(ApiKey.DESCRIBE_GROUPS, 0, 6)
def handle_describe_groups(services: Services, context: RequestContext, request: DescribeGroupsRequest) -> Reply:
    """See the head of this file."""
    gather: Gather[DescribedGroup, DescribeGroupsResponse] = Gather(
        lambda groups: DescribeGroupsResponse(groups=list(groups))
    )
    for group_id in request.groups:
        _describe(services, gather, group_id, context.api_version, asked=request.include_authorized_operations)
    return gather.seal()


def _describe(
    services: Services,
    gather: Gather[DescribedGroup, DescribeGroupsResponse],
    group_id: str,
    version: int,
    *,
    asked: bool,
) -> None:
    def describe(shard: GroupShard, effects: Effects, reply: CoordinatorReply[DescribedGroup]) -> None:
        described = shard.catalogue.describe(group_id, version)
        if described.error_code == ErrorCode.NONE:
            described.authorized_operations = on_group(asked)
        effects.answer(reply, described)

    def refuse(code: ErrorCode) -> DescribedGroup:
        return DescribedGroup(group_id=group_id, error_code=code)

    services.groups.run(group_id, describe, gather.reply(refuse))
