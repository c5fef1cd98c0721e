"""A producer under measurement: makes records, hands them over as the schedule says, and keeps account of them.

Rules: without a rate, a window of unacknowledged records is kept full (a closed loop, whose latencies are those of its
own queue). With one, the schedule decides (open loop): latencies count from when a record was due. Records of one
partition are handed over in the order of their sequence numbers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from pybroker_bench.clients.base import BUFFER_BYTES, ProducerClient, SendFailed, TransactionalClient
from pybroker_bench.counting import Flow
from pybroker_bench.keys import Spread
from pybroker_bench.pace import Schedule, Timer
from pybroker_bench.payload import Fillings, Stamper
from pybroker_bench.scenario import Scenario
from pybroker_bench.verify import Account

CHUNK_RECORDS_MAX: Final = 4096
_WINDOW_BYTES: Final = 32 * 1024 * 1024
_WINDOW_RECORDS: Final = 400_000


class Producing:
    """One producer. `number` is its own in the whole run, `tag` the run's."""

    def __init__(
        self, scenario: Scenario, client: ProducerClient, topics: Sequence[str], number: int, tag: int, flow: Flow
    ) -> None:
        self._scenario = scenario
        self._client = client
        self._topic = number % len(topics)
        self._topic_name = topics[self._topic]
        self._producer = (tag << 16) | number
        self._fillings = Fillings(scenario.sizes, scenario.random_bytes_ratio, scenario.seed + number)
        self._stamper = Stamper(self._producer, self._fillings)
        self._spread = Spread(scenario.key_distributor, scenario.partitions, number, scenario.seed)
        self._sequences: dict[int, int] = {}
        self._under_way = 0
        self._room = asyncio.Event()
        self.flow = flow
        self.account = Account()
        size = self._fillings.mean_record_bytes
        self._chunk = max(1, min(CHUNK_RECORDS_MAX, int(scenario.batch_bytes / (size + 8))))
        if scenario.batch_records:
            self._chunk = max(1, min(self._chunk, scenario.batch_records if scenario.batch_records > 1 else 256))
        self._window = scenario.in_flight or max(self._chunk, min(_WINDOW_RECORDS, int(_WINDOW_BYTES / size)))
        if scenario.batch_records == 1 and not scenario.in_flight:
            self._window = 10_000
        self._open_window = max(1, int(BUFFER_BYTES / 2 / size))
        self._chunk = min(self._chunk, self._window)

    async def open(self) -> None:
        await self._client.open()

    async def close(self) -> None:
        await self._client.close()

    async def fill(self, records: int) -> None:
        """Writes so many as fast as it goes."""
        async with asyncio.TaskGroup() as sends:
            while records:
                await self._wait_for_room(self._window - self._chunk)
                count = min(records, self._chunk)
                records -= count
                self._send(sends, count, None)

    async def run(self, start_ns: int, stop_ns: int) -> None:
        """Returns when what was sent is acknowledged, or has failed."""
        timer = Timer()
        try:
            await timer.until(start_ns)
            if self._scenario.transaction_records:
                await self._run_transactions(stop_ns)
                return
            rate = self._scenario.rate / self._scenario.all_producers
            async with asyncio.TaskGroup() as sends:
                if rate:
                    # Producers take turns instead of all sending at the same instant.
                    number = self._producer & 0xFFFF
                    shift = int(1e9 / max(rate, Schedule.BURSTS_PER_S) * number / self._scenario.all_producers)
                    await self._run_paced(sends, timer, Schedule(start_ns + shift, rate), stop_ns)
                else:
                    await self._run_full(sends, stop_ns)
        finally:
            timer.close()

    async def _run_full(self, sends: asyncio.TaskGroup, stop_ns: int) -> None:
        while time.monotonic_ns() < stop_ns:
            await self._wait_for_room(self._window - self._chunk)
            if time.monotonic_ns() < stop_ns:
                self._send(sends, self._chunk, None)

    async def _run_paced(self, sends: asyncio.TaskGroup, timer: Timer, schedule: Schedule, stop_ns: int) -> None:
        while schedule.next_ns < stop_ns:
            await timer.until(schedule.next_ns)
            await self._wait_for_room(self._open_window)
            while due := schedule.take(time.monotonic_ns(), self._chunk, stop_ns):
                self._send(sends, len(due), due)
                if self._under_way > self._open_window:
                    break

    async def _wait_for_room(self, most: int) -> None:
        """Until no more than `most` records are unacknowledged; lets others run in any case."""
        await asyncio.sleep(0)
        while self._under_way > most:
            self._room.clear()
            await self._room.wait()

    def _send(self, sends: asyncio.TaskGroup, count: int, due: list[int] | None) -> None:
        for partition, indexes, keys in self._spread.groups(count):
            times = [time.monotonic_ns()] * len(indexes) if due is None else [due[index] for index in indexes]
            first, values = self._make(partition, times)
            self._under_way += len(values)
            sends.create_task(self._deliver(partition, first, values, keys, times))

    def _make(self, partition: int, times: list[int]) -> tuple[int, list[bytes]]:
        first = self._sequences.get(partition, 0)
        self._sequences[partition] = first + len(times)
        if self._scenario.is_verified:
            return first, self._stamper.records(self._topic, partition, first, times)
        return first, self._stamper.repeated(self._topic, partition, first, times[-1], len(times))

    async def _deliver(
        self, partition: int, first: int, values: list[bytes], keys: Sequence[bytes] | None, due: list[int]
    ) -> None:
        count, end = len(values), first + len(values)
        place = (self._topic, partition, self._producer)
        sent_ns = time.monotonic_ns()
        try:
            acked_ns = await self._client.send(self._topic_name, partition, values, keys)
        except SendFailed as error:
            self.flow.went_wrong(error.count, str(error))
            self.account.note("unknown", place, first, end)
        else:
            self.account.note("acked", place, first, end)
            self.flow.came(acked_ns, count, sum(map(len, values)))
            self.flow.took("publish", acked_ns, due)
            if self._scenario.rate:
                self.flow.took("ack", acked_ns, [sent_ns] * count)
                self.flow.took("publish_delay", sent_ns, due)
        finally:
            self._under_way -= count
            self._room.set()

    async def _run_transactions(self, stop_ns: int) -> None:
        """One transaction after the other, some of them aborted; a record counts when its transaction is committed."""
        client: TransactionalClient = self._client  # type: ignore[assignment]
        scenario = self._scenario
        number, rate = 0, scenario.rate / scenario.all_producers / scenario.transaction_records
        start_ns, timer = time.monotonic_ns(), Timer()
        while (due := start_ns + round(number * 1e9 / rate) if rate else time.monotonic_ns()) < stop_ns:
            await timer.until(due)
            number += 1
            aborts = int(number * scenario.abort_ratio) > int((number - 1) * scenario.abort_ratio)
            await client.begin()
            sent, failure = await self._send_transaction(due)
            ended_ns, kind = time.monotonic_ns(), "aborted" if aborts or failure else "acked"
            try:
                await (client.abort() if kind == "aborted" else client.commit())
            except SendFailed as error:
                kind, failure = "unknown", str(error)
            if failure:
                self.flow.went_wrong(scenario.transaction_records, failure)
            for partition, first, count in sent:
                self.account.note(kind, (self._topic, partition, self._producer), first, first + count)
            if kind == "acked":
                now = time.monotonic_ns()
                count = scenario.transaction_records
                self.flow.came(now, count, int(count * self._fillings.mean_record_bytes))
                self.flow.took("publish", now, [due] * count)
                self.flow.took("commit", now, [ended_ns])
        timer.close()

    async def _send_transaction(self, due: int) -> tuple[list[tuple[int, int, int]], str]:
        """Sends the records of one transaction: (partition, first, count) of each part, and why it must be aborted."""
        sent: list[tuple[int, int, int]] = []
        sends = []
        for partition, indexes, keys in self._transaction():
            first, values = self._make(partition, [due] * len(indexes))
            sent.append((partition, first, len(values)))
            sends.append(self._client.send(self._topic_name, partition, values, keys))
        why = ""
        try:
            async with asyncio.TaskGroup() as tasks:
                for send in sends:
                    tasks.create_task(send)
        except* SendFailed as failures:
            why = str(failures.exceptions[0])
        return sent, why

    def _transaction(self) -> list[tuple[int, list[int], Sequence[bytes] | None]]:
        left, parts = self._scenario.transaction_records, []
        while left:
            count = min(left, self._chunk)
            left -= count
            parts += self._spread.groups(count)
        return parts  # type: ignore[return-value]
