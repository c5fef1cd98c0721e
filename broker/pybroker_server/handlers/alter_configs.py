"""AlterConfigs: replaces all overrides of topics, groups and brokers; what is not named goes back to its default.

Versions 0-2. Superseded by IncrementalAlterConfigs, still sent by clients that know nothing newer. Each
resource is changed as a whole or not at all, apart from the others.
"""

from __future__ import annotations

from collections import Counter

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import AlterConfigsRequest, AlterConfigsResponse
from pybroker_server.handlers.config_resources import parse_resource
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services

Resource = AlterConfigsRequest.AlterConfigsResource
Result = AlterConfigsResponse.AlterConfigsResourceResponse


def error_response(context: RequestContext, request: AlterConfigsRequest, code: ErrorCode) -> AlterConfigsResponse:
    return AlterConfigsResponse(responses=[_result(resource, code, code.message) for resource in request.resources])


@handles(ApiKey.ALTER_CONFIGS, 0, 2, error_response=error_response)
async def handle_alter_configs(
    services: Services, context: RequestContext, request: AlterConfigsRequest
) -> AlterConfigsResponse:
    times = Counter((resource.resource_type, resource.resource_name) for resource in request.resources)
    responses = []
    for resource in request.resources:
        try:
            if times[resource.resource_type, resource.resource_name] > 1:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "Each resource must appear at most once.")
            await services.controller.replace_configs(
                parse_resource(resource.resource_type, resource.resource_name, services.node_id),
                _values(resource),
                services.config,
                validate_only=request.validate_only,
            )
            responses.append(_result(resource, ErrorCode.NONE, None))
        except KafkaError as error:
            responses.append(_result(resource, error.code, error.message))
    return AlterConfigsResponse(responses=responses)


def _values(resource: Resource) -> dict[str, str]:
    nulls = [config.name for config in resource.configs if config.value is None]
    if nulls:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Null value not supported for : {','.join(nulls)}")
    values = {config.name: config.value for config in resource.configs if config.value is not None}
    if len(values) < len(resource.configs):
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Error due to duplicate config keys")
    return values


def _result(resource: Resource, code: ErrorCode, message: str | None) -> Result:
    return Result(
        error_code=code,
        error_message=message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
    )
