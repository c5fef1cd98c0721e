"""One transactional id: who its producer is now, and what its coordinator has been told of the transaction under way.

Rules: one transaction at a time. A transaction that has failed can only be aborted; after `Fenced`, or another error
that no abort mends, the producer is of no use any more. The end of a transaction is asked for until it is answered: the
coordinator knows a repetition (KIP-890). Should the answer not come in time, the next transaction first takes the id
over anew, which ends the old one whichever way it was going.

With transaction.version 2 brokers add partitions and groups by themselves, and each transaction has an epoch of its
own. With version 1 partitions are added before the first batch for them is sent, and the epoch is renewed after an
abort, so that nothing of the aborted transaction can follow.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto
from typing import Final

from pybroker.accumulator import Identity
from pybroker.client import Client
from pybroker.errors import Abortable, Closed, Fenced, KafkaError, Retriable, TimedOut, error_for
from pybroker.group.coordinator import TRANSACTION, Coordinator, is_elsewhere, is_for_now
from pybroker.group.settings import GroupMetadata, Position
from pybroker.metadata import TopicPartition
from pybroker.retry import Backoff
from pybroker.tasks import TaskOwner
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, error_code
from pybroker_protocol.messages import (
    AddOffsetsToTxnRequest,
    AddOffsetsToTxnResponse,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    EndTxnRequest,
    EndTxnResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
    TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
)

__all__ = ["LAST_PRODUCE_OF_V1", "State", "Transactions"]

log = logging.getLogger("pybroker.producer")

LAST_PRODUCE_OF_V1: Final = 11
_LAST_END_OF_V1: Final = 4
_LAST_OFFSETS_OF_V1: Final = 4
_LAST_ADD_OF_CLIENTS: Final = 3
_FIRST_INIT_WITH_ID: Final = 3
_V2: Final = 2
FEATURE: Final = "transaction.version"
_AGAIN: Final = frozenset({ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION})
_FENCED: Final = frozenset({ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_PRODUCER_EPOCH})
_FORGOTTEN: Final = frozenset({ErrorCode.INVALID_PRODUCER_ID_MAPPING, ErrorCode.UNKNOWN_PRODUCER_ID})
"""The id had no transaction for so long that nobody knows it any more: it is made anew."""
_NOTHING_TO_ABORT: Final = _FORGOTTEN | {ErrorCode.INVALID_TXN_STATE}
_INIT_TIME_LIMIT: Final = 60.0


class State(Enum):
    NEW = auto()
    """To be initialised before the next transaction."""
    READY = auto()
    OPEN = auto()
    FAILED = auto()
    """The transaction under way can only be aborted; `failure` says why."""
    FLUSHING = auto()
    """It takes nothing more; what it has is on its way."""
    ENDING = auto()
    DEAD = auto()
    """Nothing helps; `failure` says why."""


class Transactions:
    """See the head of this file. `timeout`: seconds after which the coordinator aborts what was not ended."""

    def __init__(self, client: Client, tasks: TaskOwner, transactional_id: str, timeout: float) -> None:
        self.transactional_id = transactional_id
        self.identity: Identity | None = None
        self.is_v2 = False
        self.state = State.NEW
        self.failure: KafkaError | None = None
        self.on_ready: Callable[[], None] = _nothing
        """Called when more may be sent."""
        self.on_failed: Callable[[KafkaError], None] = _nothing_of
        """Called, once and from the event loop, when the transaction has failed."""
        self._client = client
        self._tasks = tasks
        self._timeout = timeout
        self._coordinator = Coordinator(client, transactional_id, TRANSACTION)
        self._groups: dict[str, Coordinator] = {}
        self._backoff = Backoff(first=0.02)
        self._added: set[TopicPartition] = set()
        self._to_add: set[TopicPartition] = set()
        self._is_adding = False
        self._added_groups: set[str] = set()
        self._has_begun = False
        """Whether the coordinator may know of the transaction."""

    @property
    def name(self) -> str:
        return f"transactional id {self.transactional_id}"

    def close(self) -> None:
        self._coordinator.close()
        for coordinator in self._groups.values():
            coordinator.close()

    def fail(self, error: KafkaError) -> None:
        """Something of the transaction under way is lost: it can only be aborted now."""
        if isinstance(error, Closed) or not self._is_under_way:
            return
        self.state, self.failure = State.FAILED, error
        asyncio.get_running_loop().call_soon(self.on_failed, error)

    def check_open(self) -> None:
        """Raise unless there is a transaction that records can be sent in."""
        if self.state is State.OPEN:
            return
        if self.state in (State.FAILED, State.DEAD):
            assert self.failure is not None
            if self.state is State.DEAD:
                raise self.failure.with_traceback(None)
            message = f"the transaction has failed and will be aborted: {self.failure.message}"
            raise Abortable(message, code=self.failure.code) from self.failure
        raise TypeError("this producer has a transactional_id: send within `async with producer.transaction() as tx:`")

    # Beginning.

    async def init(self) -> None:
        """Become the one producer of this id: older ones are fenced, and what they left open is aborted. Partitions
        begin anew after it. Raises `Fenced` when a newer one has become that since."""
        before = self.identity

        async def attempt() -> int:
            lane = self._coordinator.membership_lane
            connection = await self._coordinator.connect(lane)
            version = connection.version_for(ApiKey.INIT_PRODUCER_ID)
            known = before if version >= _FIRST_INIT_WITH_ID else None
            request = InitProducerIdRequest(
                transactional_id=self.transactional_id,
                transaction_timeout_ms=int(self._timeout * 1000),
                producer_id=-1 if known is None else known.producer_id,
                producer_epoch=-1 if known is None else known.producer_epoch,
            )
            response: InitProducerIdResponse = await self._coordinator.ask(lane, ApiKey.INIT_PRODUCER_ID, request)
            if not response.error_code:
                self.identity = Identity(response.producer_id, response.producer_epoch)
                self.is_v2 = connection.features.get(FEATURE, 0) >= _V2
            return response.error_code

        self._has_begun = False
        try:
            await self._persist(attempt, f"beginning with {self.name}", _INIT_TIME_LIMIT)
        except Fenced as error:
            self.state, self.failure = State.DEAD, error
            raise
        except KafkaError as error:
            if error.code not in _FORGOTTEN:
                raise
            before = self.identity = None
            await self._persist(attempt, f"beginning with {self.name}", _INIT_TIME_LIMIT)
        self.state, self.failure = State.READY, None

    def begin(self) -> None:
        """A new transaction. Raises TypeError while there is one."""
        if self.state is State.DEAD:
            assert self.failure is not None
            raise self.failure.with_traceback(None)
        if self.state is not State.READY:
            raise TypeError(f"{self.name} has a transaction under way: one at a time, more producers for more at once")
        self.state, self.failure = State.OPEN, None
        self._added.clear()
        self._to_add.clear()
        self._added_groups.clear()
        self._has_begun = False

    # Within.

    def may_send(self, tp: TopicPartition) -> bool:
        """Whether a batch for this partition may go now; else it is seen to, and `on_ready` called, if it ever may."""
        if not self._is_under_way:
            return False
        if self.is_v2 or tp in self._added:
            self._added.add(tp)
            self._has_begun = True
            return True
        self._to_add.add(tp)
        if not self._is_adding:
            self._is_adding = True
            self._tasks.spawn("add partitions to the transaction", self._add_partitions())
        return False

    async def _add_partitions(self) -> None:
        try:
            while self._to_add and self._is_under_way:
                adding = set(self._to_add)
                self._has_begun = True

                async def attempt(adding: set[TopicPartition] = adding) -> int:
                    return await self._add_once(adding)

                await self._persist(attempt, f"adding partitions to the transaction of {self.name}", self._timeout)
                self._to_add -= adding
                self._added |= adding
        except KafkaError as error:
            self.fail(error)
        finally:
            self._is_adding = False
        self.on_ready()

    async def _add_once(self, adding: set[TopicPartition]) -> int:
        identity = self._known_identity
        topics: dict[str, list[int]] = {}
        for tp in sorted(adding):
            topics.setdefault(tp.topic, []).append(tp.partition)
        request = AddPartitionsToTxnRequest(
            v3_and_below_transactional_id=self.transactional_id,
            v3_and_below_producer_id=identity.producer_id,
            v3_and_below_producer_epoch=identity.producer_epoch,
            v3_and_below_topics=[
                AddPartitionsToTxnRequest.AddPartitionsToTxnTopic(name=name, partitions=indexes)
                for name, indexes in topics.items()
            ],
        )
        response: AddPartitionsToTxnResponse = await self._coordinator.ask(
            self._coordinator.membership_lane, ApiKey.ADD_PARTITIONS_TO_TXN, request, highest=_LAST_ADD_OF_CLIENTS
        )
        codes = [
            each.partition_error_code
            for topic in response.results_by_topic_v3_and_below
            for each in topic.results_by_partition
        ]
        return _worst(codes)

    async def commit_offsets(self, offsets: Mapping[TopicPartition, Position], group: GroupMetadata) -> None:
        """The group's positions move when the transaction commits. Raises what ends the transaction."""
        self.check_open()
        what = f"offsets of group {group.group} in the transaction of {self.name}"
        try:
            if not self.is_v2 and group.group not in self._added_groups:
                self._has_begun = True
                await self._persist(lambda: self._add_group(group.group), what, self._timeout)
                self._added_groups.add(group.group)
            self._has_begun = True
            await self._persist(lambda: self._commit_once(offsets, group), what, self._timeout)
        except KafkaError as error:
            self.fail(error)
            raise

    async def _add_group(self, group: str) -> int:
        identity = self._known_identity
        request = AddOffsetsToTxnRequest(
            transactional_id=self.transactional_id,
            producer_id=identity.producer_id,
            producer_epoch=identity.producer_epoch,
            group_id=group,
        )
        response: AddOffsetsToTxnResponse = await self._coordinator.ask(
            self._coordinator.membership_lane, ApiKey.ADD_OFFSETS_TO_TXN, request
        )
        return response.error_code

    async def _commit_once(self, offsets: Mapping[TopicPartition, Position], group: GroupMetadata) -> int:
        identity = self._known_identity
        topics: dict[str, TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic] = {}
        for tp, position in offsets.items():
            topic = topics.setdefault(
                tp.topic, TxnOffsetCommitRequest.TxnOffsetCommitRequestTopic(name=tp.topic, partitions=[])
            )
            topic.partitions.append(
                TxnOffsetCommitRequest.TxnOffsetCommitRequestPartition(
                    partition_index=tp.partition,
                    committed_offset=position.offset,
                    committed_leader_epoch=position.leader_epoch,
                    committed_metadata=position.metadata,
                )
            )
        request = TxnOffsetCommitRequest(
            transactional_id=self.transactional_id,
            group_id=group.group,
            producer_id=identity.producer_id,
            producer_epoch=identity.producer_epoch,
            generation_id=group.generation,
            member_id=group.member_id,
            group_instance_id=group.instance_id,
            topics=list(topics.values()),
        )
        coordinator = self._groups.get(group.group)
        if coordinator is None:
            coordinator = self._groups[group.group] = Coordinator(self._client, group.group)
        response: TxnOffsetCommitResponse = await coordinator.ask(
            coordinator.offsets_lane,
            ApiKey.TXN_OFFSET_COMMIT,
            request,
            highest=None if self.is_v2 else _LAST_OFFSETS_OF_V1,
        )
        code = _worst([each.error_code for topic in response.topics for each in topic.partitions])
        if is_elsewhere(code):
            coordinator.forget()
        return code

    # The end.

    def start_flushing(self) -> None:
        """From now on the transaction takes nothing more."""
        if self.state is State.OPEN:
            self.state = State.FLUSHING

    def start_aborting(self) -> None:
        """Nothing of it is sent any more."""
        if self._is_under_way:
            self.state = State.FAILED

    async def end(self, *, commits: bool) -> bool:
        """Commit or abort. Whether partitions begin anew after it.

        Raises `Fenced`, `TimedOut` (then nobody knows yet whether it was committed), or what else there was.
        """
        self.state = State.ENDING
        if not self._has_begun:
            self.state = State.READY
            return not commits
        what = f"{'committing' if commits else 'aborting'} the transaction of {self.name}"
        renewed = False

        async def attempt() -> int:
            nonlocal renewed
            identity = self._known_identity
            request = EndTxnRequest(
                transactional_id=self.transactional_id,
                producer_id=identity.producer_id,
                producer_epoch=identity.producer_epoch,
                committed=commits,
            )
            response: EndTxnResponse = await self._coordinator.ask(
                self._coordinator.membership_lane,
                ApiKey.END_TXN,
                request,
                highest=None if self.is_v2 else _LAST_END_OF_V1,
            )
            if not response.error_code and response.producer_id >= 0:
                renewed = True
                self.identity = Identity(response.producer_id, response.producer_epoch)
            return response.error_code

        try:
            await self._persist(attempt, what, max(self._timeout, _INIT_TIME_LIMIT))
            if commits or renewed:
                self.state = State.READY
        except Fenced as error:
            self.state, self.failure = State.DEAD, error
            raise
        except KafkaError as error:
            if commits or error.code not in _NOTHING_TO_ABORT:
                raise
        finally:
            if self.state is State.ENDING:
                # The next transaction does not begin before the id was taken over anew.
                self.state = State.NEW
        return renewed or not commits

    # Asking.

    @property
    def _is_under_way(self) -> bool:
        return self.state in (State.OPEN, State.FLUSHING)

    @property
    def _known_identity(self) -> Identity:
        assert self.identity is not None
        return self.identity

    async def _persist(self, work: Callable[[], Awaitable[int]], what: str, time_limit: float) -> None:
        """Do `work` until the code it returns is final. Raises what it means, or `TimedOut`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + time_limit
        attempt = 0
        while True:
            error: KafkaError | None = None
            try:
                async with asyncio.timeout_at(deadline):
                    code = error_code(await work())
                if code is ErrorCode.NONE:
                    return
                error = _meaning(code, what)
            except Retriable as failure:
                error, code = failure, failure.code or ErrorCode.NETWORK_EXCEPTION
                self._client.request_refresh()
            except TimeoutError:
                raise TimedOut(f"{what}: not done within {time_limit:g} s") from None
            if not (isinstance(error, Retriable) or is_for_now(code) or code in _AGAIN):
                raise error
            if is_elsewhere(code):
                self._coordinator.forget()
            attempt += 1
            delay = self._backoff.delay(attempt, random.random())
            if loop.time() + delay > deadline:
                raise TimedOut(f"{what}: not done within {time_limit:g} s: {error.message}", code=error.code) from error
            await asyncio.sleep(delay)


def _meaning(code: ErrorCode, what: str) -> KafkaError:
    if code in _FENCED:
        return Fenced(
            f"{what}: another producer has taken over this transactional id, or its transaction ran out of time",
            code=code,
        )
    return error_for(code, what)


def _worst(codes: list[int]) -> int:
    """The code that decides: one that is final before one that may pass, and that before none."""
    found = [code for code in codes if code and code != ErrorCode.OPERATION_NOT_ATTEMPTED]
    final = [code for code in found if not is_for_now(code) and error_code(code) not in _AGAIN]
    return (final or found or [ErrorCode.NONE])[0]


def _nothing() -> None:
    """Before there is anybody to tell."""


def _nothing_of(error: KafkaError) -> None:
    """Before there is anybody to tell."""
