"""librdkafka without Python in the way: the engine for rates that a per-record Python call could not reach.

Rules: ctypes over the shared library that the `confluent-kafka` wheel carries, and only calls for whole lists:
`rd_kafka_produce_batch` from one buffer, delivery reports as events that carry many, and
`rd_kafka_consume_callback_queue` with a C function of librdkafka itself as the callback. Records that are read are
counted; of each turn's first the time is taken. Threads wait in the library, the event loop does not. Needs Linux or
macOS wheels of confluent-kafka.
"""

from __future__ import annotations

import asyncio
import ctypes
import threading
import time
from array import array
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate, repeat
from pathlib import Path
from typing import Any, Final

from pybroker_bench.clients.base import Read, Reading, SendFailed, librdkafka_settings
from pybroker_bench.errors import BenchError
from pybroker_bench.scenario import Scenario

_PRODUCER, _CONSUMER = 0, 1
_COPY: Final = 2  # RD_KAFKA_MSG_F_COPY
_EVENT_DELIVERY: Final = 1
_BEGINNING: Final = -2
_FLUSH_MS: Final = 60_000
_WORDS: Final = 9
"""rd_kafka_message_t is nine words of eight bytes: error, topic, partition, payload, length, key, key length, offset,
and the application's own."""
_PAYLOAD, _LENGTH, _OWN = 3, 4, 8


def _load() -> ctypes.CDLL:
    import confluent_kafka

    site = Path(confluent_kafka.__file__).parent.parent
    found = [*site.glob("confluent_kafka.libs/librdkafka*"), *site.glob("confluent_kafka/.dylibs/librdkafka*")]
    if not found:
        raise BenchError(f"no shared librdkafka beside {site / 'confluent_kafka'}", hint="--client confluent-kafka")
    library = ctypes.CDLL(str(found[0]))
    for name in ("conf_new", "new", "topic_new", "queue_new", "queue_get_main", "queue_poll", "consume_queue"):
        getattr(library, f"rd_kafka_{name}").restype = ctypes.c_void_p
    for name in ("event_message_count", "event_message_array"):
        getattr(library, f"rd_kafka_{name}").restype = ctypes.c_size_t
    return library


def _handle(library: ctypes.CDLL, kind: int, settings: Mapping[str, Any], events: int = 0) -> ctypes.c_void_p:
    error = ctypes.create_string_buffer(512)
    conf = ctypes.c_void_p(library.rd_kafka_conf_new())
    for key, value in settings.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if library.rd_kafka_conf_set(conf, key.encode(), text.encode(), error, len(error)) != 0:
            raise BenchError(f"librdkafka refused {key}={text}", cause=error.value.decode())
    if events:
        library.rd_kafka_conf_set_events(conf, events)
    handle = library.rd_kafka_new(kind, conf, error, len(error))
    if not handle:
        raise BenchError("librdkafka could not start", cause=error.value.decode())
    return ctypes.c_void_p(handle)


class _Sending:
    __slots__ = ("at_ns", "done", "failed", "left")

    def __init__(self, count: int, done: asyncio.Future[None]) -> None:
        self.left = count
        self.failed = 0
        self.at_ns = 0
        self.done = done


class RawProducer:
    def __init__(self, bootstrap: str, scenario: Scenario, topics: Sequence[str]) -> None:
        self._library = _load()
        self._settings = librdkafka_settings(bootstrap, scenario)
        self._names = topics
        self._sendings: dict[int, _Sending] = {}
        self._next = 0
        self._stopping = threading.Event()
        self._room = 0

    async def open(self) -> None:
        library = self._library
        self._loop = asyncio.get_running_loop()
        self._rk = _handle(library, _PRODUCER, self._settings, _EVENT_DELIVERY)
        self._queue = ctypes.c_void_p(library.rd_kafka_queue_get_main(self._rk))
        self._topics = {
            name: ctypes.c_void_p(library.rd_kafka_topic_new(self._rk, name.encode(), None)) for name in self._names
        }
        self._poller = threading.Thread(target=self._poll, name="deliveries", daemon=True)
        self._poller.start()

    def _make_room(self, count: int) -> None:
        self._room = max(count, self._room * 2)
        self._words = memoryview((ctypes.c_uint64 * (self._room * _WORDS))()).cast("B").cast("Q")

    async def send(self, topic: str, partition: int, values: list[bytes], keys: Sequence[bytes] | None) -> int:
        if keys is not None:
            raise BenchError("the client librdkafka sends no keys", hint="--client confluent-kafka")
        count = len(values)
        if count > self._room:
            self._make_room(count)
        number = self._next
        self._next += 1
        sending = self._sendings[number] = _Sending(count, self._loop.create_future())
        payload = b"".join(values)
        start = ctypes.cast(ctypes.c_char_p(payload), ctypes.c_void_p).value or 0
        lengths = array("Q", map(len, values))
        words, used = self._words, count * _WORDS
        words[_PAYLOAD:used:_WORDS] = array("Q", accumulate(lengths[:-1], initial=start))
        words[_LENGTH:used:_WORDS] = lengths
        words[_OWN:used:_WORDS] = array("Q", repeat(number, count))
        pointer = (ctypes.c_uint64 * used).from_buffer(words)
        queued = self._library.rd_kafka_produce_batch(
            self._topics[topic], ctypes.c_int32(partition), _COPY, pointer, count
        )
        if queued != count:
            raise SendFailed(count, f"librdkafka's queue took {queued} of {count} records")
        await sending.done
        if sending.failed:
            raise SendFailed(sending.failed, f"error {sending.failed} of librdkafka")
        return sending.at_ns

    def _poll(self) -> None:
        library = self._library
        while not self._stopping.is_set():
            event = library.rd_kafka_queue_poll(self._queue, 100)
            if not event:
                continue
            event = ctypes.c_void_p(event)
            if library.rd_kafka_event_type(event) == _EVENT_DELIVERY:
                self._delivered(event, time.monotonic_ns())
            library.rd_kafka_event_destroy(event)

    def _delivered(self, event: ctypes.c_void_p, at_ns: int) -> None:
        library = self._library
        error = library.rd_kafka_event_error(event)
        messages = (ctypes.c_uint64 * library.rd_kafka_event_message_count(event))()
        count = library.rd_kafka_event_message_array(event, messages, len(messages))
        own = ctypes.c_uint64.from_address
        index = 0
        while index < count:
            # The records of a list follow each other: whether all that may be left are of this one is tried first.
            number = own(messages[index] + 8 * _OWN).value
            sending = self._sendings[number]
            end = min(index + sending.left, count)
            while own(messages[end - 1] + 8 * _OWN).value != number:
                end -= 1
            sending.left -= end - index
            sending.failed = sending.failed or (error and end - index)
            index = end
            if not sending.left:
                sending.at_ns = at_ns
                del self._sendings[number]
                self._loop.call_soon_threadsafe(_end, sending.done)

    async def close(self) -> None:
        await self._loop.run_in_executor(None, self._library.rd_kafka_flush, self._rk, _FLUSH_MS)
        self._stopping.set()
        await self._loop.run_in_executor(None, self._poller.join)
        self._library.rd_kafka_queue_destroy(self._queue)
        for topic in self._topics.values():
            self._library.rd_kafka_topic_destroy(topic)
        await self._loop.run_in_executor(None, self._library.rd_kafka_destroy, self._rk)


def _end(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


class RawConsumer:
    """Counts what it reads, and looks at the first record of each turn."""

    def __init__(self, bootstrap: str, reading: Reading) -> None:
        self._library = _load()
        self._settings = {
            "bootstrap.servers": bootstrap,
            "queued.min.messages": 1_000_000,
            "fetch.message.max.bytes": 1_048_576,
            "fetch.wait.max.ms": 500,
        }
        self._partitions = reading.partitions
        self._calls = ThreadPoolExecutor(1, "consume")

    async def open(self) -> None:
        library = self._library
        self._loop = asyncio.get_running_loop()
        self._rk = _handle(library, _CONSUMER, self._settings)
        self._queue = ctypes.c_void_p(library.rd_kafka_queue_new(self._rk))
        names = dict.fromkeys(topic for topic, _ in self._partitions)
        self._topics = {
            name: ctypes.c_void_p(library.rd_kafka_topic_new(self._rk, name.encode(), None)) for name in names
        }
        for topic, partition in self._partitions:
            start = library.rd_kafka_consume_start_queue
            where = ctypes.c_int32(partition)
            if start(self._topics[topic], where, ctypes.c_int64(_BEGINNING), self._queue) != 0:
                raise BenchError(f"librdkafka cannot read {topic}-{partition}")
        # A C function of the right shape that only looks at its argument: no Python runs per record.
        self._callback = ctypes.cast(library.rd_kafka_message_status, ctypes.c_void_p)

    async def read(self, time_limit_s: float) -> list[Read]:
        return await self._loop.run_in_executor(self._calls, self._take, int(time_limit_s * 1000))

    def _take(self, time_limit_ms: int) -> list[Read]:
        library = self._library
        message = library.rd_kafka_consume_queue(self._queue, time_limit_ms)
        if not message:
            return []
        at_ns = time.monotonic_ns()
        words = (ctypes.c_uint64 * _WORDS).from_address(message)
        sample = None if words[0] & 0xFFFFFFFF else ctypes.string_at(words[_PAYLOAD], words[_LENGTH])
        library.rd_kafka_message_destroy(ctypes.c_void_p(message))
        taken = library.rd_kafka_consume_callback_queue(self._queue, 0, self._callback, None)
        return [Read("", -1, max(taken, 0) + (sample is not None), at_ns, sample)]

    async def close(self) -> None:
        await self._loop.run_in_executor(self._calls, self._close)
        self._calls.shutdown(wait=False)

    def _close(self) -> None:
        for topic, partition in self._partitions:
            self._library.rd_kafka_consume_stop(self._topics[topic], ctypes.c_int32(partition))
        self._library.rd_kafka_queue_destroy(self._queue)
        for handle in self._topics.values():
            self._library.rd_kafka_topic_destroy(handle)
        self._library.rd_kafka_destroy(self._rk)
