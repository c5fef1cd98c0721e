"""ListGroups: the groups that this broker coordinates. Versions 0-5; v4 by state (KIP-518), v5 by type (KIP-848)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import ListGroupsRequest, ListGroupsResponse
from pybroker_server.handlers.coordination import Gather
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Reply, RequestContext
from pybroker_server.handlers.services import Services

if TYPE_CHECKING:
    from pybroker_server.coordinator.group.catalogue import ListedGroup

_Answer: TypeAlias = "Sequence[ListedGroup] | ErrorCode"


@handles(ApiKey.LIST_GROUPS, 0, 5)
def handle_list_groups(services: Services, context: RequestContext, request: ListGroupsRequest) -> Reply:
    """A partition that is still being loaded makes the whole answer COORDINATOR_LOAD_IN_PROGRESS."""
    states = frozenset(state.lower() for state in request.states_filter)
    kinds = frozenset(kind.lower() for kind in request.types_filter)
    gather: Gather[_Answer, ListGroupsResponse] = Gather(_finish)
    for index in services.groups.partitions:
        services.groups.run_at(
            index,
            lambda shard, effects, reply: effects.answer(reply, shard.catalogue.listed(states, kinds)),
            gather.reply(_refusal),
        )
    return gather.seal()


def _refusal(code: ErrorCode) -> _Answer:
    """A partition that went to another broker in this moment has nothing to list."""
    return [] if code is ErrorCode.NOT_COORDINATOR else code


def _finish(answers: Sequence[_Answer]) -> ListGroupsResponse:
    groups = []
    for answer in answers:
        if isinstance(answer, ErrorCode):
            return ListGroupsResponse(error_code=answer)
        groups += [
            ListGroupsResponse.ListedGroup(
                group_id=group.group_id,
                protocol_type=group.protocol_type,
                group_state=group.state,
                group_type=group.kind,
            )
            for group in answer
        ]
    return ListGroupsResponse(groups=groups)
