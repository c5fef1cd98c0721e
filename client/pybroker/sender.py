"""Moves batches from the accumulator to the brokers and the answers back.

Rules: everything here runs in callbacks of the event loop and never waits, so no caller's cancellation can reach it
half-way; `wake` says that something may have changed, and one `_run` per turn of the loop looks at everything. Tasks
are used only for what takes time and is rare: connecting and asking for a producer id.
"""

from __future__ import annotations

import asyncio
import random
from math import inf
from typing import Any, Final, NamedTuple
from uuid import UUID

from pybroker.accumulator import Accumulator, Identity, PartitionQueue
from pybroker.batch import Batch
from pybroker.client import Client
from pybroker.connection import BrokerConnection
from pybroker.errors import Closed, Fatal, KafkaError, Rejected, Retriable, error_for
from pybroker.metadata import NO_LEADER, ZERO_ID, Broker
from pybroker.pool import MAIN
from pybroker.retry import Backoff, ProduceVerdict, produce_verdict, stales_metadata
from pybroker.tasks import TaskOwner
from pybroker.transactions import LAST_PRODUCE_OF_V1, Transactions
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import (
    InitProducerIdRequest,
    InitProducerIdResponse,
    ProduceRequest,
    ProduceResponse,
)

__all__ = ["Sender"]

_REQUEST_BYTES_MAX: Final = 8 * 1024 * 1024
_VERSION_OF_TOPIC_IDS: Final = 13
_ANSWER_SLACK: Final = 2.0
"""How much longer than the broker, in seconds, we wait for an answer that the broker gives up on in time."""
_NO_LEADER_WAIT: Final = 0.1
_TRANSACTION_TIMEOUT_MS: Final = 0x7FFFFFFF


class _Sent(NamedTuple):
    queue: PartitionQueue
    batch: Batch


class Sender:
    """Sends what the accumulator holds. `acks` is -1 (all), 1 or 0."""

    def __init__(
        self,
        client: Client,
        accumulator: Accumulator,
        tasks: TaskOwner,
        *,
        acks: int,
        transactions: Transactions | None = None,
    ) -> None:
        self._client = client
        self._accumulator = accumulator
        self._tasks = tasks
        self._acks = acks
        self._transactions = transactions
        self._loop = asyncio.get_running_loop()
        self._identity: Identity | None = None
        self._is_asking_identity = False
        self._is_scheduled = False
        self._is_stopped = False
        self._connecting: set[int] = set()
        self._in_flight: dict[int, int] = {}
        self._idle_waiters: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._stop_listening = client.on_update(lambda _: self.wake())

    @property
    def is_busy(self) -> bool:
        """Whether requests are under way."""
        return any(self._in_flight.values())

    async def idle(self) -> None:
        """Until every request has its answer, or has been given up."""
        while self.is_busy:
            waiter = self._loop.create_future()
            self._idle_waiters.append(waiter)
            await waiter

    @property
    def _broker_time_limit(self) -> float:
        """Seconds that a broker may take for an answer: no longer than anybody waits for it."""
        return min(self._client.request_timeout, self._accumulator.settings.delivery_timeout)

    def now(self) -> float:
        """Seconds of the clock that batches are timed by."""
        return self._loop.time()

    def wake(self) -> None:
        """Look at everything soon."""
        if not self._is_scheduled and not self._is_stopped:
            self._is_scheduled = True
            self._loop.call_soon(self._run)

    def stop(self) -> None:
        """Send nothing more; answers that still come are taken."""
        self._is_stopped = True
        self._stop_listening()
        if self._timer is not None:
            self._timer.cancel()

    def _run(self) -> None:
        self._is_scheduled = False
        if self._is_stopped:
            return
        now = self._loop.time()
        wake_at = inf
        by_node: dict[int, list[PartitionQueue]] = {}
        for queue in self._accumulator.active:
            queue.expire(now, random.random())
            if (expires_at := queue.expires_at()) is not None:
                wake_at = min(wake_at, expires_at)
            if not self._has_identity_for(queue):
                continue
            sendable_at = queue.sendable_at(now)
            if sendable_at is None:
                continue
            if sendable_at > now:
                wake_at = min(wake_at, sendable_at)
                continue
            node = self._client.cluster.leader(queue.tp)
            if node == NO_LEADER:
                self._client.request_refresh()
                queue.postpone(now + _NO_LEADER_WAIT)
                wake_at = min(wake_at, now + _NO_LEADER_WAIT)
                continue
            by_node.setdefault(node, []).append(queue)
        for node, queues in by_node.items():
            self._serve_node(node, queues, now)
        self._set_timer(wake_at)

    def _has_identity_for(self, queue: PartitionQueue) -> bool:
        if self._transactions is not None:
            self._identity = self._transactions.identity
            return self._transactions.may_send(queue.tp)
        if not self._accumulator.settings.is_idempotent:
            return True
        if self._identity is not None and not queue.refuses(self._identity):
            return True
        if not self._is_asking_identity:
            self._is_asking_identity = True
            self._tasks.spawn("producer id", self._ask_identity())
        return False

    def _serve_node(self, node: int, queues: list[PartitionQueue], now: float) -> None:
        connection = self._client.pool.ready(node)
        if connection is None:
            self._connect(node)
            return
        while queues and self._in_flight.get(node, 0) < self._accumulator.settings.in_flight_max:
            request_bytes = 0
            sent: list[tuple[_Sent, memoryview]] = []
            for queue in queues:
                if request_bytes >= _REQUEST_BYTES_MAX:
                    break
                batch, data = queue.take(self._identity)
                self._accumulator.served(queue)
                sent.append((_Sent(queue, batch), data))
                request_bytes += len(data)
            self._send(node, connection, sent, now)
            queues = [queue for queue in queues if _is_due(queue, now)]

    def _connect(self, node: int) -> None:
        if node in self._connecting:
            return
        self._connecting.add(node)

        def on_done(error: KafkaError | None) -> None:
            self._connecting.discard(node)
            if isinstance(error, Closed):
                self._fail_everything(error)
                return
            if error is not None:
                self._client.request_refresh()
            self.wake()

        self._client.pool.connect_soon(node, on_done, MAIN)

    def _send(self, node: int, connection: BrokerConnection, sent: list[tuple[_Sent, memoryview]], now: float) -> None:
        batches = [each for each, _ in sent]
        try:
            request, version = self._request(connection, sent)
            answer = connection.submit(
                request,
                version,
                self._broker_time_limit + _ANSWER_SLACK,
                expects_response=self._acks != 0,
            )
        except Retriable:
            self._on_all(batches, ProduceVerdict.RETRY_NOT_APPENDED)
            return
        except KafkaError as error:
            self._on_refused(batches, error)
            return
        if self._acks == 0:
            for queue, batch in batches:
                queue.on_accepted(batch, -1, -1, now, random.random())
            return
        self._in_flight[node] = self._in_flight.get(node, 0) + 1
        answer.add_done_callback(lambda done: self._on_answer(node, batches, done))

    def _request(
        self, connection: BrokerConnection, sent: list[tuple[_Sent, memoryview]]
    ) -> tuple[ProduceRequest, int]:
        topics: dict[str, ProduceRequest.TopicProduceData] = {}
        has_ids = True
        for (_, batch), data in sent:
            name = batch.tp.topic
            topic = topics.get(name)
            if topic is None:
                topic_id = self._topic_id(name)
                has_ids = has_ids and topic_id != ZERO_ID
                topic = topics[name] = ProduceRequest.TopicProduceData(name=name, topic_id=topic_id, partition_data=[])
            topic.partition_data.append(ProduceRequest.PartitionProduceData(index=batch.tp.partition, records=data))
        highest = None if has_ids else _VERSION_OF_TOPIC_IDS - 1
        transactional_id = None
        if self._transactions is not None:
            transactional_id = self._transactions.transactional_id
            if not self._transactions.is_v2:
                highest = LAST_PRODUCE_OF_V1
        version = connection.version_for(ApiKey.PRODUCE, highest)
        request = ProduceRequest(
            transactional_id=transactional_id,
            acks=self._acks,
            timeout_ms=int(self._broker_time_limit * 1000),
            topic_data=list(topics.values()),
        )
        return request, version

    def _topic_id(self, name: str) -> UUID:
        topic = self._client.cluster.topic(name)
        return topic.topic_id if topic is not None else ZERO_ID

    # Answers.

    def _on_answer(self, node: int, sent: list[_Sent], answer: asyncio.Future[Any]) -> None:
        self._in_flight[node] -= 1
        if not self.is_busy:
            waiters, self._idle_waiters = self._idle_waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
        sent = [each for each in sent if not each.batch.is_done]  # a producer that was closed has given them up
        error = answer.exception()
        if error is not None:
            self._client.request_refresh()
            self._on_all(sent, ProduceVerdict.RETRY)
        else:
            self._on_response(sent, answer.result())
        self.wake()

    def _on_response(self, sent: list[_Sent], response: ProduceResponse) -> None:
        answers: dict[tuple[str | UUID, int], ProduceResponse.PartitionProduceResponse] = {}
        for topic in response.responses:
            for partition in topic.partition_responses:
                answers[topic.name or topic.topic_id, partition.index] = partition
        endpoints = [
            Broker(endpoint.node_id, endpoint.host, endpoint.port, endpoint.rack)
            for endpoint in response.node_endpoints
        ]
        for each in sent:
            topic_name, index = each.batch.tp
            found = answers.get((topic_name, index)) or answers.get((self._topic_id(topic_name), index))
            if found is None:
                self._on_all([each], ProduceVerdict.RETRY)
            else:
                self._on_partition(each, found, endpoints)

    def _on_partition(
        self, sent: _Sent, answer: ProduceResponse.PartitionProduceResponse, endpoints: list[Broker]
    ) -> None:
        queue, batch = sent
        code = answer.error_code
        verdict = produce_verdict(code)
        if verdict is ProduceVerdict.ACCEPTED:
            queue.on_accepted(batch, answer.base_offset, answer.log_append_time_ms, self._loop.time(), random.random())
            return
        if stales_metadata(code):
            leader = answer.current_leader
            if leader is not None and leader.leader_id >= 0:
                self._client.learn_leader(batch.tp, leader.leader_id, leader.leader_epoch, endpoints)
            self._client.request_refresh()
        is_idempotent = self._accumulator.settings.is_idempotent
        cannot_split = verdict is ProduceVerdict.SPLIT and (batch.record_count == 1 or batch.maybe_appended)
        if cannot_split or (verdict is ProduceVerdict.SEQUENCE_LOST and not is_idempotent):
            verdict = ProduceVerdict.FAIL
        if self._transactions is not None and verdict in (ProduceVerdict.SPLIT, ProduceVerdict.SEQUENCE_LOST):
            verdict = ProduceVerdict.FAIL  # what came behind it would be out of order: the transaction ends
        if verdict is ProduceVerdict.FAIL:
            queue.on_failed(batch, _refusal(batch, answer), self._loop.time(), random.random())
            self._accumulator.activate(queue)
        else:
            self._on_all([sent], verdict)

    def _on_all(self, sent: list[_Sent], verdict: ProduceVerdict) -> None:
        now = self._loop.time()
        for queue, batch in sent:
            parts = queue.on_setback(batch, verdict, now, random.random())
            self._accumulator.adopt(parts)
            self._accumulator.activate(queue)
        self.wake()

    def _on_refused(self, sent: list[_Sent], error: KafkaError) -> None:
        for queue, batch in sent:
            queue.on_failed(batch, error, self._loop.time(), random.random())
            self._accumulator.activate(queue)

    def _fail_everything(self, error: KafkaError) -> None:
        for queue in self._accumulator.queues:
            queue.fail_all(error)

    # Now and then.

    async def _ask_identity(self) -> None:
        """A producer id from any broker (KIP-98), asked for until it is there or refused for good."""
        backoff, attempt = Backoff(), 0
        request = InitProducerIdRequest(
            transactional_id=None,
            transaction_timeout_ms=_TRANSACTION_TIMEOUT_MS,
            producer_id=-1,
            producer_epoch=-1,
        )
        while True:
            try:
                response: InitProducerIdResponse = await self._client.ask_any(ApiKey.INIT_PRODUCER_ID, request)
                if not response.error_code:
                    self._identity = Identity(response.producer_id, response.producer_epoch)
                    break
                error = error_for(response.error_code, "asking for a producer id")
            except KafkaError as failure:
                error = failure
            if not isinstance(error, Retriable) and error.code is not ErrorCode.UNKNOWN_SERVER_ERROR:
                self._fail_everything(error)
                break
            attempt += 1
            await asyncio.sleep(backoff.delay(attempt, random.random()))
        self._is_asking_identity = False
        self.wake()

    def _set_timer(self, wake_at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wake_at < inf:
            self._timer = self._loop.call_at(wake_at, self.wake)


def _is_due(queue: PartitionQueue, now: float) -> bool:
    sendable_at = queue.sendable_at(now)
    return sendable_at is not None and sendable_at <= now


def _refusal(batch: Batch, answer: ProduceResponse.PartitionProduceResponse) -> KafkaError:
    error = error_for(answer.error_code, f"produce to {batch.tp}", answer.error_message)
    if isinstance(error, Rejected):
        error.record_errors = [
            (each.batch_index, each.batch_index_error_message or error.message) for each in answer.record_errors
        ]
    if isinstance(error, Fatal):
        return Rejected(error.message, code=error.code)
    return error
