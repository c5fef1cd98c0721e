"""A transaction as the application sees it: a block that is committed when it is left, and aborted by an error.

Rules: the end of a transaction belongs to the producer, not to who waits for it: a caller that is cancelled meanwhile
stops waiting, the end goes on, and the next transaction begins after it. What is under way to a broker has its answer
before the transaction is ended, so that nothing of it comes late.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pybroker.accumulator import Accumulator
from pybroker.batch import Batch
from pybroker.delivery import BatchResult, Delivery
from pybroker.errors import Abortable, Fenced, KafkaError
from pybroker.group.settings import GroupMetadata, Position
from pybroker.metadata import TopicPartition
from pybroker.producer_input import HeadersIn, Message, Timestamp
from pybroker.sender import Sender
from pybroker.tasks import TaskOwner
from pybroker.transactions import State, Transactions

if TYPE_CHECKING:
    from pybroker.consumer import Consumer
    from pybroker.producer import Producer

__all__ = ["Transaction", "TransactionRunner"]

log = logging.getLogger("pybroker.producer")

K = TypeVar("K")
V = TypeVar("V")


class TransactionRunner:
    """Begins and ends the transactions of one producer. `finish()` waits until every batch has ended."""

    def __init__(
        self,
        transactions: Transactions,
        accumulator: Accumulator,
        sender: Sender,
        tasks: TaskOwner,
        finish: Callable[[], Awaitable[None]],
    ) -> None:
        self.transactions = transactions
        self._accumulator = accumulator
        self._sender = sender
        self._tasks = tasks
        self._finish = finish
        self._ending: asyncio.Task[None] | None = None
        accumulator.on_failed = self._on_failed
        transactions.on_failed = lambda error: self._give_up_rest()
        transactions.on_ready = sender.wake

    async def begin(self) -> None:
        while self._ending is not None and not self._ending.done():
            await asyncio.wait([self._ending])
        if self.transactions.state is State.NEW:
            await self.transactions.init()
            self._restart()
        self.transactions.begin()

    async def commit(self) -> None:
        """Raises `Abortable` when it was aborted instead, `Fenced`, or `TimedOut` when nobody knows."""
        transactions = self.transactions
        transactions.start_flushing()
        try:
            await self._finish()
        except BaseException:
            await self.abort()
            raise
        failure = transactions.failure
        if failure is not None:
            await self.abort()
            raise Abortable(f"the transaction was aborted: {failure.message}", code=failure.code) from failure
        await self._run_to_end(commits=True)

    async def abort(self) -> None:
        await self._run_to_end(commits=False)

    async def _run_to_end(self, *, commits: bool) -> None:
        if self.transactions.state is State.DEAD:
            self.transactions.check_open()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ending = self._tasks.spawn("end the transaction", self._end(done, commits=commits))
        await asyncio.shield(done)

    async def _end(self, done: asyncio.Future[None], *, commits: bool) -> None:
        try:
            if not commits:
                self.transactions.start_aborting()
                self._give_up_rest()
                await self._sender.idle()
            if await self.transactions.end(commits=commits):
                self._restart()
        except KafkaError as error:
            done.set_exception(error)
            done.exception()  # whoever waited may have been cancelled
        except BaseException:
            done.cancel()
            raise
        else:
            if not done.done():
                done.set_result(None)

    def _on_failed(self, batch: Batch) -> None:
        """The transaction tells of it, so that nobody need look at each record."""
        assert batch.error is not None
        batch.retrieve(batch.record_count)
        self.transactions.fail(batch.error)

    def _give_up_rest(self) -> None:
        failure = self.transactions.failure
        reason = "" if failure is None else f": {failure.message}"
        error = Abortable(f"the transaction of this record is not committed{reason}")
        for queue in self._accumulator.queues:
            queue.fail_all(error)

    def _restart(self) -> None:
        for queue in self._accumulator.queues:
            queue.restart()


class Transaction(Generic[K, V]):
    """Made by `Producer.transaction()`: `async with producer.transaction() as tx: await tx.send("topic", b"value")`."""

    def __init__(self, producer: Producer[K, V], runner: TransactionRunner, consumer: Consumer | None) -> None:
        self._producer = producer
        self._runner = runner
        self._consumer = consumer
        self._consumers: list[Consumer] = []
        self._is_over = False

    async def __aenter__(self) -> Transaction[K, V]:
        if self._consumer is not None:
            _check_manual(self._consumer)
        await self._runner.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_over:
            return
        if error is not None:
            await self._abort_for(error)
            return
        try:
            if self._consumer is not None:
                await self.commit_offsets(self._consumer)
            self._is_over = True
            await self._runner.commit()
        except Fenced:
            raise
        except (KafkaError, asyncio.CancelledError) as failure:
            # Cancelled while it was being committed, nobody knows; the group's positions tell, once they are known.
            if not self._is_over:
                await self._abort_for(failure)
            else:
                self._rewind()
            raise
        for consumer in self._consumers:
            consumer.settle()

    async def _abort_for(self, error: BaseException) -> None:
        try:
            await self.abort()
        except Fenced as failure:
            if isinstance(error, KafkaError):
                raise failure from error
            log.warning("aborting a transaction: %s", failure)
        except KafkaError as failure:
            # The coordinator aborts it when its time is over, or when the next one begins.
            log.warning("aborting a transaction: %s", failure)

    async def abort(self) -> None:
        """Undo everything of this transaction; the rest of the block can send nothing more."""
        if not self._is_over:
            self._is_over = True
            try:
                await self._runner.abort()
            finally:
                self._rewind()

    def _rewind(self) -> None:
        if self._consumer is not None:
            self._consumer.settle()
            self._consumer.rewind()

    # What it does.

    async def send(
        self,
        topic: str,
        value: V | None,
        *,
        key: K | None = None,
        headers: HeadersIn | None = None,
        partition: int | None = None,
        timestamp: Timestamp | None = None,
    ) -> Delivery:
        """Take one record, waiting for room only: the end of the block waits until all are acknowledged. Await the
        `Delivery` to know its offset before that.

        Raises `Abortable` when the transaction has failed already.
        """
        return await self._producer.take(
            topic, value, key=key, headers=headers, partition=partition, timestamp=timestamp
        )

    async def send_many(self, topic: str, values: Iterable[V | Message | None], **options: Any) -> BatchResult:
        """As `Producer.send_many`, within the transaction."""
        return await self._producer.send_many(topic, values, **options)

    async def commit_offsets(
        self,
        consumer: Consumer | GroupMetadata,
        offsets: Mapping[tuple[str, int], int | Position] | None = None,
    ) -> None:
        """Let the group of `consumer` go on after what it got, or from `offsets`, once the transaction commits.

        A consumer that is no member of its group any more, or of an older generation, is refused: `Abortable`.
        """
        if isinstance(consumer, GroupMetadata):
            if offsets is None:
                raise TypeError("commit_offsets(group metadata) needs offsets={(topic, partition): offset}")
            group, positions = consumer, _positions(offsets)
        else:
            _check_manual(consumer)
            group = consumer.taken_as
            positions = consumer.positions() if offsets is None else _positions(offsets)
            self._consumers.append(consumer)
        if not positions:
            return
        try:
            await self._runner.transactions.commit_offsets(positions, group)
        except (Fenced, Abortable):
            raise
        except KafkaError as error:
            raise Abortable(f"the transaction cannot be committed: {error.message}", code=error.code) from error


def _positions(offsets: Mapping[tuple[str, int], int | Position]) -> dict[TopicPartition, Position]:
    return {
        TopicPartition(*tp): offset if isinstance(offset, Position) else Position(offset)
        for tp, offset in offsets.items()
    }


def _check_manual(consumer: Consumer) -> None:
    if consumer.commit_mode != "manual":
        raise ValueError(
            f"a consumer with commit={consumer.commit_mode!r} commits by itself, before the transaction does:"
            " Consumer(..., commit='manual')"
        )
