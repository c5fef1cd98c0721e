"""ListConfigResources: what may carry configuration (KIP-714, KIP-1142).

Versions 0-1. v0 lists client-metrics subscriptions, of which there are none; v1 by resource type, no type
meaning all.
"""

from __future__ import annotations

from collections.abc import Iterator

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import ListConfigResourcesRequest, ListConfigResourcesResponse
from pybroker_server.handlers.config_resources import KAFKAS_RESOURCE_TYPES, ResourceType
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services


@handles(ApiKey.LIST_CONFIG_RESOURCES, 0, 1)
def handle_list_config_resources(
    services: Services, context: RequestContext, request: ListConfigResourcesRequest
) -> ListConfigResourcesResponse:
    if context.api_version == 0:
        return ListConfigResourcesResponse()
    types = set(request.resource_types) or set(KAFKAS_RESOURCE_TYPES)
    if not types <= KAFKAS_RESOURCE_TYPES:
        return ListConfigResourcesResponse(error_code=ErrorCode.UNSUPPORTED_VERSION)
    return ListConfigResourcesResponse(
        config_resources=[
            ListConfigResourcesResponse.ConfigResource(resource_name=name, resource_type=resource_type)
            for resource_type, name in _resources(services, types)
        ]
    )


def _resources(services: Services, types: set[int]) -> Iterator[tuple[int, str]]:
    image = services.metadata.image
    if ResourceType.BROKER in types:
        yield from ((ResourceType.BROKER, str(node_id)) for node_id in sorted(image.brokers))
    if ResourceType.TOPIC in types:
        yield from ((ResourceType.TOPIC, name) for name in sorted(image.topics_by_name))
    if ResourceType.GROUP in types:
        yield from ((ResourceType.GROUP, group_id) for group_id in sorted(image.group_configs))
