"""Operations that wait: acks=all produces for the high watermark, fetches for bytes, all of them with a
deadline.

Rules of this file: pure. Nothing here reads a log, a clock or a partition; events come in
(`on_high_watermark`, `fail_all`, `expire`) and the operations that are now complete come out, in order, for
the shell to answer. An operation completes exactly once and drops every reference then, so a stale heap entry
keeps no response alive.

Cost: a partition's `WaitList` is touched only by that partition's events. Waiting produces stand in order of
their offsets, so an advance looks at those it completes and one more. A waiting fetch costs one subtraction
per advance: what it gathers is a difference of log positions, never a scan. Deadlines are one heap with lazy
deletion, rebuilt when most of it is stale, and one timer armed by the shell for `next_deadline_ms`.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from pybroker_protocol.errors import ErrorCode

_REBUILD_ABOVE = 1024


class Position(Protocol):
    """Shape of `log.LogPosition`: an offset, and where in which segment file it lies."""

    @property
    def offset(self) -> int: ...
    @property
    def segment_base_offset(self) -> int: ...
    @property
    def position(self) -> int: ...


class DelayedOperation:
    """Base: a deadline, and the lists it waits on. `on_complete` is called by the shell, once, with this
    object.
    """

    __slots__ = ("deadline_ms", "is_complete", "on_complete")

    def __init__(self, on_complete: Callable[[Any], None] | None = None) -> None:
        self.deadline_ms = 0
        self.is_complete = False
        self.on_complete = on_complete

    def attach(self) -> None:
        """Enters the lists it waits on."""
        raise NotImplementedError

    def detach(self) -> None:
        """Leaves every list it waits on."""
        raise NotImplementedError

    def on_deadline(self) -> None:
        """What a time-out means for its result."""

    def finish(self) -> None:
        """Answers it: called by the shell after the purgatory handed it out."""
        callback, self.on_complete = self.on_complete, None
        if callback is not None:
            callback(self)
        self.release()

    def release(self) -> None:
        """Nobody asks it anything any more: lets go of what refers back to it, so that no cycle is left for the
        garbage collector."""


class ProduceWait:
    """One partition of a waiting produce. `error` is None until it is settled; `slot` is the caller's."""

    __slots__ = ("error", "operation", "required_offset", "slot", "wait_list")

    def __init__(self, operation: DelayedProduce, slot: Any, required_offset: int, wait_list: WaitList) -> None:
        self.operation = operation
        self.slot = slot
        self.required_offset = required_offset
        self.wait_list = wait_list
        self.error: ErrorCode | None = None


class DelayedProduce(DelayedOperation):
    """Completes when each partition's high watermark has reached its offset, or failed, or at the deadline.

    A deletion of records waits in the same way, for low watermarks.
    """

    __slots__ = ("_unsettled", "waits")

    def __init__(self, on_complete: Callable[[Any], None] | None = None) -> None:
        super().__init__(on_complete)
        self.waits: list[ProduceWait] = []
        self._unsettled = 0

    def add(self, slot: Any, required_offset: int, wait_list: WaitList) -> None:
        """Before `Purgatory.watch`: this partition must reach `required_offset` (last offset + 1)."""
        self.waits.append(ProduceWait(self, slot, required_offset, wait_list))
        self._unsettled += 1

    def settle(self, wait: ProduceWait, error: ErrorCode) -> bool:
        """One partition is done; True when that was the last one."""
        wait.error = error
        self._unsettled -= 1
        return not self._unsettled

    def release(self) -> None:
        self.waits.clear()

    @property
    def failures(self) -> list[tuple[Any, ErrorCode]]:
        """(slot, error) of the partitions that failed, once it is complete."""
        return [(wait.slot, wait.error) for wait in self.waits if wait.error]

    def attach(self) -> None:
        for wait in self.waits:
            wait.wait_list.add_produce(wait)

    def detach(self) -> None:
        if self._unsettled:
            for wait in self.waits:
                if wait.error is None:
                    wait.wait_list.remove_produce(wait)

    def on_deadline(self) -> None:
        for wait in self.waits:
            if wait.error is None:
                wait.wait_list.remove_produce(wait)
                self.settle(wait, ErrorCode.REQUEST_TIMED_OUT)


class FetchWait:
    """One partition of a waiting fetch: from which position it counts, and what it has gathered so far."""

    __slots__ = ("available", "committed_only", "is_followers", "max_bytes", "operation", "start", "wait_list")

    def __init__(
        self,
        operation: DelayedFetch,
        start: Position,
        max_bytes: int,
        committed_only: bool,
        is_followers: bool,
        wait_list: WaitList,
    ) -> None:
        self.operation = operation
        self.start = start
        self.max_bytes = max_bytes
        self.committed_only = committed_only
        self.is_followers = is_followers
        self.wait_list = wait_list
        self.available = 0

    def count(self, upper: Position) -> bool:
        """Adds what lies between `start` and `upper` to what the fetch has gathered; at most `max_bytes`.

        False when they lie in different segments (the log rolled, or was truncated): such a fetch is answered at
        once, as Kafka does, since counting would need the sizes of the files between.
        """
        start = self.start
        available = 0
        if upper.offset > start.offset:
            if upper.segment_base_offset != start.segment_base_offset:
                return False
            available = min(upper.position - start.position, self.max_bytes)
        self.operation.gathered_bytes += available - self.available
        self.available = available
        return True


class DelayedFetch(DelayedOperation):
    """Completes when its partitions hold `min_bytes` to read, when one of them changes hands, or at the
    deadline.
    """

    __slots__ = ("gathered_bytes", "min_bytes", "waits")

    def __init__(self, min_bytes: int, on_complete: Callable[[DelayedFetch], None]) -> None:
        super().__init__(on_complete)
        self.min_bytes = min_bytes
        self.gathered_bytes = 0
        self.waits: list[FetchWait] = []

    @property
    def is_satisfied(self) -> bool:
        return self.gathered_bytes >= self.min_bytes and self.gathered_bytes > 0

    def add(
        self,
        start: Position,
        max_bytes: int,
        wait_list: WaitList,
        *,
        committed_only: bool = False,
        is_followers: bool = False,
    ) -> FetchWait:
        """Before `Purgatory.watch`: count bytes of this partition from `start`; call `count` for those there are."""
        wait = FetchWait(self, start, max_bytes, committed_only, is_followers, wait_list)
        self.waits.append(wait)
        return wait

    def attach(self) -> None:
        for wait in self.waits:
            wait.wait_list.add_fetch(wait)

    def detach(self) -> None:
        for wait in self.waits:
            wait.wait_list.remove_fetch(wait)

    def release(self) -> None:
        self.waits.clear()
        self.waits.clear()


class WaitList:
    """What waits on one partition. Held by the partition; empty for most of them, and then costs two truth
    tests.
    """

    __slots__ = ("_fetches", "_produces", "_purgatory", "followers")

    def __init__(self, purgatory: Purgatory) -> None:
        self._purgatory = purgatory
        self._produces: deque[ProduceWait] = deque()
        self._fetches: dict[FetchWait, None] = {}
        self.followers: dict[FetchWait, None] = {}
        """Fetches of followers: they wait for appends, not for the high watermark."""

    def __bool__(self) -> bool:
        return bool(self._produces) or bool(self._fetches)

    @property
    def produce_count(self) -> int:
        return len(self._produces)

    @property
    def fetch_count(self) -> int:
        return len(self._fetches)

    def add_produce(self, wait: ProduceWait) -> None:
        """Keeps ascending order of offsets; a duplicate's answer (an older offset) is the only one out of
        line.
        """
        produces = self._produces
        if not produces or produces[-1].required_offset <= wait.required_offset:
            produces.append(wait)
            return
        index = len(produces)
        while index and produces[index - 1].required_offset > wait.required_offset:
            index -= 1
        produces.insert(index, wait)

    def remove_produce(self, wait: ProduceWait) -> None:
        try:
            self._produces.remove(wait)
        except ValueError:
            pass  # it was just taken out by the event that completes it

    def add_fetch(self, wait: FetchWait) -> None:
        (self.followers if wait.is_followers else self._fetches)[wait] = None

    def remove_fetch(self, wait: FetchWait) -> None:
        (self.followers if wait.is_followers else self._fetches).pop(wait, None)

    def on_append(self, end: Position) -> list[DelayedOperation]:
        """The log ends at `end` now: followers' fetches that are complete. Call it only while `followers` has any."""
        done: list[DelayedOperation] = []
        for wait in self.followers:
            operation = wait.operation
            if not operation.is_complete and (not wait.count(end) or operation.is_satisfied):
                operation.is_complete = True
                done.append(operation)
        return self._purgatory.retire(done) if done else done

    def on_high_watermark(
        self, upper: Position, committed_upper: Position, produce_outcome: ErrorCode
    ) -> list[DelayedOperation]:
        """The high watermark is now `upper`, the last stable offset `committed_upper`: operations that are
        complete.

        `produce_outcome` is what a produce whose offset was reached gets (success, or code 20).
        """
        done = self._settle_produces(upper.offset, produce_outcome)
        for fetch_wait in self._fetches:
            operation = fetch_wait.operation
            if operation.is_complete:
                continue
            bound = committed_upper if fetch_wait.committed_only else upper
            if not fetch_wait.count(bound) or operation.is_satisfied:
                operation.is_complete = True
                done.append(operation)
        return self._purgatory.retire(done) if done else done

    def on_low_watermark(self, reached: int) -> list[DelayedOperation]:
        """Of a list that deletions wait on: no replica has records below `reached` any more."""
        done = self._settle_produces(reached, ErrorCode.NONE)
        return self._purgatory.retire(done) if done else done

    def _settle_produces(self, reached: int, outcome: ErrorCode) -> list[DelayedOperation]:
        done: list[DelayedOperation] = []
        produces = self._produces
        while produces and produces[0].required_offset <= reached:
            wait = produces.popleft()
            if wait.operation.settle(wait, outcome):
                done.append(wait.operation)
        return done

    def hurry_followers(self) -> list[DelayedOperation]:
        """There is something to tell followers at once, though nothing to read."""
        done: list[DelayedOperation] = [wait.operation for wait in self.followers if not wait.operation.is_complete]
        return self._purgatory.retire(done)

    def fail_all(self, error: ErrorCode) -> list[DelayedOperation]:
        """The partition was deleted, went offline or changed its leader: produces fail here, fetches are
        answered.

        A fetch carries no error: its answer is read anew and finds out for itself.
        """
        done: list[DelayedOperation] = []
        while self._produces:
            wait = self._produces.popleft()
            if wait.operation.settle(wait, error):
                done.append(wait.operation)
        for fetch_wait in (*self._fetches, *self.followers):
            if not fetch_wait.operation.is_complete:
                fetch_wait.operation.is_complete = True
                done.append(fetch_wait.operation)
        return self._purgatory.retire(done)


class Purgatory:
    """All waiting operations of a broker and their deadlines; at most `limit` of them."""

    __slots__ = ("_heap", "_live", "_sequence", "limit")

    def __init__(self, limit: int = 100_000) -> None:
        self.limit = limit
        self._heap: list[tuple[int, int, DelayedOperation]] = []
        self._live = 0
        self._sequence = 0

    def __len__(self) -> int:
        return self._live

    @property
    def deadline_entries(self) -> int:
        """Heap entries, those of complete operations included; for metrics."""
        return len(self._heap)

    @property
    def is_full(self) -> bool:
        """Then a fetch is answered with what there is, and a produce is refused before it is appended."""
        return self._live >= self.limit

    def new_wait_list(self) -> WaitList:
        return WaitList(self)

    @property
    def next_deadline_ms(self) -> int | None:
        """For the shell's one timer; None when nothing waits."""
        heap = self._heap
        while heap and heap[0][2].is_complete:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def watch(self, operation: DelayedOperation, deadline_ms: int) -> None:
        """Starts the wait. The caller has made sure that it is not complete already."""
        operation.deadline_ms = deadline_ms
        operation.attach()
        self._sequence += 1
        self._live += 1
        heapq.heappush(self._heap, (deadline_ms, self._sequence, operation))
        if len(self._heap) > _REBUILD_ABOVE and len(self._heap) > 2 * self._live:
            self._heap = [entry for entry in self._heap if not entry[2].is_complete]
            heapq.heapify(self._heap)

    def cancel(self, operation: DelayedOperation) -> None:
        """Its connection is gone: forget it without an answer."""
        if operation.is_complete:
            return
        operation.on_complete = None
        self.retire([operation])
        operation.release()

    def expire(self, now_ms: int) -> list[DelayedOperation]:
        """Operations whose deadline has come, in order of their deadlines."""
        done: list[DelayedOperation] = []
        heap = self._heap
        while heap and heap[0][0] <= now_ms:
            operation = heapq.heappop(heap)[2]
            if not operation.is_complete:
                operation.is_complete = True
                operation.on_deadline()
                done.append(operation)
        return self.retire(done)

    def retire(self, operations: Sequence[DelayedOperation]) -> list[DelayedOperation]:
        """Marks them complete and takes them off every list they wait on."""
        for operation in operations:
            operation.is_complete = True
            operation.detach()
        self._live -= len(operations)
        return list(operations)
