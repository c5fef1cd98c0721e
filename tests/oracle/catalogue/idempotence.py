"""Producer ids and sequences: InitProducerId, duplicates, gaps, epochs, wrap-around; DescribeProducers shows the state.

KIP-98, KIP-360. Producer ids below are far above what a fresh broker hands out, so none of them is known to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tests.oracle.batches import Batch, Rec
from tests.oracle.exchange import Await, Call, Exchange, Now, Saved, Steps, exchange
from tests.oracle.vocabulary import create, delete_records, fetch, list_offsets, produce

_PID: Final = 10**12
_INT32_MAX: Final = 2**31 - 1
_GIVEN: Final = {"error_code": 0}
"""Kafka answers COORDINATOR_LOAD_IN_PROGRESS while it fetches the next block of ids."""


def _init(version: int = 4, transactional_id: str | None = None, **fields: Any) -> Call:
    call = {name: fields.pop(name) for name in ("save", "until", "claim_version") if name in fields}
    asked = {"transactional_id": transactional_id, "transaction_timeout_ms": 60_000, **fields}
    return Call("InitProducerId", version, asked, **call)


def _send(
    sequence: int,
    *,
    epoch: Any = 0,
    pid: Any = _PID,
    count: int = 1,
    codec: str = "none",
    topic: str = "@t",
    **call: Any,
) -> Call:
    records = tuple(Rec(f"{sequence}+{index}".encode()) for index in range(count))
    timestamp = call.pop("timestamp", 1_000)
    batch = Batch(records, producer_id=pid, epoch=epoch, sequence=sequence, codec=codec, timestamp=timestamp)
    return produce(topic, batch, **call)


def _producers(topic: str = "@t", *partitions: int) -> Call:
    return Call("DescribeProducers", 0, {"topics": [{"name": topic, "partition_indexes": partitions or [0]}]})


def _sequence(label: str, *steps: Steps, **settings: Any) -> Exchange:
    """Produces to one partition, then what the broker remembers and holds."""
    return exchange(f"idempotence-{label}", create("@t", **settings), steps, _producers(), list_offsets("@t"))


INIT: Final = (
    *(
        exchange(f"init-producer-id-v{version}", _init(version, until=_GIVEN), _init(version, until=_GIVEN))
        for version in range(6)
    ),
    exchange("init-producer-id-v6-is-not-stable", _init(5, claim_version=6)),
    exchange(
        "init-producer-id-with-a-known-id",
        _init(save={"pid": "producer_id"}, until=_GIVEN),
        _init(producer_id=Saved("pid"), producer_epoch=0),
    ),
    exchange("init-producer-id-id-without-epoch", _init(producer_id=_PID)),
    exchange("init-producer-id-epoch-without-id", _init(producer_epoch=3)),
    exchange("init-producer-id-timeout-zero", _init(transaction_timeout_ms=0)),
    exchange("init-producer-id-timeout-negative", _init(transaction_timeout_ms=-1)),
    exchange("init-producer-id-empty-transactional-id", _init(transactional_id="")),
    exchange("init-producer-id-empty-transactional-id-v0", _init(0, "")),
    exchange(
        "init-producer-id-transactional-timeout-too-long", _init(transactional_id="txn", transaction_timeout_ms=900_001)
    ),
    exchange("init-producer-id-transactional-timeout-zero", _init(transactional_id="txn", transaction_timeout_ms=0)),
)

SEQUENCES: Final = (
    _sequence(
        "allocated-id",
        _init(save={"pid": "producer_id"}, until=_GIVEN),
        _send(0, pid=Saved("pid")),
        _send(1, pid=Saved("pid")),
    ),
    _sequence("in-order", _send(0), _send(1, count=3), _send(4)),
    _sequence("first-sequence-not-zero", _send(7), _send(8)),
    _sequence("duplicate-of-the-last", _send(0), _send(1), _send(1)),
    _sequence("duplicate-v7", _send(0, version=7), _send(0, version=7)),
    _sequence("duplicate-acks-1", _send(0, acks=1), _send(0, acks=1)),
    _sequence("duplicate-of-five-ago", *(_send(n) for n in range(5)), _send(0)),
    _sequence("duplicate-of-six-ago", *(_send(n) for n in range(6)), _send(0)),
    _sequence(
        "duplicate-of-each-of-five",
        *(_send(n, count=2) for n in range(0, 12, 2)),
        *(_send(n, count=2) for n in range(2, 12, 2)),
    ),
    _sequence("duplicate-log-append-time", _send(0), _send(0), message_timestamp_type="LogAppendTime"),
    _sequence("duplicate-with-another-count", _send(0, count=2), _send(0, count=1)),
    _sequence("overlap", _send(0, count=3), _send(2, count=3)),
    _sequence("gap", _send(0), _send(2)),
    _sequence("gap-then-right", _send(0), _send(5), _send(1)),
    _sequence("gap-v7", _send(0), _send(2, version=7)),
    _sequence("backwards", _send(10), _send(9)),
    _sequence("wraps", _send(_INT32_MAX - 1, count=2), _send(0), _send(1)),
    _sequence("wraps-inside-a-batch", _send(_INT32_MAX - 1, count=4), _send(2)),
    _sequence("wraps-inside-a-batch-duplicate", _send(_INT32_MAX - 1, count=4), _send(_INT32_MAX - 1, count=4)),
    _sequence("wrong-after-wrap", _send(_INT32_MAX), _send(1)),
    _sequence("compressed", _send(0, codec="gzip", count=3), _send(3, codec="zstd"), _send(0, codec="gzip", count=3)),
    _sequence("recent-timestamps", _send(0, timestamp=Now(-120_000)), _send(1, timestamp=Now(-240_000))),
)

EPOCHS: Final = (
    _sequence("new-epoch-from-zero", _send(0), _send(1), _send(0, epoch=1), _send(1, epoch=1)),
    _sequence("new-epoch-not-from-zero", _send(0), _send(1, epoch=1), _send(0, epoch=1)),
    _sequence("old-epoch", _send(0, epoch=1), _send(1, epoch=0)),
    _sequence("old-epoch-v7", _send(0, epoch=1), _send(1, epoch=0, version=7)),
    _sequence("old-epoch-duplicate", _send(0, epoch=0), _send(0, epoch=1), _send(0, epoch=0)),
    _sequence("first-epoch-not-zero", _send(0, epoch=5), _send(1, epoch=5)),
    _sequence("first-epoch-and-sequence-not-zero", _send(9, epoch=5), _send(10, epoch=5)),
    _sequence("epoch-32767", _send(0, epoch=32767), _send(1, epoch=32767)),
    _sequence("epoch-minus-one", _send(0, epoch=-1)),
    _sequence("epoch-minus-two", _send(0, epoch=-2)),
    _sequence("sequence-minus-one", _send(-1)),
    _sequence("sequence-minus-two", _send(-2)),
    _sequence("producer-id-minus-two", _send(0, pid=-2)),
    _sequence("sequence-without-producer-id", _send(0, pid=-1, epoch=-1)),
    _sequence("no-id-no-epoch-no-sequence", _send(-1, pid=-1, epoch=-1)),
    _sequence("two-producers", _send(0), _send(0, pid=_PID + 1), _send(1), _send(1, pid=_PID + 1)),
    _sequence("beside-plain-batches", _send(0), produce("@t"), _send(1), produce("@t"), _send(0)),
    exchange(
        "idempotence-two-partitions",
        create("@t", 2),
        _send(0),
        _send(0, partition=1),
        _send(1, partition=1),
        _send(2),
        _producers("@t", 0, 1),
    ),
    exchange("idempotence-stored-bytes", create("@t"), _send(0, count=2), _send(2), _send(0, count=2), fetch("@t")),
    exchange(
        "idempotence-after-delete-records",
        create("@t"),
        _send(0),
        _send(1),
        delete_records("@t", -1),
        _send(2),
        _send(1),
        _producers(),
    ),
    exchange(
        "idempotence-in-flight-duplicates",
        create("@t"),
        _send(0),
        *[_send(n, wait=False) for n in (1, 2, 1, 3)],
        [Await("a")] * 4,
        list_offsets("@t"),
    ),
)


def _describe(label: str, *topics: tuple[str, Sequence[int]], setup: Sequence[Steps] = ()) -> Exchange:
    asked = [{"name": name, "partition_indexes": partitions} for name, partitions in topics]
    return exchange(f"describe-producers-{label}", setup, Call("DescribeProducers", 0, {"topics": asked}))


DESCRIBE: Final = (
    _describe("none", ("@t", [0]), setup=create("@t")),
    _describe("two-partitions", ("@t", [1, 0]), setup=create("@t", 2)),
    _describe("unknown-topic", ("@no", [0])),
    _describe("unknown-partition", ("@t", [0, 9]), setup=create("@t")),
    _describe("negative-partition", ("@t", [-1]), setup=create("@t")),
    _describe("no-partitions", ("@t", []), setup=create("@t")),
    _describe("no-topics"),
    _describe("same-partition-twice", ("@t", [0, 0]), setup=create("@t")),
    _describe("invalid-topic", ("a/b", [0])),
    _describe("plain-batches-leave-no-producer", ("@t", [0]), setup=[*create("@t"), produce("@t", hidden=True)]),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (*INIT, *SEQUENCES, *EPOCHS, *DESCRIBE)
