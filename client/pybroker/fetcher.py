"""Keeps the buffers of a consumer's partitions full: asks leaders for records and for offsets.

Rules: one fetch at a time for each broker, over a connection of its own, because a broker answers in order and a fetch
waits. Nothing here is awaited by the application: it reads what is buffered and is woken when there is more. Errors
that will pass are tried again for as long as it takes; the others are kept for the application, which asked for the
records.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from math import inf
from typing import Any, Final
from uuid import UUID

from pybroker.client import Client
from pybroker.connection import BrokerConnection
from pybroker.errors import Closed, CorruptData, KafkaError, OffsetOutOfRange, error_for
from pybroker.fetched import Decoder, Fetched
from pybroker.metadata import NO_LEADER, ZERO_ID, Broker, TopicPartition
from pybroker.offsets import ask_offsets
from pybroker.partition_reader import PartitionReader, Start
from pybroker.retry import Backoff, FetchVerdict, fetch_verdict, stales_metadata
from pybroker.tasks import TaskOwner
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import FetchRequest, FetchResponse

__all__ = ["FetchSettings", "Fetcher"]

log = logging.getLogger("pybroker.consumer")

_lanes = count()
_VERSION_OF_TOPIC_IDS: Final = 13
_NO_LEADER_WAIT: Final = 0.1
_SHORT_WAIT_MS: Final = 50
"""How long a broker may wait for data while partitions it leads have full buffers: they may empty meanwhile."""
_ANSWER_SLACK: Final = 5.0

Failure = Callable[[KafkaError], None]


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """Sizes in bytes; `max_wait` in seconds."""

    max_wait: float = 0.5
    min_bytes: int = 1
    max_bytes: int = 50 * 1024 * 1024
    partition_bytes: int = 1024 * 1024
    partition_buffer_bytes: int = 2 * 1024 * 1024
    read_committed: bool = False
    rack: str = ""


class Fetcher:
    """Reads for `readers`, which the consumer fills and empties; `wake` after every change."""

    def __init__(
        self,
        client: Client,
        tasks: TaskOwner,
        settings: FetchSettings,
        decoder: Decoder,
        *,
        on_records: Callable[[], None],
        reset: Start | None,
    ) -> None:
        """`reset`: where to go on when an offset is not there any more; None makes that an error."""
        self.readers: dict[TopicPartition, PartitionReader] = {}
        self.failures: dict[TopicPartition, KafkaError] = {}
        """What the application must hear of, by partition."""
        self._client = client
        self._tasks = tasks
        self._settings = settings
        self._decoder = decoder
        self._on_records = on_records
        self._reset = reset
        self._loop = asyncio.get_running_loop()
        self._lane = f"fetch {next(_lanes)}"  # consumers of one client must not wait for each other's data
        self._fetching: set[int] = set()
        self._connecting: set[int] = set()
        self._setbacks: dict[int, int] = {}
        self._is_scheduled = False
        self._is_stopped = False
        self._timer: asyncio.TimerHandle | None = None
        self._backoff = Backoff()

    def wake(self) -> None:
        """Look at everything soon."""
        if not self._is_scheduled and not self._is_stopped:
            self._is_scheduled = True
            self._loop.call_soon(self._run)

    def stop(self) -> None:
        """Ask for nothing more; answers that still come are dropped."""
        self._is_stopped = True
        self._client.pool.close_lane(self._lane)
        if self._timer is not None:
            self._timer.cancel()

    # Asking.

    def _run(self) -> None:
        self._is_scheduled = False
        if self._is_stopped:
            return
        now = self._loop.time()
        wake_at = inf
        by_node: dict[int, list[PartitionReader]] = {}
        to_find: dict[int, list[PartitionReader]] = {}
        held: set[int] = set()
        for reader in self.readers.values():
            if reader.tp in self.failures or reader.is_asking or reader.is_fetching:
                continue
            if reader.not_before > now:
                wake_at = min(wake_at, reader.not_before)
                continue
            node = self._client.cluster.leader(reader.tp)
            if node == NO_LEADER:
                self._client.request_refresh()
                reader.not_before = now + _NO_LEADER_WAIT
                wake_at = min(wake_at, reader.not_before)
            elif reader.start is not None:
                to_find.setdefault(node, []).append(reader)
            elif reader.may_fetch(now, self._settings.partition_buffer_bytes):
                by_node.setdefault(node, []).append(reader)
            elif not reader.is_paused:
                held.add(node)
        for node, readers in to_find.items():
            for reader in readers:
                reader.is_asking = True
            self._tasks.spawn("find offsets", self._find(node, readers))
        for node, readers in by_node.items():
            self._serve_node(node, readers, is_short=node in held)
        self._set_timer(wake_at)

    def _serve_node(self, node: int, readers: list[PartitionReader], *, is_short: bool) -> None:
        if node in self._fetching:
            return
        connection = self._client.pool.ready(node, self._lane)
        if connection is None:
            self._connect(node)
            return
        random.shuffle(readers)  # the first ones get most of an answer that is full
        try:
            asked = {reader.tp: (reader, reader.generation, reader.fetch_offset) for reader in readers}
            request, version, names = self._request(connection, readers, is_short)
            limit = self._settings.max_wait + self._client.request_timeout + _ANSWER_SLACK
            answer = connection.submit(request, version, limit)
        except KafkaError as error:
            self._on_broken(node, readers, error)
            return
        self._fetching.add(node)
        for reader in readers:
            reader.is_fetching = True
        answer.add_done_callback(lambda done: self._on_answer(node, asked, names, done))

    def _connect(self, node: int) -> None:
        if node in self._connecting:
            return
        self._connecting.add(node)

        def on_done(error: KafkaError | None) -> None:
            self._connecting.discard(node)
            if isinstance(error, Closed):
                self._on_records()  # who reads finds out
            elif error is not None:
                self._client.request_refresh()
                self._set_timer(self._loop.time() + _NO_LEADER_WAIT)
            else:
                self.wake()

        self._client.pool.connect_soon(node, on_done, self._lane)

    def _request(
        self, connection: BrokerConnection, readers: list[PartitionReader], is_short: bool
    ) -> tuple[FetchRequest, int, dict[UUID, str]]:
        settings = self._settings
        topics: dict[str, FetchRequest.FetchTopic] = {}
        names: dict[UUID, str] = {}
        for reader in readers:
            name = reader.tp.topic
            topic = topics.get(name)
            if topic is None:
                view = self._client.cluster.topic(name)
                topic_id = view.topic_id if view is not None else ZERO_ID
                names[topic_id] = name
                topic = topics[name] = FetchRequest.FetchTopic(topic=name, topic_id=topic_id, partitions=[])
            partition = self._client.cluster.partition(reader.tp)
            topic.partitions.append(
                FetchRequest.FetchPartition(
                    partition=reader.tp.partition,
                    current_leader_epoch=partition.leader_epoch if partition is not None else -1,
                    fetch_offset=reader.fetch_offset,
                    last_fetched_epoch=reader.last_epoch,
                    log_start_offset=-1,
                    partition_max_bytes=settings.partition_bytes,
                )
            )
        has_ids = ZERO_ID not in names
        version = connection.version_for(ApiKey.FETCH, None if has_ids else _VERSION_OF_TOPIC_IDS - 1)
        request = FetchRequest(
            replica_id=-1,
            max_wait_ms=_SHORT_WAIT_MS if is_short else int(settings.max_wait * 1000),
            min_bytes=settings.min_bytes,
            max_bytes=settings.max_bytes,
            isolation_level=int(settings.read_committed),
            session_id=0,
            session_epoch=-1,
            topics=list(topics.values()),
            forgotten_topics_data=[],
            rack_id=settings.rack,
        )
        return request, version, names

    # Answers.

    def _on_answer(
        self,
        node: int,
        asked: dict[TopicPartition, tuple[PartitionReader, int, int]],
        names: dict[UUID, str],
        answer: asyncio.Future[Any],
    ) -> None:
        self._fetching.discard(node)
        for reader, _, _ in asked.values():
            reader.is_fetching = False
        error = None if answer.cancelled() else answer.exception()
        if self._is_stopped or answer.cancelled():
            return
        readers = [reader for reader, _, _ in asked.values()]
        if error is not None:
            self._on_broken(node, readers, error)
            return
        response: FetchResponse = answer.result()
        if response.error_code:
            self._on_broken(node, readers, error_for(response.error_code, "fetch"))
            return
        self._setbacks.pop(node, None)
        for topic in response.responses:
            name = topic.topic or names.get(topic.topic_id, "")
            for partition in topic.partitions:
                found = asked.get(TopicPartition(name, partition.partition_index))
                if found is None or found[0].generation != found[1] or found[0].fetch_offset != found[2]:
                    continue
                if self.readers.get(found[0].tp) is found[0]:
                    self._on_partition(found[0], partition, response)
        self._on_records()
        self.wake()

    def _on_broken(self, node: int, readers: Iterable[PartitionReader], error: BaseException) -> None:
        """No answer, or one that says nothing of single partitions: later, perhaps from another broker."""
        if not isinstance(error, KafkaError):
            raise error
        setbacks = self._setbacks[node] = self._setbacks.get(node, 0) + 1
        until = self._loop.time() + self._backoff.delay(setbacks, random.random())
        for reader in readers:
            reader.not_before = until
        log.debug("fetch from broker %d failed, trying again: %s", node, error)
        self._client.request_refresh()
        self._set_timer(until)

    def _on_partition(
        self, reader: PartitionReader, answer: FetchResponse.PartitionData, response: FetchResponse
    ) -> None:
        verdict = fetch_verdict(answer.error_code)
        if verdict is FetchVerdict.OUT_OF_RANGE:
            self._on_out_of_range(reader)
        elif verdict is FetchVerdict.FAIL:
            self.failures[reader.tp] = error_for(answer.error_code, f"fetch {reader.tp}")
        elif verdict is FetchVerdict.RETRY:
            self._on_retry(reader, answer, response)
        elif answer.diverging_epoch is not None and answer.diverging_epoch.epoch >= 0:
            self._on_divergence(reader, answer.diverging_epoch.end_offset)
        else:
            reader.high_watermark = (
                answer.last_stable_offset if self._settings.read_committed else answer.high_watermark
            )
            reader.log_start_offset = answer.log_start_offset
            if answer.records:
                self._take(reader, answer)

    def _take(self, reader: PartitionReader, answer: FetchResponse.PartitionData) -> None:
        assert answer.records is not None
        aborted = [(entry.producer_id, entry.first_offset) for entry in answer.aborted_transactions or ()]
        try:
            reader.take(Fetched(reader.tp, reader.fetch_offset, answer.records, aborted, self._decoder))
        except CorruptData as error:
            self.failures[reader.tp] = error

    def _on_out_of_range(self, reader: PartitionReader) -> None:
        if self._reset is None:
            self.failures[reader.tp] = OffsetOutOfRange(
                f"{reader.tp}: offset {reader.fetch_offset} is not there any more (deleted by retention or truncated)",
                code=ErrorCode.OFFSET_OUT_OF_RANGE,
            )
            return
        log.warning(
            "%s: offset %d is not there any more (deleted by retention or truncated): going on at %s",
            reader.tp,
            reader.fetch_offset,
            self._reset,
        )
        reader.seek(self._reset)

    def _on_divergence(self, reader: PartitionReader, end_offset: int) -> None:
        """The log was cut below what was read: a leader was elected that lacked it (KIP-320)."""
        log.warning(
            "%s: records from offset %d on were lost by the cluster after they were read", reader.tp, end_offset
        )
        reader.seek(min(end_offset, reader.fetch_offset))

    def _on_retry(self, reader: PartitionReader, answer: FetchResponse.PartitionData, response: FetchResponse) -> None:
        leader = answer.current_leader
        if leader is not None and leader.leader_id >= 0:
            endpoints = [Broker(node.node_id, node.host, node.port, node.rack) for node in response.node_endpoints]
            self._client.learn_leader(reader.tp, leader.leader_id, leader.leader_epoch, endpoints)
        if stales_metadata(answer.error_code) or answer.error_code == ErrorCode.UNKNOWN_TOPIC_ID:
            self._client.request_refresh()
        reader.not_before = self._loop.time() + self._backoff.delay(2, random.random())

    # Offsets.

    async def _find(self, node: int, readers: list[PartitionReader]) -> None:
        """What the starts of these partitions mean."""
        asked = [(reader, reader.generation, reader.start) for reader in readers if reader.start is not None]
        try:
            found = await ask_offsets(
                self._client,
                node,
                {reader.tp: start for reader, _, start in asked},
                read_committed=self._settings.read_committed,
            )
        except KafkaError as error:
            found = {reader.tp: error for reader in readers}
            self._client.request_refresh()
        for reader, generation, _ in asked:
            if reader.generation != generation:
                continue
            reader.is_asking = False
            outcome = found.get(reader.tp)
            if isinstance(outcome, int):
                reader.found(outcome)
            elif isinstance(outcome, KafkaError) and not _will_pass(outcome):
                self.failures[reader.tp] = outcome
            else:
                self._client.request_refresh()
                reader.not_before = self._loop.time() + self._backoff.delay(2, random.random())
        self._on_records()
        self.wake()

    def _set_timer(self, wake_at: float) -> None:
        if self._timer is not None:
            if self._timer.when() <= wake_at:
                return
            self._timer.cancel()
            self._timer = None
        if wake_at < inf and not self._is_stopped:
            self._timer = self._loop.call_at(wake_at, self._on_timer)

    def _on_timer(self) -> None:
        # uvloop's timers may come a little before their time: one that came must not be taken for one that will.
        self._timer = None
        self.wake()


def _will_pass(error: KafkaError) -> bool:
    return error.code is None or fetch_verdict(error.code) is FetchVerdict.RETRY
