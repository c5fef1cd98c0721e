"""CreatePartitions: raises the number of partitions of topics, each answered for itself.

Versions 0-3. Assignments, where given, are those of the new partitions in order. Keys are not moved: what a
keyed producer writes from now on may go to another partition than before.
"""

from __future__ import annotations

from collections import Counter

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import CreatePartitionsRequest, CreatePartitionsResponse
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.handlers.time_limit import TimeLimit

Result = CreatePartitionsResponse.CreatePartitionsTopicResult


def error_response(
    context: RequestContext, request: CreatePartitionsRequest, code: ErrorCode
) -> CreatePartitionsResponse:
    names = dict.fromkeys(topic.name for topic in request.topics)
    return CreatePartitionsResponse(
        results=[Result(name=name, error_code=code, error_message=code.message) for name in names]
    )


@handles(ApiKey.CREATE_PARTITIONS, 0, 3, error_response=error_response)
async def handle_create_partitions(
    services: Services, context: RequestContext, request: CreatePartitionsRequest
) -> CreatePartitionsResponse:
    times = Counter(topic.name for topic in request.topics)
    limit = TimeLimit(request.timeout_ms)
    results = []
    for name, count in times.items():
        if count > 1:
            code = ErrorCode.INVALID_REQUEST
            results.append(Result(name=name, error_code=code, error_message="Duplicate topic name."))
    for topic in request.topics:
        if times[topic.name] > 1:
            continue
        assignments = None
        if topic.assignments is not None:
            assignments = [assignment.broker_ids for assignment in topic.assignments]
        try:
            await limit.run(
                services.controller.grow_topic(
                    topic.name, topic.count, assignments, validate_only=request.validate_only
                )
            )
            results.append(Result(name=topic.name))
        except KafkaError as error:
            # Kafka gives this one code no text.
            text = None if error.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION else error.message
            results.append(Result(name=topic.name, error_code=error.code, error_message=text))
    return CreatePartitionsResponse(results=results)
