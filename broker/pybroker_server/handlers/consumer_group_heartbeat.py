"""ConsumerGroupHeartbeat: the whole membership of a consumer group in one request (KIP-848).

Versions 0-1. v1 subscriptions by pattern, and member ids made by the client (KIP-1082).
"""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse
from pybroker_server.coordinator.effects import Reply as CoordinatorReply
from pybroker_server.handlers.coordination import client_of
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Pending, Reply, RequestContext
from pybroker_server.handlers.services import Services


def _explain(error: KafkaError) -> ConsumerGroupHeartbeatResponse:
    return ConsumerGroupHeartbeatResponse(error_code=error.code, error_message=error.message)


def _refuse(code: ErrorCode) -> ConsumerGroupHeartbeatResponse:
    return ConsumerGroupHeartbeatResponse(error_code=code, error_message=code.message)


@handles(ApiKey.CONSUMER_GROUP_HEARTBEAT, 0, 1)
def handle_consumer_group_heartbeat(
    services: Services, context: RequestContext, request: ConsumerGroupHeartbeatRequest
) -> Reply:
    """See the head of this file."""
    if "consumer" not in services.config.group_coordinator_rebalance_protocols:
        return _refuse(ErrorCode.UNSUPPORTED_VERSION)
    client, version = client_of(context), context.api_version
    pending: Pending[ConsumerGroupHeartbeatResponse] = Pending()
    services.groups.run(
        request.group_id,
        lambda shard, effects, reply: shard.consumer.heartbeat(effects, reply, request, client, version),
        CoordinatorReply(pending.complete, _refuse, _explain),
    )
    return pending
