"""DeleteGroups: delete empty groups with their offsets (KIP-229). Versions 0-2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import DeleteGroupsRequest, DeleteGroupsResponse
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.effects import Reply as CoordinatorReply
from pybroker_server.handlers.coordination import Gather
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Reply, RequestContext
from pybroker_server.handlers.services import Services

if TYPE_CHECKING:
    from pybroker_server.coordinator.group.shard import GroupShard


@handles(ApiKey.DELETE_GROUPS, 0, 2)
def handle_delete_groups(services: Services, context: RequestContext, request: DeleteGroupsRequest) -> Reply:
    """A group that is named twice is deleted, and answered, once."""
    names = list(dict.fromkeys(request.groups_names))

    def finish(codes: Sequence[ErrorCode]) -> DeleteGroupsResponse:
        return DeleteGroupsResponse(
            results=[
                DeleteGroupsResponse.DeletableGroupResult(group_id=name, error_code=code)
                for name, code in zip(names, codes, strict=True)
            ]
        )

    gather: Gather[ErrorCode, DeleteGroupsResponse] = Gather(finish)
    for name in names:
        _delete(services, gather, name)
    return gather.seal()


def _delete(services: Services, gather: Gather[ErrorCode, DeleteGroupsResponse], group_id: str) -> None:
    def delete(shard: GroupShard, effects: Effects, reply: CoordinatorReply[ErrorCode]) -> None:
        shard.catalogue.delete(effects, reply, group_id)

    services.groups.run(group_id, delete, gather.reply(lambda code: code))
