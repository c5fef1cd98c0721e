"""Group flush: gets logs onto the device, many requests with one sync.

Rules of this file: event loop only; the syncs run in `Blocking`. Whoever asks during a round is served by the next one,
because what it appended may not have been in the file when the round began. A round begins at the end of the event
loop's turn, so that all that was appended in one turn is in it. A failed sync is never tried again: the kernel may have
dropped the pages, and a second sync would say that all is well. It is reported once, and then to all who waited.
"""

from __future__ import annotations

from collections.abc import Callable

from pybroker_server.log.flush_tickets import FlushTicket
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.runtime.ports import Blocking, Clock, Timers
from pybroker_server.telemetry.counts import Durations

Flushed = Callable[[BaseException | None], None]
FlushFailed = Callable[[PartitionLog, BaseException], None]

_THREADS_PER_ROUND = 4
"""One device orders its syncs anyway; several file systems, and the journal of one, gain from a few at once."""

_Outcome = list[tuple[PartitionLog, FlushTicket, BaseException | None, int]]
"""(log, ticket, error, how long the sync took in µs)."""


class Flusher:
    def __init__(self, blocking: Blocking, timers: Timers, clock: Clock, on_failure: FlushFailed) -> None:
        self.durations = Durations()
        """Of syncs, for metrics."""
        self._blocking = blocking
        self._timers = timers
        self._clock = clock
        self._on_failure = on_failure
        self._waiting: dict[PartitionLog, list[Flushed]] = {}
        self._in_round: dict[PartitionLog, list[Flushed]] = {}
        self._jobs_left = 0
        self._is_scheduled = False

    def request(self, log: PartitionLog, callback: Flushed) -> None:
        """Calls `callback(error)` on the event loop when all that is in `log` now is on the device, or cannot be."""
        waiting = self._waiting.get(log)
        if waiting is None:
            self._waiting[log] = [callback]
        else:
            waiting.append(callback)
        self._schedule()

    @property
    def is_idle(self) -> bool:
        return not self._waiting and not self._in_round

    def _schedule(self) -> None:
        if self._waiting and not self._is_scheduled and not self._jobs_left:
            self._is_scheduled = True
            self._timers.call_soon(self._begin_round)

    def _begin_round(self) -> None:
        self._is_scheduled = False
        self._in_round, self._waiting = self._waiting, {}
        tickets = [(log, log.start_flush()) for log in self._in_round]
        work = [(log, ticket) for log, ticket in tickets if ticket is not None]
        jobs = [work[first::_THREADS_PER_ROUND] for first in range(min(_THREADS_PER_ROUND, len(work)))]
        self._jobs_left = len(jobs)
        for job in jobs:
            self._submit(job)
        # A checkpoint may have been faster: what is on the device already needs no thread.
        self._answer([(log, None) for log, ticket in tickets if ticket is None])
        self._schedule()

    def _submit(self, job: list[tuple[PartitionLog, FlushTicket]]) -> None:
        def sync_all() -> _Outcome:
            return [(log, ticket, *self._sync(ticket)) for log, ticket in job]

        def done(outcome: _Outcome | None, error: BaseException | None) -> None:
            assert outcome is not None, error
            self._jobs_left -= 1
            self._finish(outcome)

        self._blocking.submit(sync_all, done)

    def _sync(self, ticket: FlushTicket) -> tuple[OSError | None, int]:
        """In a thread."""
        begun_us = self._clock.monotonic_us()
        failure: OSError | None = None
        try:
            ticket.sync()
        except OSError as error:
            failure = error
        return failure, self._clock.monotonic_us() - begun_us

    def _finish(self, outcome: _Outcome) -> None:
        for log, ticket, error, took_us in outcome:
            self.durations.add(took_us)
            if error is None:
                log.finish_flush(ticket)
            else:
                self._on_failure(log, error)
        self._answer([(log, error) for log, _, error, _ in outcome])
        self._schedule()

    def _answer(self, results: list[tuple[PartitionLog, BaseException | None]]) -> None:
        for log, error in results:
            for callback in self._in_round.pop(log):
                callback(error)
