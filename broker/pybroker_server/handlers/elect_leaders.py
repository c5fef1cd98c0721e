"""ElectLeaders: gives leadership to preferred replicas, or to any that lives where none is in sync (KIP-460).

Versions 0-2. v0 elects preferred leaders only. Without partitions all are meant, and those that need no election are
left out of the answer. Each partition is answered for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import ElectLeadersRequest, ElectLeadersResponse
from pybroker_server.controller.elections import Election
from pybroker_server.controller.partition_requests import ElectionWish, Outcomes
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.handlers.time_limit import TimeLimit

TopicResult = ElectLeadersResponse.ReplicaElectionResult
Result = ElectLeadersResponse.PartitionResult
_ELECTIONS: Final = {0: Election.PREFERRED, 1: Election.UNCLEAN}


def error_response(
    context: RequestContext, request: ElectLeadersRequest, code: ErrorCode, message: str | None = None
) -> ElectLeadersResponse:
    return ElectLeadersResponse(
        error_code=code,
        replica_election_results=[
            TopicResult(
                topic=topic.topic,
                partition_result=[
                    Result(partition_id=index, error_code=code, error_message=message or code.message)
                    for index in topic.partitions
                ],
            )
            for topic in request.topic_partitions or ()
        ],
    )


@handles(ApiKey.ELECT_LEADERS, 0, 2, error_response=error_response)
async def handle_elect_leaders(
    services: Services, context: RequestContext, request: ElectLeadersRequest
) -> ElectLeadersResponse:
    election = _ELECTIONS.get(request.election_type) if context.api_version else Election.PREFERRED
    if election is None:
        text = f"Unknown election type {request.election_type}"
        return error_response(context, request, ErrorCode.INVALID_REQUEST, text)
    wants_all = request.topic_partitions is None
    asked: list[tuple[str, Sequence[int]]]
    if request.topic_partitions is None:
        image = services.metadata.image
        asked = [(topic.name, range(len(topic.partitions))) for topic in image.topics_by_name.values()]
    else:
        asked = [(topic.topic, topic.partitions) for topic in request.topic_partitions]
    wishes = [ElectionWish(topic, index) for topic, indexes in asked for index in indexes]
    limit = TimeLimit(request.timeout_ms)
    try:
        outcomes = await limit.run(services.controller.elect_leaders(wishes, election, services.config))
    except KafkaError as error:
        outcomes = [error] * len(wishes)
    return _answer(asked, outcomes, leaves_out_unneeded=wants_all)


def _answer(
    asked: Sequence[tuple[str, Sequence[int]]], outcomes: Outcomes, *, leaves_out_unneeded: bool
) -> ElectLeadersResponse:
    results, following = [], iter(outcomes)
    for name, indexes in asked:
        partitions = []
        for index in indexes:
            error = next(following)
            if error is None:
                partitions.append(Result(partition_id=index, error_message=None))
            elif not (leaves_out_unneeded and error.code is ErrorCode.ELECTION_NOT_NEEDED):
                partitions.append(Result(partition_id=index, error_code=error.code, error_message=error.message))
        results.append(TopicResult(topic=name, partition_result=partitions))
    return ElectLeadersResponse(replica_election_results=results)
