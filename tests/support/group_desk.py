"""A group shard with time in the test's hand: requests in, answers out, records kept as a log would keep them.

It does what `coordinator/host.py` does, without partitions: what was appended is replayed, and what fails is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from types import MappingProxyType
from typing import Any
from uuid import UUID

from tests.support.one_broker import topic_image

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import (
    ConsumerGroupHeartbeatRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    LeaveGroupRequest,
    SyncGroupRequest,
)
from pybroker_server.config.views import broker_config
from pybroker_server.coordinator.effects import Effects, Operation, Reply
from pybroker_server.coordinator.group.context import Client, GroupContext
from pybroker_server.coordinator.group.coordinator import RECORD_TYPES
from pybroker_server.coordinator.group.offsets.commit import Commit, OffsetToCommit
from pybroker_server.coordinator.group.shard import GroupShard
from pybroker_server.metadata.image import MetadataImage

CLIENT = Client("app", "/127.0.0.1")
WALL_MS = 1_700_000_000_000
ZERO = UUID(int=0)


class Answer:
    """What became of a request."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    @property
    def is_waiting(self) -> bool:
        return not self.given

    @property
    def response(self) -> Any:
        assert len(self.given) == 1, f"{len(self.given)} answers"
        return self.given[0]


class GroupDesk:
    """`fails_with`: the next append is refused with this code."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self.config = broker_config({"group.initial.rebalance.delay.ms": "0", **(settings or {})})
        self.image = MetadataImage()
        self.now_ms = 1_000
        self.log: list[tuple[bytes, bytes | None, int, int]] = []
        self.fails_with: ErrorCode | None = None
        self._ids = count(1)
        self.shard = self._new_shard()

    def _new_shard(self) -> GroupShard:
        return GroupShard(GroupContext(self.config, self.image, lambda: UUID(int=next(self._ids))))

    def restart(self) -> None:
        """The partition is led anew: what waits is refused, and the state comes back from the log."""
        self.shard.on_unloaded()
        self.shard = self._new_shard()
        for key, value, producer_id, epoch in self.log:
            record = RECORD_TYPES.decode(key, value)
            assert record is not None
            self.shard.replay(record, producer_id, epoch)
        self.perform(self.shard.on_loaded)

    # -- running operations

    def ask(self, run: Callable[[GroupShard, Effects, Reply[Any]], None]) -> Answer:
        """The answer to a refusal is its code."""
        answer = Answer()
        reply: Reply[Any] = Reply(answer.given.append, lambda code: code)
        effects = self._effects()
        try:
            run(self.shard, effects, reply)
        except KafkaError as error:
            reply.fail(error.code)
        else:
            self._settle(effects)
        return answer

    def perform(self, operation: Operation) -> None:
        effects = self._effects()
        operation(effects)
        self._settle(effects)

    def advance(self, delay_ms: int) -> None:
        """Deadlines come up one by one, each at its time."""
        until = self.now_ms + delay_ms
        while (deadline := self.shard.timeouts.next_deadline_ms) is not None and deadline <= until:
            self.now_ms = max(self.now_ms, deadline)
            for operation in self.shard.timeouts.expire(self.now_ms):
                self.perform(operation)
        self.now_ms = until

    def _effects(self) -> Effects:
        return Effects(self.now_ms, WALL_MS + self.now_ms)

    def _settle(self, effects: Effects) -> None:
        code, self.fails_with = (self.fails_with, None) if effects.records else (None, self.fails_with)
        if code is not None:
            for reply, _ in effects.answers:
                reply.fail(code)
            undone = self._effects()
            for undo in effects.failures:
                undo(code, undone)
            effects = undone
        for record, replays in effects.records:
            key, value = RECORD_TYPES.encode(record)
            self.log.append((key, value, effects.producer_id, effects.producer_epoch))
            if replays:
                self.shard.replay(record, effects.producer_id, effects.producer_epoch)
        for reply, response in effects.answers:
            reply.complete(response)

    # -- what clients ask

    def join(self, member_id: str = "", *, version: int = 3, **fields: Any) -> Answer:
        """Version 3 joins at once, without the dance for a member id."""
        protocols = fields.pop("protocols", {"range": b"meta"})
        wanted = {"session_timeout_ms": 10_000, "rebalance_timeout_ms": 30_000, "protocol_type": "consumer", **fields}
        request = JoinGroupRequest(
            group_id="g",
            member_id=member_id,
            protocols=[
                JoinGroupRequest.JoinGroupRequestProtocol(name=name, metadata=data) for name, data in protocols.items()
            ],
            **wanted,
        )
        return self.ask(lambda shard, effects, reply: shard.join(effects, reply, request, CLIENT, version))

    def sync(self, member_id: str, generation: int, assignment: Mapping[str, bytes] | None = None) -> Answer:
        request = SyncGroupRequest(
            group_id="g",
            member_id=member_id,
            generation_id=generation,
            assignments=[
                SyncGroupRequest.SyncGroupRequestAssignment(member_id=each, assignment=data)
                for each, data in (assignment or {}).items()
            ],
        )
        return self.ask(lambda shard, effects, reply: shard.sync(effects, reply, request))

    def heartbeat(self, member_id: str, generation: int) -> ErrorCode:
        request = HeartbeatRequest(group_id="g", member_id=member_id, generation_id=generation)
        answer = self.ask(lambda shard, effects, reply: shard.heartbeat(effects, reply, request)).response
        return answer if isinstance(answer, ErrorCode) else ErrorCode(answer.error_code)

    def leave(self, *member_ids: str) -> Answer:
        members = [LeaveGroupRequest.MemberIdentity(member_id=each) for each in member_ids]
        request = LeaveGroupRequest(group_id="g", members=members)
        return self.ask(lambda shard, effects, reply: shard.leave(effects, reply, request))

    def commit(self, offset: int, *, member_id: str = "", epoch: int = -1, group: str = "g", partition: int = 0) -> Any:
        """The one code, or that of the refusal."""
        wanted = [OffsetToCommit(("t", partition), offset, -1, "", ZERO)]
        commit = Commit(group, member_id, None, epoch, 9, -1, wanted)
        answer = self.ask(lambda shard, effects, reply: shard.offsets.commit(effects, reply, commit)).response
        return answer[0] if isinstance(answer, list) else answer

    def committed(self, partition: int = 0, group: str = "g") -> int | None:
        found = self.shard.offsets.store.of(group).get(("t", partition))
        return None if found is None else found.offset

    def beat(self, member_id: str, epoch: int, *, group: str = "g", **fields: Any) -> Any:
        """A ConsumerGroupHeartbeat's response, or the KafkaError that refused it."""
        request = ConsumerGroupHeartbeatRequest(group_id=group, member_id=member_id, member_epoch=epoch, **fields)
        given: list[Any] = []
        reply: Reply[Any] = Reply(given.append, lambda code: KafkaError(code))
        effects = self._effects()
        try:
            self.shard.consumer.heartbeat(effects, reply, request, CLIENT, 1)
        except KafkaError as error:
            return error
        self._settle(effects)
        return given[0]

    def show_topics(self, **partitions: int) -> None:
        """These topics are there, with so many partitions."""
        topics = [topic_image(name, partitions=count) for name, count in partitions.items()]
        self.image = replace(
            self.image,
            revision=self.image.revision + 1,
            topics_by_id=MappingProxyType({topic.topic_id: topic for topic in topics}),
            topics_by_name=MappingProxyType({topic.name: topic for topic in topics}),
        )
        self.perform(lambda effects: self.shard.on_image(effects, self.image))

    # -- whole situations

    def stable(self, **fields: Any) -> str:
        """A group of one member with its assignment; the member's id."""
        joined = self.join(**fields)
        self.advance(0)
        member_id: str = joined.response.member_id
        self.sync(member_id, joined.response.generation_id, {member_id: b"mine"})
        return member_id

    @property
    def group(self) -> Any:
        return self.shard.context.groups["g"]
