"""What an operation on coordinator state asks of the world: records to append, answers to give once they are safe.

Rules of this file: pure. An operation reads state and fills an `Effects`; it changes no durable state itself. The host
appends the records, replays them, and gives the answers when the high watermark has passed all that the operation may
have seen. When the append fails nothing was replayed: each answer becomes its refusal, and `on_failed` callbacks
undo what the operation changed of the state that is not durable (a classic group's members who wait, say).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.coordinator.records import CoordinatorRecord
from pybroker_server.log.verification import Verification

if TYPE_CHECKING:
    from pybroker_server.coordinator.end_marker import EndMarker

R = TypeVar("R")


class Reply(Generic[R]):
    """Where an answer goes. Given once, whenever: state may keep one (JoinGroup waits for the others)."""

    __slots__ = ("_complete", "_explain", "_refuse")

    def __init__(
        self,
        complete: Callable[[R], None],
        refuse: Callable[[ErrorCode], R],
        explain: Callable[[KafkaError], R] | None = None,
    ) -> None:
        """`explain` makes the response for an error where it has room for a text."""
        self._complete = complete
        self._refuse = refuse
        self._explain = explain

    def refusal(self, code: ErrorCode) -> R:
        """The response that says `code`."""
        return self._refuse(code)

    def complete(self, response: R) -> None:
        self._complete(response)

    def fail(self, code: ErrorCode) -> None:
        self._complete(self._refuse(code))

    def fail_with(self, error: KafkaError) -> None:
        self._complete(self._refuse(error.code) if self._explain is None else self._explain(error))


class Effects:
    """One operation's. `now_ms` is `Clock.monotonic_ms`, `wall_ms` the time that records are stamped with."""

    __slots__ = (
        "answers",
        "failures",
        "is_atomic",
        "marker",
        "now_ms",
        "producer_epoch",
        "producer_id",
        "records",
        "verification",
        "wall_ms",
    )

    def __init__(self, now_ms: int, wall_ms: int) -> None:
        self.now_ms = now_ms
        self.wall_ms = wall_ms
        self.records: list[tuple[CoordinatorRecord, bool]] = []
        """(record, whether it is replayed here and now)"""
        self.answers: list[tuple[Reply[Any], Any]] = []
        self.failures: list[Callable[[ErrorCode, Effects], None]] = []
        self.is_atomic = True
        """All records are one batch: all or none. False: one batch after the other, as many as it takes."""
        self.producer_id = -1
        self.producer_epoch = -1
        self.verification: Verification | None = None
        self.marker: EndMarker | None = None
        """In place of records: the end of a producer's transaction in this partition."""

    def append(self, record: CoordinatorRecord, *, replay: bool = True) -> None:
        """In the order in which they are to be replayed.

        Without `replay` the state already is what the record says: that of a classic group, whose members are
        not durable one by one.
        """
        self.records.append((record, replay))

    def in_transaction(self, producer_id: int, producer_epoch: int, verification: Verification | None = None) -> None:
        """The records belong to the open transaction of this producer (TxnOffsetCommit): its coordinator said so."""
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.verification = verification

    def answer(self, reply: Reply[R], response: R) -> None:
        """Given when the records of this operation, and whatever it has seen, are committed."""
        self.answers.append((reply, response))

    def refuse(self, reply: Reply[Any], code: ErrorCode) -> None:
        self.answers.append((reply, reply.refusal(code)))

    def on_failed(self, undo: Callable[[ErrorCode, Effects], None]) -> None:
        """Called with the code when the records could not be appended, in an operation of its own."""
        self.failures.append(undo)


Operation = Callable[[Effects], None]
"""Runs to completion on the event loop. A KafkaError out of it refuses the reply it was run for."""
