"""IncrementalAlterConfigs: sets, deletes, appends to and subtracts from single keys of topics, groups and brokers
(KIP-339).

Versions 0-1. Each resource is changed as a whole or not at all, apart from the others; a resource that is
named twice is not changed. What is changed is in force when the answer comes.
"""

from __future__ import annotations

from collections import Counter

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse
from pybroker_server.config.dynamic import Alteration, AlterOperation
from pybroker_server.handlers.config_resources import parse_resource
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services

Resource = IncrementalAlterConfigsRequest.AlterConfigsResource
Result = IncrementalAlterConfigsResponse.AlterConfigsResourceResponse

_OPERATIONS = frozenset(AlterOperation)


def error_response(
    context: RequestContext, request: IncrementalAlterConfigsRequest, code: ErrorCode
) -> IncrementalAlterConfigsResponse:
    return IncrementalAlterConfigsResponse(
        responses=[_result(resource, code, code.message) for resource in request.resources]
    )


@handles(ApiKey.INCREMENTAL_ALTER_CONFIGS, 0, 1, error_response=error_response)
async def handle_incremental_alter_configs(
    services: Services, context: RequestContext, request: IncrementalAlterConfigsRequest
) -> IncrementalAlterConfigsResponse:
    times = Counter((resource.resource_type, resource.resource_name) for resource in request.resources)
    responses = []
    for resource in request.resources:
        try:
            if times[resource.resource_type, resource.resource_name] > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "Each resource must appear at most once.")
            await services.controller.alter_configs(
                parse_resource(resource.resource_type, resource.resource_name, services.node_id),
                [_alteration(config) for config in resource.configs],
                services.config,
                validate_only=request.validate_only,
            )
            responses.append(_result(resource, ErrorCode.NONE, None))
        except KafkaError as error:
            responses.append(_result(resource, error.code, error.message))
    return IncrementalAlterConfigsResponse(responses=responses)


def _alteration(config: IncrementalAlterConfigsRequest.AlterableConfig) -> Alteration:
    if config.config_operation not in _OPERATIONS:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown config operation {config.config_operation}")
    return Alteration(config.name, AlterOperation(config.config_operation), config.value)


def _result(resource: Resource, code: ErrorCode, message: str | None) -> Result:
    return Result(
        error_code=code,
        error_message=message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
    )
