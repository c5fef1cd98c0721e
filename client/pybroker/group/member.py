"""A consumer's membership in its group, whatever the protocol: joins, keeps what is finished committed, leaves.

Rules: what cannot be helped is kept as `failure` and raised to who reads. Commits in the background are made while
something is finished, every `commit_interval`; closing commits first and leaves then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from pybroker.client import Client
from pybroker.errors import KafkaError, UnsupportedVersion
from pybroker.group.classic import Classic
from pybroker.group.committed import CommittedOffsets
from pybroker.group.coordinator import Coordinator
from pybroker.group.handover import Events, Handover, StartInGroup
from pybroker.group.membership import Membership, Surroundings
from pybroker.group.server_side import ServerSide
from pybroker.group.settings import GroupMetadata, GroupSettings, Position, Slow
from pybroker.metadata import TopicPartition
from pybroker.reading import Reading
from pybroker.tasks import TaskOwner
from pybroker_protocol.errors import ErrorCode

__all__ = ["GroupMember"]

log = logging.getLogger("pybroker.consumer")

_CLOSE_TIME_LIMIT: Final = 5.0
_NOT_BY_THE_BROKER: Final = frozenset({ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.INCONSISTENT_GROUP_PROTOCOL})
"""The group is of members that only know the classic protocol, and cannot be changed over."""


class GroupMember:
    """`topics()` are the names subscribed to; `start(tp)` is where to begin where nothing is committed."""

    def __init__(
        self,
        client: Client,
        settings: GroupSettings,
        reading: Reading,
        tasks: TaskOwner,
        *,
        topics: Callable[[], frozenset[str]],
        start: Callable[[TopicPartition], StartInGroup],
        on_change: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.failure: KafkaError | None = None
        self.coordinator = Coordinator(client, settings.group)
        self.committed = CommittedOffsets(client, self.coordinator, lambda: self.metadata, self._owns)
        self.events = Events(settings)
        self.handover = Handover(settings, reading, self.committed, self.events, tasks, start)
        self._reading = reading
        self._tasks = tasks
        self._on_change = on_change
        self._around = Surroundings(client, settings, self.coordinator, self.handover, tasks, topics, self._on_stable)
        self._stable_at: float | None = None
        self._membership: Membership = (
            Classic(self._around) if settings.group_protocol == "classic" else ServerSide(self._around)
        )
        self._running: asyncio.Task[None] | None = None

    def open(self) -> None:
        self._running = self._tasks.spawn("group membership", self._run())
        self._tasks.spawn("commits", self._commit_now_and_then())
        self._tasks.spawn("watch over the handler", self._watch())

    @property
    def metadata(self) -> GroupMetadata:
        settings, membership = self.settings, self._membership
        return GroupMetadata(settings.group, membership.generation, membership.member_id, settings.instance_id)

    def idle_for(self) -> float | None:
        """For how many seconds this member has had what the group wants it to have; None while it has not."""
        if not self._membership.is_stable or self._stable_at is None:
            return None
        return asyncio.get_running_loop().time() - self._stable_at

    @property
    def protocol(self) -> str:
        """By which protocol it is a member: "consumer" (KIP-848) or "classic"."""
        return "consumer" if isinstance(self._membership, ServerSide) else "classic"

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure

    def on_metadata(self) -> None:
        self._membership.on_metadata()

    async def commit(self, positions: Mapping[TopicPartition, Position], time_limit: float) -> None:
        await self.committed.commit(positions, time_limit=time_limit)

    async def close(self) -> None:
        """Commit what is finished, tell the group, leave it."""
        self.handover.is_closing = True
        try:
            if self.failure is None and self._running is not None:
                try:
                    await self.handover.give_up(self.handover.owned, time_limit=_CLOSE_TIME_LIMIT)
                finally:
                    await self._leave()
        finally:
            self.coordinator.close()
            self.events.close()

    async def _leave(self) -> None:
        await self._end_run()
        try:
            await self._membership.leave(_CLOSE_TIME_LIMIT)
        except KafkaError as error:
            log.warning("group %s: could not say that this member leaves: %s", self.settings.group, error)

    def _on_stable(self) -> None:
        self._stable_at = asyncio.get_running_loop().time()
        self._on_change()

    async def _end_run(self) -> None:
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.wait([self._running])

    def _owns(self, tp: TopicPartition) -> bool:
        return tp in self.handover.owned

    async def _run(self) -> None:
        try:
            try:
                await self._membership.run()
            except KafkaError as error:
                if not self._may_fall_back(error):
                    raise
                log.info("group %s: using the classic protocol: %s", self.settings.group, error)
                self._membership = Classic(self._around)
                await self._membership.run()
        except KafkaError as error:
            self.failure = error
            await self.handover.lose()
            self._on_change()

    def _may_fall_back(self, error: KafkaError) -> bool:
        if self.settings.group_protocol != "auto" or self._membership.generation >= 0:
            return False
        return isinstance(error, UnsupportedVersion) or error.code in _NOT_BY_THE_BROKER

    async def _commit_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self.settings.commit_interval)
            await self.handover.commit_finished(self.handover.owned, self.settings.rebalance_timeout)

    async def _watch(self) -> None:
        """Say it when the application is slow. It costs nothing but the delay: the membership does not depend on it."""
        limit = self.settings.max_poll_interval
        loop = asyncio.get_running_loop()
        last, since, is_told = None, loop.time(), False
        while True:
            await asyncio.sleep(limit / 4)
            now = self._reading.work.progress()
            if now is None or now != last:
                last, since, is_told = now, loop.time(), False
            elif loop.time() - since >= limit and not is_told:
                is_told = True
                seconds = loop.time() - since
                log.warning(
                    "group %s: a handler has been busy with one record for %.0f s (max_poll_interval is %g)."
                    " The membership is kept; the records behind it wait",
                    self.settings.group,
                    seconds,
                    limit,
                )
                await self.events.tell(Slow(seconds))
