"""Follows one leader: fetches everything that this broker follows there, over one connection, again and again.

Rules of this file: the event loop only. There is one fetch at a time, and the next one goes out when what the last one
brought is as durable as its topics want it (design D7): so the offset that is asked for tells the leader how far this
replica's own device has got, and nothing else has to. All that one answer brought is flushed together.

What an answer says of a partition is believed only while that partition still follows this leader in the epoch in which
it was asked (R2, R9). A partition that cannot be fetched rests for a moment and leaves the others alone: it waits for
newer metadata (any error), for its log to be cut (`truncation.py`), or for the leader's offsets.

Partitions that begin to be followed while a fetch waits at the leader are not made to wait for its end: any other
request on the connection makes the leader answer it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import ApiVersionsRequest, FetchRequest, FetchResponse
from pybroker_server import __version__
from pybroker_server.peers.peers import Lane
from pybroker_server.peers.problem import PeerError
from pybroker_server.replica.follower_parts import FollowerParts
from pybroker_server.replica.follower_session import FollowerSession, Key, grouped_forgotten, grouped_topics
from pybroker_server.replica.leader_offsets import EARLIEST, LATEST, ask_leader
from pybroker_server.replica.partition import Partition
from pybroker_server.replica.truncation import cut_offset
from pybroker_server.runtime.ports import TimerHandle
from pybroker_server.telemetry.events import LineLimiter, get_logger

_BACKOFF_FIRST_MS: Final = 10
_SESSION_ERRORS: Final = frozenset(
    {
        ErrorCode.FETCH_SESSION_ID_NOT_FOUND,
        ErrorCode.INVALID_FETCH_SESSION_EPOCH,
        ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR,
    }
)
_log = get_logger("pybroker.replica")


class Following:
    """One partition, followed in one leader epoch."""

    __slots__ = ("asked_offset", "backoff_ms", "is_resting", "key", "leader_epoch", "partition")

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.key: Key = (partition.topic_id.int, partition.index)
        self.leader_epoch = partition.state.leader_epoch
        self.asked_offset = -1
        self.backoff_ms = 0
        self.is_resting = False


class LeaderFetcher:
    """`follow` and `unfollow` at any time; `stop` once."""

    def __init__(self, leader: int, parts: FollowerParts) -> None:
        self.leader = leader
        self._parts = parts
        self._followed: dict[Key, Following] = {}
        self._session = FollowerSession()
        self._is_scheduled = False
        self._is_asking = False
        self._is_nudged = False
        self._flushes = 0
        """Partitions that are being flushed; the next fetch waits for all of them."""
        self._pause: TimerHandle | None = None
        self._backoff_ms = 0
        self._is_stopped = False
        self._lines = LineLimiter()

    @property
    def is_idle(self) -> bool:
        return not self._followed

    def follow(self, partition: Partition) -> None:
        """In its present leader epoch, from the end of its log."""
        entry = Following(partition)
        self._followed[entry.key] = entry
        self._settle(entry)

    def unfollow(self, key: Key) -> None:
        if self._followed.pop(key, None) is not None:
            self._session.forget(key)

    def stop(self) -> None:
        self._is_stopped = True
        if self._pause is not None:
            self._pause.cancel()

    # -- one fetch after the other

    def _schedule(self) -> None:
        if not self._is_scheduled and not self._is_stopped:
            self._is_scheduled = True
            self._parts.runtime.timers.call_soon(self._run)

    def _run(self) -> None:
        self._is_scheduled = False
        if self._is_stopped or self._flushes or self._pause is not None:
            return
        if not self._is_asking:
            if not self._session.is_empty:
                self._ask()
        elif self._session.has_news and not self._is_nudged:
            self._is_nudged = True
            request = ApiVersionsRequest(client_software_name="pybroker-broker", client_software_version=__version__)
            self._parts.peers.send(self.leader, request, _ignore, lane=Lane.FETCH)

    def _ask(self) -> None:
        config = self._parts.config
        session_id, epoch, named, forgotten = self._session.next_request()
        request = FetchRequest(
            replica_state=FetchRequest.ReplicaState(
                replica_id=self._parts.node_id, replica_epoch=self._parts.broker_epoch()
            ),
            max_wait_ms=config.replica_fetch_wait_max_ms,
            min_bytes=config.replica_fetch_min_bytes,
            max_bytes=config.replica_fetch_response_max_bytes,
            session_id=session_id,
            session_epoch=epoch,
            topics=grouped_topics((key, self._place(self._followed[key])) for key in named),
            forgotten_topics_data=grouped_forgotten(forgotten),
        )
        self._is_asking, self._is_nudged = True, False
        self._parts.peers.send(
            self.leader, request, self._on_answer, lane=Lane.FETCH, timeout_ms=config.replica_socket_timeout_ms
        )

    def _place(self, entry: Following) -> FetchRequest.FetchPartition:
        log = entry.partition.log
        assert not entry.partition.needs_flush(), "R11: the leader would take for durable what is not"
        entry.asked_offset = log.log_end_offset
        return FetchRequest.FetchPartition(
            partition=entry.partition.index,
            current_leader_epoch=entry.leader_epoch,
            fetch_offset=log.log_end_offset,
            last_fetched_epoch=log.latest_epoch,
            log_start_offset=log.log_start_offset,
            partition_max_bytes=self._parts.config.replica_fetch_max_bytes,
        )

    def _on_answer(self, response: FetchResponse | None, error: PeerError | None) -> None:
        self._is_asking = False
        if self._is_stopped:
            return
        if response is None:
            self._say("leader_not_reached", str(error))
            self._begin_anew(after_pause=True)
            return
        if response.error_code:
            self._begin_anew(after_pause=response.error_code not in _SESSION_ERRORS)
            return
        self._backoff_ms = 0
        self._session.on_response(response)
        for topic in response.responses:
            for data in topic.partitions:
                entry = self._followed.get((topic.topic_id.int, data.partition_index))
                if entry is not None:
                    self._take(entry, data)
        self._schedule()

    def _begin_anew(self, *, after_pause: bool) -> None:
        self._session.reset()
        if not after_pause:
            self._schedule()
            return
        self._backoff_ms = self._longer(self._backoff_ms)
        self._pause = self._parts.runtime.timers.call_after_ms(self._backoff_ms, self._after_pause)

    def _after_pause(self) -> None:
        self._pause = None
        self._schedule()

    def _longer(self, backoff_ms: int) -> int:
        return min(max(2 * backoff_ms, _BACKOFF_FIRST_MS), max(self._parts.config.replica_fetch_backoff_ms, 1))

    # -- one partition

    def _is_current(self, entry: Following) -> bool:
        partition = entry.partition
        return (
            self._followed.get(entry.key) is entry
            and partition.error is ErrorCode.NONE
            and partition.state.leader == self.leader
            and partition.state.leader_epoch == entry.leader_epoch
        )

    def _take(self, entry: Following, data: FetchResponse.PartitionData) -> None:
        """What the answer says of one partition."""
        partition = entry.partition
        if entry.is_resting or not self._is_current(entry) or entry.asked_offset != partition.log.log_end_offset:
            return
        if data.error_code == ErrorCode.OFFSET_OUT_OF_RANGE:
            self._work_on(entry, self._find_place(entry))
        elif data.error_code:
            self._rest(entry)
        elif data.diverging_epoch is not None:
            diverging = data.diverging_epoch
            offset = cut_offset(partition.log, diverging.epoch, diverging.end_offset)
            self._work_on(entry, self._cut(entry, offset, f"epoch {diverging.epoch} ended at {diverging.end_offset}"))
        else:
            self._append(entry, data)

    def _append(self, entry: Following, data: FetchResponse.PartitionData) -> None:
        partition = entry.partition
        try:
            if data.records:
                wall_ms = self._parts.runtime.clock.wall_ms()
                partition.append_as_follower(memoryview(data.records), entry.leader_epoch, wall_ms)
        except KafkaError as error:
            if partition.error is ErrorCode.NONE:
                self._say("replica_refused", f"{partition.topic}-{partition.index}: {error}")
                self._rest(entry)
            return
        entry.backoff_ms = 0
        log_start_offset = partition.log.log_start_offset
        partition.on_leader_offsets(data.high_watermark, data.log_start_offset)
        if partition.log.log_start_offset != log_start_offset:
            self._session.note(entry.key)  # whoever deleted records there waits for us to say so
        if partition.log.log_end_offset != entry.asked_offset:
            self._session.note(entry.key)
            if partition.needs_flush():
                self._flushes += 1
                partition.when_flushed(self._on_flushed)
            self._pay(entry, len(data.records or b""))

    def _pay(self, entry: Following, size_bytes: int) -> None:
        """A throttled replica that is not in sync rests when it had more than its share (KIP-73)."""
        partition, parts = entry.partition, self._parts
        if not partition.is_throttled_as_follower or parts.node_id in partition.state.isr:
            return
        now_ms = parts.runtime.clock.monotonic_ms()
        parts.quota.note(size_bytes, now_ms)
        wait_ms = parts.quota.wait_ms(now_ms)
        if wait_ms:
            self._rest(entry, wait_ms)

    def _on_flushed(self) -> None:
        self._flushes -= 1
        if not self._flushes:
            self._schedule()

    def _settle(self, entry: Following) -> None:
        """Lets it be fetched, once what is in its log is durable."""
        if not self._is_current(entry):
            return
        if entry.partition.needs_flush():
            entry.is_resting = True
            entry.partition.when_flushed(partial(self._settle, entry))
            return
        entry.is_resting = False
        self._session.note(entry.key)
        self._schedule()

    def _rest(self, entry: Following, delay_ms: int | None = None) -> None:
        """Tries it again a little later, unless newer metadata comes first."""
        entry.is_resting = True
        if delay_ms is None:
            delay_ms = entry.backoff_ms = self._longer(entry.backoff_ms)
        self._session.forget(entry.key)
        self._parts.runtime.timers.call_after_ms(delay_ms, partial(self._settle, entry))

    # -- what takes longer

    def _work_on(self, entry: Following, work: Awaitable[bool]) -> None:
        """The partition rests until `work` is done; its result tells whether to go on at once."""
        entry.is_resting = True
        self._session.forget(entry.key)
        name = f"follow {entry.partition.topic}-{entry.partition.index}"
        self._parts.runtime.tasks.spawn(name, self._finish(entry, work))

    async def _finish(self, entry: Following, work: Awaitable[bool]) -> None:
        try:
            goes_on = await work
        except PeerError as error:
            self._say("leader_not_reached", str(error))
            goes_on = False
        except KafkaError:
            goes_on = False
        if self._is_stopped:
            return
        if goes_on:
            self._settle(entry)
        elif self._is_current(entry):
            self._rest(entry)

    async def _cut(self, entry: Following, offset: int, why: str) -> bool:
        self._say_cut(entry.partition, offset, why)
        return await self._parts.truncate(entry.partition, offset)

    async def _find_place(self, entry: Following) -> bool:
        """The leader has nothing at the end of our log: it lost what came before (an unclean election), or has let go
        of what comes next. On no other error is anything thrown away.
        """
        partition, peers = entry.partition, self._parts.peers
        ask: Callable[[int], Awaitable[int]] = partial(
            ask_leader, peers, self.leader, partition, entry.leader_epoch, self._parts.node_id
        )
        latest = await ask(LATEST)
        if not self._is_current(entry):
            return False
        if latest < partition.log.log_end_offset:
            return await self._cut(entry, latest, f"the leader's log ends at {latest}")
        earliest = await ask(EARLIEST)
        if not self._is_current(entry):
            return False
        if earliest > partition.log.log_end_offset:
            self._say_cut(partition, earliest, f"the leader's log begins at {earliest}")
            return await self._parts.start_anew(partition, earliest)
        entry.backoff_ms = self._longer(entry.backoff_ms)
        return False

    # -- log lines

    def _say(self, event: str, reason: str) -> None:
        held_back = self._lines.admit((event,), self._parts.runtime.clock.monotonic_ms())
        if held_back is None:
            return
        if event == "leader_not_reached":
            _log.info("leader_not_reached", leader=self.leader, reason=reason, more_like_it=held_back)
        else:
            _log.error("replica_refused", leader=self.leader, reason=reason, more_like_it=held_back)

    def _say_cut(self, partition: Partition, offset: int, why: str) -> None:
        _log.info(
            "replica_truncated",
            topic=partition.topic,
            partition=partition.index,
            leader=self.leader,
            to_offset=offset,
            end_offset=partition.log.log_end_offset,
            high_watermark=partition.high_watermark,
            reason=why,
        )


def _ignore(response: Any, error: PeerError | None) -> None:
    """The answer of a request that was made for its effect."""
