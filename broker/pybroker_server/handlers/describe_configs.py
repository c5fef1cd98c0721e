"""DescribeConfigs: every known key of topics, groups and brokers with its value and where that comes from (KIP-133,
KIP-569).

Versions 1-4. v1 sources and synonyms, v3 types and documentation. Null and empty lists of keys both mean all.
"""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import DescribeConfigsRequest, DescribeConfigsResponse
from pybroker_server.config.describe import (
    DescribedConfig,
    describe_broker,
    describe_cluster_defaults,
    describe_group,
    describe_topic,
)
from pybroker_server.controller.topics import check_name
from pybroker_server.handlers.config_resources import KAFKAS_RESOURCE_TYPES, ResourceType, parse_broker
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.metadata.image import CLUSTER_DEFAULT

Resource = DescribeConfigsRequest.DescribeConfigsResource
Result = DescribeConfigsResponse.DescribeConfigsResult
Config = DescribeConfigsResponse.DescribeConfigsResourceResult
Synonym = DescribeConfigsResponse.DescribeConfigsSynonym


def error_response(
    context: RequestContext, request: DescribeConfigsRequest, code: ErrorCode
) -> DescribeConfigsResponse:
    return DescribeConfigsResponse(results=[_refused(resource, code, code.message) for resource in request.resources])


@handles(ApiKey.DESCRIBE_CONFIGS, 1, 4, error_response=error_response)
def handle_describe_configs(
    services: Services, context: RequestContext, request: DescribeConfigsRequest
) -> DescribeConfigsResponse:
    if not KAFKAS_RESOURCE_TYPES.issuperset(resource.resource_type for resource in request.resources):
        # A type that Kafka does not know spoils the whole request.
        return error_response(context, request, ErrorCode.INVALID_REQUEST)
    results = []
    for resource in request.resources:
        try:
            described = _described(services, resource)
        except KafkaError as error:
            results.append(_refused(resource, error.code, error.message))
            continue
        wanted = set(resource.configuration_keys or ())
        configs = [_config(config, request) for config in described if not wanted or config.name in wanted]
        results.append(
            Result(
                error_code=0,
                error_message="",
                resource_type=resource.resource_type,
                resource_name=resource.resource_name,
                configs=configs,
            )
        )
    return DescribeConfigsResponse(results=results)


def _described(services: Services, resource: Resource) -> list[DescribedConfig]:
    image, name = services.metadata.image, resource.resource_name
    if resource.resource_type == ResourceType.TOPIC:
        check_name(name)
        topic = image.topics_by_name.get(name)
        if topic is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return describe_topic(topic.configs, services.config)
    if resource.resource_type == ResourceType.BROKER:
        if parse_broker(name, services.node_id) == CLUSTER_DEFAULT:
            return describe_cluster_defaults(image.broker_configs.get(CLUSTER_DEFAULT, {}))
        return describe_broker(services.config)
    if resource.resource_type == ResourceType.GROUP:
        if not name:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Group name must not be empty")
        return describe_group(image.group_configs.get(name, {}), services.config)
    raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown resource type {resource.resource_type}")


def _config(config: DescribedConfig, request: DescribeConfigsRequest) -> Config:
    synonyms = config.synonyms if request.include_synonyms else ()
    return Config(
        name=config.name,
        value=config.value,
        read_only=config.read_only,
        config_source=config.source,
        is_sensitive=config.sensitive,
        synonyms=[Synonym(name=s.name, value=s.value, source=s.source) for s in synonyms],
        config_type=config.type,
        documentation=config.documentation if request.include_documentation else None,
    )


def _refused(resource: Resource, code: ErrorCode, message: str) -> Result:
    return Result(
        error_code=code,
        error_message=message,
        resource_type=resource.resource_type,
        resource_name=resource.resource_name,
    )
