"""Membership by the classic protocol: the members gather (JoinGroup), one of them, the leader, assigns, and each gets
its part (SyncGroup); heartbeats tell when to gather anew.

Rules: heartbeats have a task of their own and go on while partitions are given up, so that a slow handler costs no
membership. Eager: everything is given up before each gathering. Cooperative (only if every assignor named is): members
keep what they have, give up what went to others afterwards, and gather once more (KIP-429). The leader gathers the
group when partitions or topics come or go.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

from pybroker.errors import CorruptData, KafkaError, Retriable, UnsupportedVersion, error_for
from pybroker.group.assignors import ASSIGNORS
from pybroker.group.coordinator import is_elsewhere, is_for_now
from pybroker.group.embedded import read_assignment, read_subscription, write_assignment, write_subscription
from pybroker.group.membership import Surroundings
from pybroker.metadata import TopicPartition
from pybroker.retry import Backoff
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, ProtocolError, error_code
from pybroker_protocol.messages import (
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)

__all__ = ["Classic"]

log = logging.getLogger("pybroker.consumer")

_PROTOCOL_TYPE: Final = "consumer"
_VERSION_OF_INSTANCE_IDS: Final = 5
_FORGOTTEN: Final = frozenset({ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION})
_GATHER_AGAIN: Final = frozenset({ErrorCode.REBALANCE_IN_PROGRESS, ErrorCode.MEMBER_ID_REQUIRED}) | _FORGOTTEN


class Classic:
    """See `Membership`."""

    def __init__(self, around: Surroundings) -> None:
        self.member_id = ""
        self.generation = -1
        self.is_stable = False
        self._around = around
        self._wanted = asyncio.Event()
        """The group gathers, or should."""
        self._is_gathering = False
        self._is_forgotten: ErrorCode | None = None
        self._joined_topics: frozenset[str] = frozenset()
        self._tracked: list[str] = []
        self._counts: dict[str, int] | None = None
        """Of the leader: partitions of each topic of the group when they were assigned."""
        self._backoff = Backoff()

    async def run(self) -> None:
        beating = self._around.tasks.spawn("heartbeats", self._beat())
        attempt = 0
        try:
            while True:
                self._wanted.clear()
                await self._prepare()
                assignment = await self._gather()
                if assignment is None:
                    attempt += 1
                    await asyncio.sleep(self._backoff.delay(attempt, random.random()) if attempt > 2 else 0)
                    continue
                attempt = 0
                await self._apply(assignment)
                await self._wanted.wait()
                if beating.done():
                    return
        finally:
            beating.cancel()
            self._around.client.untrack(self._tracked)

    def on_metadata(self) -> None:
        if self.generation < 0:
            return
        if self._joined_topics != self._around.topics() or (
            self._counts is not None and self._counts != self._count(self._counts)
        ):
            self._wanted.set()

    async def leave(self, time_limit: float) -> None:
        settings = self._around.settings
        if not self.member_id or settings.instance_id is not None:
            return  # a static member is expected back
        coordinator = self._around.coordinator
        request = LeaveGroupRequest(
            group_id=settings.group,
            member_id=self.member_id,
            members=[LeaveGroupRequest.MemberIdentity(member_id=self.member_id, reason="the consumer was closed")],
        )

        async def attempt() -> int:
            response: LeaveGroupResponse = await coordinator.ask(coordinator.offsets_lane, ApiKey.LEAVE_GROUP, request)
            code: int = response.error_code
            return ErrorCode.NONE if code in _FORGOTTEN else code

        await coordinator.persist(attempt, f"{self._what}: leave", time_limit=time_limit)
        self.member_id, self.generation = "", -1

    @property
    def _what(self) -> str:
        return f"group {self._around.settings.group}"

    # The rounds.

    async def _prepare(self) -> None:
        """What has to be given up before the group gathers."""
        handover = self._around.handover
        forgotten, self._is_forgotten = self._is_forgotten, None
        if forgotten is not None:
            log.warning("%s: this member is not known any more (%s): joining again", self._what, forgotten.name)
            self.generation = -1
            if forgotten is ErrorCode.UNKNOWN_MEMBER_ID:
                self.member_id = ""
            await handover.lose()
        elif self._around.settings.is_eager:
            await handover.give_up(handover.owned)
        self.is_stable = False

    async def _gather(self) -> list[TopicPartition] | None:
        """Join and sync: what this member was assigned, None to try again. Raises what cannot be helped."""
        self._is_gathering = True
        try:
            joined = await self._join()
            return None if joined is None else await self._sync(joined)
        except UnsupportedVersion:
            raise
        except Retriable as error:
            log.debug("%s: rebalance failed, trying again: %s", self._what, error)
            await asyncio.sleep(self._backoff.delay(1, random.random()))
            return None
        finally:
            self._is_gathering = False

    async def _join(self) -> JoinGroupResponse | None:
        settings, coordinator = self._around.settings, self._around.coordinator
        topics = self._joined_topics = self._around.topics()
        owned = [] if settings.is_eager else sorted(self._around.handover.owned)
        request = JoinGroupRequest(
            group_id=settings.group,
            session_timeout_ms=int(settings.session_timeout * 1000),
            rebalance_timeout_ms=int(settings.rebalance_timeout * 1000),
            member_id=self.member_id,
            group_instance_id=settings.instance_id,
            protocol_type=_PROTOCOL_TYPE,
            protocols=[
                JoinGroupRequest.JoinGroupRequestProtocol(
                    name=name,
                    metadata=write_subscription(
                        topics,
                        owned=owned,
                        generation=self.generation,
                        rack=settings.rack,
                        is_sticky=ASSIGNORS[name].is_cooperative,
                    ),
                )
                for name in settings.assignors
            ],
        )
        # Others may be slower to come than we are, and the broker answers when all have, or when their time is up.
        limit = settings.rebalance_timeout + self._around.client.request_timeout
        connection = await coordinator.connect(coordinator.membership_lane)
        version = connection.version_for(ApiKey.JOIN_GROUP)
        if settings.instance_id is not None and version < _VERSION_OF_INSTANCE_IDS:
            raise UnsupportedVersion(f"{connection.address} knows no static members: leave out instance_id")
        try:
            response: JoinGroupResponse = await connection.request(request, version, limit)
        except Retriable:
            coordinator.forget()
            raise
        code = error_code(response.error_code)
        if code is ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = response.member_id
        if not self._is_settled(code):
            return None
        self.member_id, self.generation = response.member_id, response.generation_id
        if response.protocol_name not in settings.assignors:
            raise error_for(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, f"{self._what}: assignor {response.protocol_name}")
        return response

    async def _sync(self, joined: JoinGroupResponse) -> list[TopicPartition] | None:
        settings, coordinator = self._around.settings, self._around.coordinator
        assignments: list[SyncGroupRequest.SyncGroupRequestAssignment] = []
        self._counts = None
        if joined.leader == joined.member_id:
            shares = await self._assign(joined)
            if not joined.skip_assignment:
                assignments = [
                    SyncGroupRequest.SyncGroupRequestAssignment(member_id=member, assignment=write_assignment(share))
                    for member, share in shares.items()
                ]
        request = SyncGroupRequest(
            group_id=settings.group,
            generation_id=self.generation,
            member_id=self.member_id,
            group_instance_id=settings.instance_id,
            protocol_type=_PROTOCOL_TYPE,
            protocol_name=joined.protocol_name,
            assignments=assignments,
        )
        # The leader may be slow to assign, and is given the rebalance timeout for it.
        limit = settings.rebalance_timeout + self._around.client.request_timeout
        response: SyncGroupResponse = await coordinator.ask(
            coordinator.membership_lane, ApiKey.SYNC_GROUP, request, time_limit=limit
        )
        if not self._is_settled(error_code(response.error_code)):
            return None
        try:
            return read_assignment(bytes(response.assignment))
        except ProtocolError as error:
            leader = joined.leader
            raise CorruptData(f"{self._what}: the assignment from the leader {leader} is damaged: {error}") from None

    def _is_settled(self, code: ErrorCode) -> bool:
        """Whether the answer is no error. What passes leads to another round; raises what does not."""
        if code is ErrorCode.NONE:
            return True
        if code in _FORGOTTEN:
            self._is_forgotten = code
        elif is_elsewhere(code):
            self._around.coordinator.forget()
        if code in _GATHER_AGAIN:
            return False
        if is_for_now(code):
            raise Retriable(f"{self._what}: {code.message}", code=code)
        raise error_for(code, self._what)

    async def _apply(self, assignment: list[TopicPartition]) -> None:
        handover = self._around.handover
        leaving = handover.owned.difference(assignment)
        if leaving:
            await handover.give_up(leaving)
        await handover.take_on(assignment)
        if leaving:
            self._wanted.set()  # they are free now: the group gathers to hand them out
        else:
            self.is_stable = True
            self._around.on_stable()
        self.on_metadata()

    # What the leader does.

    async def _assign(self, joined: JoinGroupResponse) -> dict[str, list[TopicPartition]]:
        assert joined.protocol_name is not None
        members = [
            read_subscription(member.member_id, member.group_instance_id, bytes(member.metadata))
            for member in joined.members
        ]
        topics = sorted({topic for member in members for topic in member.topics})
        await self._learn(topics)
        self._counts = self._count(topics)
        return ASSIGNORS[joined.protocol_name].assign(members, self._counts)

    async def _learn(self, topics: list[str]) -> None:
        """Have metadata of what others subscribe to."""
        client = self._around.client
        tracked, self._tracked = self._tracked, topics
        client.track(topics)
        client.untrack(tracked)
        if any(client.cluster.topic(name) is None for name in topics):
            await client.refresh()

    def _count(self, topics: list[str] | dict[str, int]) -> dict[str, int]:
        views = {name: self._around.client.cluster.topic(name) for name in topics}
        return {name: len(view.partitions) if view is not None else 0 for name, view in views.items()}

    # Heartbeats.

    async def _beat(self) -> None:
        settings, coordinator = self._around.settings, self._around.coordinator
        limit = min(self._around.client.request_timeout, settings.session_timeout / 2)
        while True:
            await asyncio.sleep(settings.heartbeat_interval)
            generation, member_id = self.generation, self.member_id
            if self._is_gathering or generation < 0:
                continue
            request = HeartbeatRequest(
                group_id=settings.group,
                generation_id=generation,
                member_id=member_id,
                group_instance_id=settings.instance_id,
            )
            try:
                response: HeartbeatResponse = await coordinator.ask(
                    coordinator.membership_lane, ApiKey.HEARTBEAT, request, time_limit=limit
                )
            except KafkaError as error:
                log.debug("%s: heartbeat failed, trying again: %s", self._what, error)
                continue
            if self._is_gathering or (generation, member_id) != (self.generation, self.member_id):
                continue
            code = error_code(response.error_code)
            if code in _FORGOTTEN:
                self._is_forgotten = code
            elif is_elsewhere(code):
                coordinator.forget()
            if code is not ErrorCode.NONE and not is_for_now(code):
                self._wanted.set()  # the next JoinGroup tells what is the matter, if it is more than a rebalance
