"""librdkafka without Python in the way: the engine for rates that a per-record Python call could not reach.

Rules of this file: ctypes over the shared library that the `confluent-kafka` wheel carries, and only batch calls:
`rd_kafka_produce_batch` from one constant payload, and `rd_kafka_consume_callback_queue` with a C function of
librdkafka itself as the callback, so that nothing runs per record in Python. What was really stored or read is
checked from watermarks and counts by the caller. Needs Linux or macOS wheels of confluent-kafka.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PRODUCER, _CONSUMER = 0, 1
_PARTITION_ANY = -1
OFFSET_BEGINNING = -2


class EngineMissing(Exception):
    """confluent-kafka is not installed, or its wheel carries no shared librdkafka."""


class EngineError(Exception):
    """librdkafka refused a setting or a call; says which."""


class _Message(ctypes.Structure):
    """`rd_kafka_message_t` of librdkafka's public header."""

    _fields_ = [
        ("err", ctypes.c_int),
        ("rkt", ctypes.c_void_p),
        ("partition", ctypes.c_int32),
        ("payload", ctypes.c_void_p),
        ("len", ctypes.c_size_t),
        ("key", ctypes.c_void_p),
        ("key_len", ctypes.c_size_t),
        ("offset", ctypes.c_int64),
        ("private", ctypes.c_void_p),
    ]


def _load() -> ctypes.CDLL:
    try:
        import confluent_kafka
    except ImportError as missing:
        raise EngineMissing("the librdkafka engine needs confluent-kafka: pip install confluent-kafka") from missing
    site = Path(confluent_kafka.__file__).parent.parent
    found = [*site.glob("confluent_kafka.libs/librdkafka*"), *site.glob("confluent_kafka/.dylibs/librdkafka*")]
    if not found:
        raise EngineMissing(f"no shared librdkafka beside {site / 'confluent_kafka'}")
    library = ctypes.CDLL(str(found[0]))
    for name in ("conf_new", "new", "topic_new", "queue_new"):
        getattr(library, f"rd_kafka_{name}").restype = ctypes.c_void_p
    return library


def _handle(library: ctypes.CDLL, kind: int, settings: Mapping[str, str]) -> ctypes.c_void_p:
    error = ctypes.create_string_buffer(512)
    conf = ctypes.c_void_p(library.rd_kafka_conf_new())
    for key, value in settings.items():
        if library.rd_kafka_conf_set(conf, key.encode(), value.encode(), error, len(error)) != 0:
            raise EngineError(f"{key}={value}: {error.value.decode()}")
    handle = library.rd_kafka_new(kind, conf, error, len(error))
    if not handle:
        raise EngineError(error.value.decode())
    return ctypes.c_void_p(handle)


class RawProducer:
    """One librdkafka producer of constant payloads. `produce` blocks while the local queue is full."""

    def __init__(self, bootstrap: str, topic: str, settings: Mapping[str, str], payload: bytes, burst: int) -> None:
        self._library = _load()
        self._handle = _handle(self._library, _PRODUCER, {"bootstrap.servers": bootstrap, **settings})
        self._topic = ctypes.c_void_p(self._library.rd_kafka_topic_new(self._handle, topic.encode(), None))
        self._payload = ctypes.create_string_buffer(payload, len(payload))
        self._messages: Any = (_Message * burst)()
        for message in self._messages:
            message.payload = ctypes.cast(self._payload, ctypes.c_void_p)
            message.len = len(payload)

    def produce(self, count: int) -> None:
        """Queues `count` records, spread over the partitions by librdkafka's own partitioner."""
        produce_batch, poll = self._library.rd_kafka_produce_batch, self._library.rd_kafka_poll
        burst = len(self._messages)
        left = count
        while left:
            wanted = min(burst, left)
            queued = produce_batch(self._topic, ctypes.c_int32(_PARTITION_ANY), 0, self._messages, wanted)
            left -= queued
            # Without a delivery callback nothing is served by polling, but queue-full must wait somewhere.
            poll(self._handle, 0 if queued == wanted else 1)

    def flush(self, timeout_ms: int = 120_000) -> None:
        if self._library.rd_kafka_flush(self._handle, timeout_ms) != 0:
            raise EngineError(f"{self._library.rd_kafka_outq_len(self._handle)} records not acknowledged in time")

    def close(self) -> None:
        self._library.rd_kafka_topic_destroy(self._topic)
        self._library.rd_kafka_destroy(self._handle)


class RawConsumer:
    """One librdkafka consumer of whole partitions from their beginning, without a group."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, settings: Mapping[str, str]) -> None:
        self._library = _load()
        self._handle = _handle(self._library, _CONSUMER, {"bootstrap.servers": bootstrap, **settings})
        self._topic = ctypes.c_void_p(self._library.rd_kafka_topic_new(self._handle, topic.encode(), None))
        self._queue = ctypes.c_void_p(self._library.rd_kafka_queue_new(self._handle))
        self._partitions = partitions
        for partition in range(partitions):
            start = self._library.rd_kafka_consume_start_queue
            if start(self._topic, ctypes.c_int32(partition), ctypes.c_int64(OFFSET_BEGINNING), self._queue) != 0:
                raise EngineError(f"cannot start partition {partition} of the topic")
        # A C function of the right shape that only looks at its argument: no Python runs per record.
        self._callback = ctypes.cast(self._library.rd_kafka_message_status, ctypes.c_void_p)

    def consume(self, timeout_ms: int = 1000) -> int:
        """Takes what is there, or waits up to `timeout_ms` for some; how many records it was."""
        taken: int = self._library.rd_kafka_consume_callback_queue(self._queue, timeout_ms, self._callback, None)
        return taken

    def close(self) -> None:
        for partition in range(self._partitions):
            self._library.rd_kafka_consume_stop(self._topic, ctypes.c_int32(partition))
        self._library.rd_kafka_queue_destroy(self._queue)
        self._library.rd_kafka_topic_destroy(self._topic)
        self._library.rd_kafka_destroy(self._handle)
