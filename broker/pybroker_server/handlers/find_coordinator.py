"""FindCoordinator: the broker that coordinates a group, a transactional id or a share partition.

Versions 0-6. v1 key types, v4 many keys at once (KIP-699), v6 share partitions (KIP-932). The coordinator of a key
leads the partition of an internal topic that the key's hash says. While that topic does not exist it is made, and the
answer is COORDINATOR_NOT_AVAILABLE, upon which clients try again. Share coordinators are not served yet: their
well-formed keys get the same answer.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import FindCoordinatorRequest, FindCoordinatorResponse
from pybroker_server.coordinator.host import CoordinatorHost
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services

_BATCHED_FROM = 4
_SHARE_FROM = 6


class KeyType(IntEnum):
    GROUP = 0
    TRANSACTION = 1
    SHARE = 2


class _Found(NamedTuple):
    error_code: ErrorCode
    node_id: int = -1
    host: str = ""
    port: int = -1


_NOT_AVAILABLE = _Found(ErrorCode.COORDINATOR_NOT_AVAILABLE)


@handles(ApiKey.FIND_COORDINATOR, 0, 6)
def handle_find_coordinator(
    services: Services, context: RequestContext, request: FindCoordinatorRequest
) -> FindCoordinatorResponse:
    if context.api_version < _BATCHED_FROM:
        found = _find(services, context, request.key, request.key_type)
        return FindCoordinatorResponse(
            error_code=found.error_code,
            error_message=found.error_code.message,
            node_id=found.node_id,
            host=found.host,
            port=found.port,
        )
    coordinators = []
    for key in request.coordinator_keys:
        found = _find(services, context, key, request.key_type)
        coordinators.append(
            FindCoordinatorResponse.Coordinator(
                key=key,
                node_id=found.node_id,
                host=found.host,
                port=found.port,
                error_code=found.error_code,
                error_message=found.error_code.message,
            )
        )
    return FindCoordinatorResponse(coordinators=coordinators)


def _find(services: Services, context: RequestContext, key: str, key_type: int) -> _Found:
    if key_type == KeyType.GROUP:
        return _find_at(services, context, services.groups, key)
    if key_type == KeyType.TRANSACTION:
        return _find_at(services, context, services.transactions.coordinator, key)
    if key_type == KeyType.SHARE and context.api_version >= _SHARE_FROM and len(key.split(":")) == 3:
        return _NOT_AVAILABLE
    return _Found(ErrorCode.INVALID_REQUEST)


def _find_at(services: Services, context: RequestContext, coordinator: CoordinatorHost[Any], key: str) -> _Found:
    image = services.metadata.image
    index = coordinator.partition_of(key)
    if index is None:
        services.controller.auto_create_topics([coordinator.topic], services.config)
        return _NOT_AVAILABLE
    registration = image.partition(coordinator.topic, index)
    broker = image.brokers.get(registration.leader) if registration is not None else None
    endpoint = None if broker is None or broker.fenced else services.endpoint_of(broker, context.connection)
    if broker is None or endpoint is None:
        return _NOT_AVAILABLE
    return _Found(ErrorCode.NONE, broker.node_id, endpoint.host, endpoint.port)
