"""ConsumerGroupDescribe: state, members and assignments of consumer groups (KIP-848).

Versions 0-1. v1 member types (KIP-1099). A classic group is GROUP_ID_NOT_FOUND here: clients ask DescribeGroups then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.effects import Reply as CoordinatorReply
from pybroker_server.handlers.authorized_operations import on_group
from pybroker_server.handlers.coordination import Gather
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Reply, RequestContext
from pybroker_server.handlers.services import Services

if TYPE_CHECKING:
    from pybroker_server.coordinator.group.shard import GroupShard

DescribedGroup = ConsumerGroupDescribeResponse.DescribedGroup
_Gather = Gather[DescribedGroup, ConsumerGroupDescribeResponse]


@handles(ApiKey.CONSUMER_GROUP_DESCRIBE, 0, 1)
def handle_consumer_group_describe(
    services: Services, context: RequestContext, request: ConsumerGroupDescribeRequest
) -> Reply:
    """See the head of this file."""

    def finish(groups: Sequence[DescribedGroup]) -> ConsumerGroupDescribeResponse:
        return ConsumerGroupDescribeResponse(groups=list(groups))

    gather: _Gather = Gather(finish)
    for group_id in request.group_ids:
        _describe(services, gather, group_id, asked=request.include_authorized_operations)
    return gather.seal()


def _describe(services: Services, gather: _Gather, group_id: str, *, asked: bool) -> None:
    def refuse(code: ErrorCode, text: str | None = None) -> DescribedGroup:
        return DescribedGroup(group_id=group_id, error_code=code, error_message=text or code.message)

    def describe(shard: GroupShard, effects: Effects, reply: CoordinatorReply[DescribedGroup]) -> None:
        # Here, as the coordinator's parts are loaded after the broker is ready.
        from pybroker_server.coordinator.group.consumer.describe import described

        context = shard.context
        found = described(shard.consumer.find(group_id), context.image, context.config.group_consumer_assignors[0])
        found.authorized_operations = on_group(asked)
        effects.answer(reply, found)

    def explain(error: KafkaError) -> DescribedGroup:
        return refuse(error.code, error.message)

    if not group_id:
        gather.reply(refuse).complete(DescribedGroup(group_id=group_id, error_code=ErrorCode.INVALID_GROUP_ID))
    else:
        services.groups.run(group_id, describe, gather.reply(refuse, explain))
