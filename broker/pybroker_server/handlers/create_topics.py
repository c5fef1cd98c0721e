"""CreateTopics: creates topics, each answered for itself.

Versions 2-7. -1 partitions or replicas stand for the broker's defaults (v4, KIP-464); v5 answers with counts
and configs (KIP-525), v7 with the topic id (KIP-516). A topic is in this broker's metadata when the answer
comes. A name that stands twice in a request is created by neither entry.
"""

from __future__ import annotations

from collections import Counter

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import CreateTopicsRequest, CreateTopicsResponse
from pybroker_server.config.describe import describe_topic
from pybroker_server.controller.controller import TopicOutcome
from pybroker_server.controller.topics import NewTopic
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.handlers.time_limit import TimeLimit
from pybroker_server.metadata.image import TopicImage

Topic = CreateTopicsRequest.CreatableTopic
Result = CreateTopicsResponse.CreatableTopicResult


def error_response(context: RequestContext, request: CreateTopicsRequest, code: ErrorCode) -> CreateTopicsResponse:
    names = dict.fromkeys(topic.name for topic in request.topics)
    return CreateTopicsResponse(topics=[_refused(name, KafkaError(code)) for name in names])


@handles(ApiKey.CREATE_TOPICS, 2, 7, error_response=error_response)
async def handle_create_topics(
    services: Services, context: RequestContext, request: CreateTopicsRequest
) -> CreateTopicsResponse:
    times = Counter(topic.name for topic in request.topics)
    wanted = [_wanted(topic) for topic in request.topics if times[topic.name] == 1]
    try:
        outcomes = await TimeLimit(request.timeout_ms).run(
            services.controller.create_topics(wanted, services.config, validate_only=request.validate_only)
        )
    except KafkaError as error:
        outcomes = [TopicOutcome(topic.name, error=error) for topic in wanted]
    results = [_result(services, outcome) for outcome in outcomes]
    twice = KafkaError(ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
    results += [_refused(name, twice) for name, count in times.items() if count > 1]
    return CreateTopicsResponse(topics=results)


def _wanted(topic: Topic) -> NewTopic:
    return NewTopic(
        name=topic.name,
        partition_count=topic.num_partitions,
        replication_factor=topic.replication_factor,
        assignments=[(each.partition_index, each.broker_ids) for each in topic.assignments],
        configs={config.name: config.value for config in topic.configs},
    )


def _result(services: Services, outcome: TopicOutcome) -> Result:
    if outcome.topic is None:
        assert outcome.error is not None
        return _refused(outcome.name, outcome.error)
    topic = outcome.topic
    return Result(
        name=topic.name,
        topic_id=topic.topic_id,
        error_message=None,
        num_partitions=len(topic.partitions),
        replication_factor=len(topic.partitions[0].replicas),
        configs=_configs(services, topic),
    )


def _configs(services: Services, topic: TopicImage) -> list[CreateTopicsResponse.CreatableTopicConfigs]:
    described = describe_topic(topic.configs, services.config)
    return [
        CreateTopicsResponse.CreatableTopicConfigs(
            name=config.name,
            value=config.value,
            read_only=config.read_only,
            config_source=config.source,
            is_sensitive=config.sensitive,
        )
        for config in sorted(described, key=lambda config: config.name)
    ]


def _refused(name: str, error: KafkaError) -> Result:
    return Result(name=name, error_code=error.code, error_message=error.message)
