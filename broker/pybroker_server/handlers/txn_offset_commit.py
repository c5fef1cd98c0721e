"""TxnOffsetCommit (key 28): a group's positions, stored when the producer's transaction commits.

Versions 0-5. v2 leader epochs, v3 checked against the group's membership (KIP-447), v4 TRANSACTION_ABORTABLE, v5 makes
the group part of the transaction by itself (KIP-890). First the transaction's coordinator is asked, as for any first
write of a transaction, then the group's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import TxnOffsetCommitRequest, TxnOffsetCommitResponse
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.effects import Reply as CoordinatorReply
from pybroker_server.coordinator.group.offsets.commit import OffsetToCommit, TransactionalCommit
from pybroker_server.coordinator.transaction.gate import Consent, Writer
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Pending, Reply, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.log.verification import Verification
from pybroker_server.metadata.image import MetadataImage

if TYPE_CHECKING:
    from pybroker_server.coordinator.group.shard import GroupShard

Partition = TxnOffsetCommitResponse.TxnOffsetCommitResponsePartition
Topic = TxnOffsetCommitResponse.TxnOffsetCommitResponseTopic

_LOADING_FROM: Final = 2
_ABORTABLE_FROM: Final = 4
_ADDING_FROM: Final = 5

_FOR_GROUPS: Final = {
    ErrorCode.NETWORK_EXCEPTION: ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.NOT_LEADER_OR_FOLLOWER: ErrorCode.NOT_COORDINATOR,
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.KAFKA_STORAGE_ERROR: ErrorCode.NOT_COORDINATOR,
}
"""Why the transaction's coordinator could not be asked, in words that clients know of a group's."""


def refuse_all(context: RequestContext, request: TxnOffsetCommitRequest, code: ErrorCode) -> TxnOffsetCommitResponse:
    """A response that says `code` of every partition in the request."""
    return TxnOffsetCommitResponse(
        topics=[
            Topic(
                name=topic.name,
                partitions=[
                    Partition(partition_index=each.partition_index, error_code=code) for each in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


@handles(ApiKey.TXN_OFFSET_COMMIT, 0, 5, error_response=refuse_all)
def handle_txn_offset_commit(services: Services, context: RequestContext, request: TxnOffsetCommitRequest) -> Reply:
    """See the head of this file."""
    plan = _Plan(services.metadata.image, request)
    if not plan.offsets:
        return plan.response(())
    version = context.api_version
    commit = TransactionalCommit(
        request.group_id,
        request.member_id,
        request.group_instance_id,
        request.generation_id,
        version,
        request.producer_id,
        request.producer_epoch,
        plan.offsets,
    )
    pending: Pending[TxnOffsetCommitResponse] = Pending()

    def refuse(code: ErrorCode) -> Sequence[ErrorCode]:
        if code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS and version < _LOADING_FROM:
            code = ErrorCode.COORDINATOR_NOT_AVAILABLE
        return [code] * len(plan.offsets)

    reply = CoordinatorReply[Sequence[ErrorCode]](lambda codes: pending.complete(plan.response(codes)), refuse)
    index = services.groups.partition_of(request.group_id)
    if not request.group_id:
        reply.fail(ErrorCode.INVALID_GROUP_ID)
    elif index is None:
        reply.fail(ErrorCode.NOT_COORDINATOR)
    else:
        _ask(services, index, _writer(request, version), commit, reply)
    return pending


def _ask(
    services: Services,
    index: int,
    writer: Writer,
    commit: TransactionalCommit,
    reply: CoordinatorReply[Sequence[ErrorCode]],
) -> None:
    def admitted(code: ErrorCode, held: Verification | None) -> None:
        if code is not ErrorCode.NONE:
            reply.fail(_FOR_GROUPS.get(code, code))
            return

        def run(shard: GroupShard, effects: Effects, own: CoordinatorReply[Sequence[ErrorCode]]) -> None:
            shard.offsets.commit_in_transaction(effects, own, commit, held)

        services.groups.run_at(index, run, reply)

    services.transaction_gate.admit_one(writer, (services.groups.topic, index), admitted)


def _writer(request: TxnOffsetCommitRequest, version: int) -> Writer:
    if version >= _ADDING_FROM:
        consent = Consent.ADDED
    else:
        consent = Consent.CHECKED_ABORTABLE if version >= _ABORTABLE_FROM else Consent.CHECKED
    return Writer(request.transactional_id, request.producer_id, request.producer_epoch, consent)


class _Plan:
    """Which partitions are there to be committed; what the response says of the others."""

    def __init__(self, image: MetadataImage, request: TxnOffsetCommitRequest) -> None:
        self.offsets: list[OffsetToCommit] = []
        self._topics: dict[str, Topic] = {}
        self._image = image
        for topic in request.topics:
            self._take(topic)

    def _take(self, topic: TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic) -> None:
        found = self._image.topics_by_name.get(topic.name)
        for each in topic.partitions:
            if found is None or not 0 <= each.partition_index < len(found.partitions):
                self._answer((topic.name, each.partition_index), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
                continue
            self.offsets.append(
                OffsetToCommit(
                    (topic.name, each.partition_index),
                    each.committed_offset,
                    each.committed_leader_epoch,
                    each.committed_metadata,
                    found.topic_id,
                )
            )

    def _answer(self, where: tuple[str, int], code: ErrorCode) -> None:
        """Topics that are named twice are answered once; one without partitions not at all."""
        name, index = where
        topic = self._topics.setdefault(name, Topic(name=name))
        topic.partitions.append(Partition(partition_index=index, error_code=code))

    def response(self, codes: Sequence[ErrorCode]) -> TxnOffsetCommitResponse:
        for offset, code in zip(self.offsets, codes, strict=True):
            self._answer(offset.where, code)
        return TxnOffsetCommitResponse(topics=list(self._topics.values()))
