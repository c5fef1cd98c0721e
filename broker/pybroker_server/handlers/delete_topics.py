"""DeleteTopics: deletes topics by name, from v6 on also by id (KIP-516), each answered for itself.

Versions 1-6. v5 error messages. A topic has left this broker's metadata when the answer comes; logs are
deleted after `file.delete.delay.ms`. A topic that is meant twice, in whatever way, is not deleted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from uuid import UUID

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import DeleteTopicsRequest, DeleteTopicsResponse
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.handlers.time_limit import TimeLimit
from pybroker_server.metadata.image import MetadataImage

Result = DeleteTopicsResponse.DeletableTopicResult
Asked = tuple[str | None, UUID]
"""(name, topic id); an absent id is zero."""

_NO_ID = UUID(int=0)
_BY_ID_FROM = 6
_DISABLED_HAS_A_CODE_FROM = 3


def error_response(context: RequestContext, request: DeleteTopicsRequest, code: ErrorCode) -> DeleteTopicsResponse:
    return DeleteTopicsResponse(
        responses=[_refused(asked, KafkaError(code)) for asked in dict.fromkeys(_asked(context, request))]
    )


@handles(ApiKey.DELETE_TOPICS, 1, 6, error_response=error_response)
async def handle_delete_topics(
    services: Services, context: RequestContext, request: DeleteTopicsRequest
) -> DeleteTopicsResponse:
    if not services.config.delete_topic_enable:
        code = ErrorCode.TOPIC_DELETION_DISABLED
        if context.api_version < _DISABLED_HAS_A_CODE_FROM:
            code = ErrorCode.INVALID_REQUEST
        return error_response(context, request, code)
    limit = TimeLimit(request.timeout_ms)
    responses = []
    for asked, found in _resolved(services.metadata.image, list(_asked(context, request))):
        if isinstance(found, KafkaError):
            responses.append(_refused(asked, found))
            continue
        name, topic_id = found
        try:
            await limit.run(services.controller.delete_topic(topic_id))
            responses.append(Result(name=name, topic_id=topic_id))
        except KafkaError as error:
            responses.append(_refused(asked, error))
    return DeleteTopicsResponse(responses=responses)


def _asked(context: RequestContext, request: DeleteTopicsRequest) -> Iterator[Asked]:
    if context.api_version < _BY_ID_FROM:
        yield from ((name, _NO_ID) for name in request.topic_names)
    else:
        yield from ((topic.name, topic.topic_id) for topic in request.topics)


def _resolved(image: MetadataImage, asked: list[Asked]) -> Iterator[tuple[Asked, tuple[str, UUID] | KafkaError]]:
    """One answer for each topic asked, twice only where Kafka too says twice that nothing was named."""
    times = Counter(asked)
    ids_given = {topic_id for name, topic_id in asked if name is None}
    seen: set[Asked] = set()
    for each in asked:
        name, topic_id = each
        if name is None and topic_id == _NO_ID:
            yield each, _invalid("Neither topic name nor id were specified.")
        elif each in seen:
            continue
        elif name is not None and topic_id != _NO_ID:
            yield each, _invalid("You may not specify both topic name and topic id.")
        elif times[each] > 1:
            yield each, _invalid("Duplicate topic name." if name is not None else "Duplicate topic id.")
        elif name is not None:
            yield _by_name(image, name, ids_given)
        elif (topic := image.topics_by_id.get(topic_id)) is None:
            yield each, KafkaError(ErrorCode.UNKNOWN_TOPIC_ID)
        elif (topic.name, _NO_ID) not in times:
            yield each, (topic.name, topic_id)
        seen.add(each)


def _by_name(image: MetadataImage, name: str, ids_given: set[UUID]) -> tuple[Asked, tuple[str, UUID] | KafkaError]:
    topic = image.topics_by_name.get(name)
    if topic is None:
        return (name, _NO_ID), KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    if topic.topic_id in ids_given:
        problem = "The provided topic name maps to an ID that was already supplied."
        return (name, topic.topic_id), _invalid(problem)
    return (name, _NO_ID), (name, topic.topic_id)


def _invalid(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REQUEST, message)


def _refused(asked: Asked, error: KafkaError) -> Result:
    return Result(name=asked[0], topic_id=asked[1], error_code=error.code, error_message=error.message)
