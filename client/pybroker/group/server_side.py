"""Membership by KIP-848: one kind of request, in which the member reports what it has and the broker tells what it
should have.

Rules: heartbeats never wait for the handover, which has a task of its own. Only what changed is sent, unless an answer
got lost: then everything is, since nobody knows what the broker has heard. A member that the group has forgotten or
fenced loses everything and joins again under the same id.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final
from uuid import UUID, uuid4

from pybroker.errors import Fenced, KafkaError, Retriable, UnsupportedVersion, error_for
from pybroker.group.coordinator import is_elsewhere, is_for_now
from pybroker.group.membership import Surroundings
from pybroker.metadata import TopicPartition
from pybroker.retry import Backoff
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, error_code
from pybroker_protocol.messages import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse

__all__ = ["ServerSide"]

log = logging.getLogger("pybroker.consumer")

_VERSION_OF_MEMBER_IDS: Final = 1
_JOIN, _LEAVE, _LEAVE_FOR_A_WHILE = 0, -1, -2
_ANSWER_TIME_LIMIT: Final = 10.0
_NAMES_INTERVAL: Final = 0.1
_FORGOTTEN: Final = frozenset(
    {ErrorCode.FENCED_MEMBER_EPOCH, ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.GROUP_ID_NOT_FOUND}
)

Heartbeat = ConsumerGroupHeartbeatRequest


class ServerSide:
    """See `Membership`."""

    def __init__(self, around: Surroundings) -> None:
        self.member_id = str(uuid4())
        self.generation = -1
        self.is_stable = False
        self._around = around
        self._epoch = _JOIN
        self._interval = 1.0
        self._owned: dict[TopicPartition, UUID] = {}
        self._target: dict[UUID, list[int]] = {}
        self._handover: asyncio.Task[None] | None = None
        self._poked = asyncio.Event()
        self._has_news = False
        """What is owned has changed since it was reported."""
        self._is_unsure = True
        """The broker may not know what we have told it."""
        self._told_topics: frozenset[str] | None = None
        self._was_sent = False
        self._backoff = Backoff()

    async def run(self) -> None:
        attempt = 0
        unreleased_since: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            self._poked.clear()
            code, detail = await self._beat()
            if code is ErrorCode.NONE:
                attempt, unreleased_since = 0, None
                await self._pause(self._interval)
                continue
            attempt += 1
            if code in _FORGOTTEN and not (code is ErrorCode.GROUP_ID_NOT_FOUND and self._epoch == _JOIN):
                await self._start_anew(code)
                continue
            if code is ErrorCode.UNRELEASED_INSTANCE_ID:
                # The last life of this instance was killed, and the group waits for it to come back.
                unreleased_since = unreleased_since or loop.time()
                if loop.time() - unreleased_since > self._around.settings.rebalance_timeout:
                    raise Fenced(f"{self._what}: instance id {self._around.settings.instance_id} is in use", code=code)
                if attempt == 1:
                    log.warning("%s: waiting until the group releases this instance id", self._what)
            elif not is_for_now(code):
                raise error_for(code, self._what, detail)
            if is_elsewhere(code):
                self._around.coordinator.forget()
            await asyncio.sleep(self._backoff.delay(attempt, random.random()))

    def on_metadata(self) -> None:
        if self._told_topics is not None and self._told_topics != self._around.topics():
            self._poked.set()

    async def leave(self, time_limit: float) -> None:
        self._stop_handover()
        if not self._was_sent:
            return
        settings = self._around.settings
        request = Heartbeat(
            group_id=settings.group,
            member_id=self.member_id,
            member_epoch=_LEAVE if settings.instance_id is None else _LEAVE_FOR_A_WHILE,
            instance_id=settings.instance_id,
        )
        coordinator = self._around.coordinator

        async def attempt() -> int:
            response: ConsumerGroupHeartbeatResponse = await coordinator.ask(
                coordinator.offsets_lane, ApiKey.CONSUMER_GROUP_HEARTBEAT, request
            )
            code: int = response.error_code
            return ErrorCode.NONE if code in _FORGOTTEN else code

        await coordinator.persist(attempt, f"{self._what}: leave", time_limit=time_limit)
        self.generation = -1

    @property
    def _what(self) -> str:
        return f"group {self._around.settings.group}"

    async def _beat(self) -> tuple[ErrorCode, str | None]:
        """One heartbeat and what it brought. Raises `UnsupportedVersion`."""
        coordinator = self._around.coordinator
        try:
            connection = await coordinator.connect(coordinator.membership_lane)
            version = connection.version_for(ApiKey.CONSUMER_GROUP_HEARTBEAT)
            if version < _VERSION_OF_MEMBER_IDS:
                raise UnsupportedVersion(f"{connection.address} serves only a preview of ConsumerGroupHeartbeat")
            request = self._request()
            self._was_sent = True
            limit = min(self._around.client.request_timeout, _ANSWER_TIME_LIMIT)
            response: ConsumerGroupHeartbeatResponse = await connection.request(request, version, limit)
        except UnsupportedVersion:
            raise
        except Retriable as error:
            log.debug("%s: heartbeat failed, trying again: %s", self._what, error)
            self._is_unsure = True
            coordinator.forget()
            return ErrorCode.NETWORK_EXCEPTION, None
        except KafkaError as error:
            if error.code is None:
                raise
            return error.code, error.message
        code = error_code(response.error_code)
        if code is ErrorCode.NONE:
            self._take(response)
        else:
            self._is_unsure = True
        return code, response.error_message

    def _request(self) -> Heartbeat:
        settings = self._around.settings
        topics = self._around.topics()
        is_full = self._is_unsure or self._epoch == _JOIN
        request = Heartbeat(
            group_id=settings.group,
            member_id=self.member_id,
            member_epoch=self._epoch,
            instance_id=settings.instance_id,
        )
        if is_full:
            request.rebalance_timeout_ms = int(settings.rebalance_timeout * 1000)
            request.rack_id = settings.rack or None
            request.server_assignor = settings.server_assignor
        if is_full or topics != self._told_topics:
            request.subscribed_topic_names = sorted(topics)
            self._told_topics = topics
        if is_full or self._has_news:
            request.topic_partitions = self._report()
        self._is_unsure = self._has_news = False
        return request

    def _report(self) -> list[Heartbeat.TopicPartitions]:
        topics: dict[UUID, list[int]] = {}
        for tp, topic_id in self._owned.items():
            topics.setdefault(topic_id, []).append(tp.partition)
        return [Heartbeat.TopicPartitions(topic_id=each, partitions=sorted(topics[each])) for each in topics]

    def _take(self, response: ConsumerGroupHeartbeatResponse) -> None:
        self._epoch = self.generation = response.member_epoch
        self._interval = response.heartbeat_interval_ms / 1000
        if response.assignment is not None:
            self._target = {each.topic_id: each.partitions for each in response.assignment.topic_partitions}
            self.is_stable = False
            if self._handover is None or self._handover.done():
                self._handover = self._around.tasks.spawn("handover", self._reconcile())
        elif self._handover is None:
            self._handover = self._around.tasks.spawn("handover", self._reconcile())

    async def _reconcile(self) -> None:
        """Get from what is owned to what should be: give up first, then take on, then report."""
        while True:
            target = self._target
            leaving = [tp for tp, topic_id in self._owned.items() if tp.partition not in target.get(topic_id, ())]
            if leaving:
                await self._around.handover.give_up(leaving)
                for tp in leaving:
                    del self._owned[tp]
                self._report_soon()
            if self._target is not target:
                continue
            named, is_complete = self._named(target)
            coming = {tp: topic_id for tp, topic_id in named.items() if tp not in self._owned}
            self._owned |= coming
            await self._around.handover.take_on(coming)
            self._report_soon()
            if self._target is target and is_complete:
                break
            if not is_complete:
                self._around.client.request_refresh()
                await asyncio.sleep(_NAMES_INTERVAL)
        self.is_stable = True
        self._around.on_stable()

    def _named(self, target: dict[UUID, list[int]]) -> tuple[dict[TopicPartition, UUID], bool]:
        """The target by name, and whether all of its topics are known here."""
        named: dict[TopicPartition, UUID] = {}
        is_complete = True
        for topic_id, numbers in target.items():
            name = self._around.client.cluster.topic_name(topic_id)
            if name is None:
                is_complete = False
                continue
            named.update({TopicPartition(name, number): topic_id for number in numbers})
        return named, is_complete

    def _report_soon(self) -> None:
        self._has_news = True
        self._poked.set()

    async def _start_anew(self, code: ErrorCode) -> None:
        log.warning("%s: this member is not known any more (%s): joining again", self._what, code.name)
        handover = self._stop_handover()
        if handover is not None:
            await asyncio.wait([handover])
        self._epoch, self.generation = _JOIN, -1
        self._owned.clear()
        self._target = {}
        self._is_unsure = True
        self.is_stable = False
        await self._around.handover.lose()

    def _stop_handover(self) -> asyncio.Task[None] | None:
        handover, self._handover = self._handover, None
        if handover is None or handover.done():
            return None
        handover.cancel()
        return handover

    async def _pause(self, seconds: float) -> None:
        """Until the next heartbeat is due, or there is something to tell."""
        try:
            async with asyncio.timeout(seconds):
                await self._poked.wait()
        except TimeoutError:
            pass
