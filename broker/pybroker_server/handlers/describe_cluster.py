"""DescribeCluster: the brokers, and which of them takes admin requests (KIP-700).

Versions 0-2. v1 asks for brokers or controllers (KIP-919); brokers serve brokers only. v2 may ask for fenced
brokers as well (KIP-1073).
"""

from __future__ import annotations

from typing import Final

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import DescribeClusterRequest, DescribeClusterResponse
from pybroker_server.handlers.authorized_operations import on_cluster
from pybroker_server.handlers.partition_views import controller_for, reachable_brokers
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services

BROKERS: Final = 1
CONTROLLERS: Final = 2


@handles(ApiKey.DESCRIBE_CLUSTER, 0, 2)
def handle_describe_cluster(
    services: Services, context: RequestContext, request: DescribeClusterRequest
) -> DescribeClusterResponse:
    if request.endpoint_type == CONTROLLERS:
        return _refused(ErrorCode.MISMATCHED_ENDPOINT_TYPE, "this is a broker's endpoint, not a controller's")
    if request.endpoint_type != BROKERS:
        return _refused(ErrorCode.UNSUPPORTED_ENDPOINT_TYPE, f"Unsupported endpoint type {request.endpoint_type}")
    listed = reachable_brokers(services, context.connection, include_fenced=request.include_fenced_brokers)
    usable = [node_id for node_id, found in listed.items() if not found.broker.fenced]
    return DescribeClusterResponse(
        cluster_id=services.cluster_id,
        controller_id=controller_for(services, usable),
        brokers=[
            DescribeClusterResponse.DescribeClusterBroker(
                broker_id=node_id,
                host=found.endpoint.host,
                port=found.endpoint.port,
                rack=found.broker.rack,
                is_fenced=found.broker.fenced,
            )
            for node_id, found in listed.items()
        ],
        cluster_authorized_operations=on_cluster(request.include_cluster_authorized_operations),
    )


def _refused(code: ErrorCode, message: str) -> DescribeClusterResponse:
    return DescribeClusterResponse(error_code=code, error_message=message)
