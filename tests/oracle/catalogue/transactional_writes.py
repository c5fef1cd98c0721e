"""Produce in a transaction: what must be part of it, who is fenced, what comes too late, and what readers see of it.

KIP-98, KIP-890. Versions of Produce below 12 check that the client has added the partition, later ones add it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tests.oracle.batches import Batch, Rec
from tests.oracle.exchange import Call, Exchange, Saved, Steps, exchange
from tests.oracle.vocabulary import MAX_TIMESTAMP, create, delete_records, fetch, list_offsets, produce

_TRANSACTIONAL: Final = 0x10
_PID: Final = Saved("pid")
_EPOCH: Final = Saved("epoch")
_NEXT: Final = Saved("next")
_DONE: Final = {"error_code": 0}
_DONE_PRODUCE: Final = {"responses.0.partition_responses.0.error_code": 0}
COMMITTED_ONLY: Final = 1


def init(version: int = 5, *, pid: str = "pid", epoch: str = "epoch", name: str = "@x", **fields: Any) -> Call:
    """A producer with a transactional id; its id and epoch are saved."""
    asked = {"transactional_id": name, "transaction_timeout_ms": 60_000, **fields}
    save = {pid: "producer_id", epoch: "producer_epoch"}
    return Call("InitProducerId", version, asked, save=save, until=_DONE, hidden=True)


def add(topic: str = "@t", *partitions: int, version: int = 3, name: str = "@x", epoch: Any = _EPOCH) -> Call:
    topics = [{"name": topic, "partitions": partitions or [0]}]
    fields = {
        "v3_and_below_transactional_id": name,
        "v3_and_below_producer_id": _PID,
        "v3_and_below_producer_epoch": epoch,
        "v3_and_below_topics": topics,
    }
    added = {"results_by_topic_v3_and_below.0.results_by_partition.0.partition_error_code": 0}
    return Call("AddPartitionsToTxn", version, fields, until=added, hidden=True)


def end(*, commit: bool = True, version: int = 5, name: str = "@x", epoch: Any = _EPOCH, pid: Any = _PID) -> Call:
    """With version 5 the epoch of the next transaction is saved."""
    fields = {"transactional_id": name, "producer_id": pid, "producer_epoch": epoch, "committed": commit}
    save = {"next": "producer_epoch"} if version >= 5 else {}
    return Call("EndTxn", version, fields, save=save, until=_DONE)


def write(
    sequence: int = 0,
    *,
    epoch: Any = _EPOCH,
    pid: Any = _PID,
    name: str | None = "@x",
    topic: str = "@t",
    attributes: int = _TRANSACTIONAL,
    version: int = 12,
    **call: Any,
) -> Call:
    batch = Batch(
        (Rec(f"{sequence}".encode()),), attributes=attributes, producer_id=pid, epoch=epoch, sequence=sequence
    )
    return produce(topic, batch, version=version, transactional_id=name, **call)


def producers(topic: str = "@t") -> Call:
    return Call("DescribeProducers", 0, {"topics": [{"name": topic, "partition_indexes": [0]}]})


def stable(offset: int, topic: str = "@t") -> Call:
    """Waits until everything below this offset is decided and shown."""
    shown = {"topics.0.partitions.0.offset": offset}
    return list_offsets(topic, isolation=COMMITTED_ONLY, until=shown)


def _written(label: str, *steps: Steps) -> Exchange:
    """In one partition, then what is remembered, and both ends of the log."""
    last = (producers(), list_offsets("@t"), list_offsets("@t", isolation=COMMITTED_ONLY))
    return exchange(f"txn-write-{label}", create("@t"), init(), steps, last)


_OTHER: Final = 4 * 10**12

FIRST_WRITES: Final = (
    *(_written(f"not-added-v{version}", write(version=version)) for version in (3, 9, 10, 11, 12, 13)),
    *(
        _written(f"added-v{version}", add(), write(version=version), write(1, version=version))
        for version in (9, 11, 12)
    ),
    _written("second-partition-not-added", add(), write(version=11), write(topic="@t", partition=7, version=11)),
    _written("unknown-partition-v12", write(partition=7)),
    _written("unknown-topic-v12", write(topic="@no")),
    *(
        _written(f"{label}-v{version}", write(version=version, **fields))
        for version in (9, 11, 12)
        for label, fields in {
            "unknown-transactional-id": {"name": "@other"},
            "empty-transactional-id": {"name": ""},
            "foreign-producer-id": {"pid": _OTHER},
            "newer-epoch": {"epoch": Saved("epoch", plus=1)},
            "without-transactional-id": {"name": None},
        }.items()
    ),
    *(_written(f"sequence-not-zero-v{version}", add(), write(3, version=version)) for version in (11, 12)),
    _written("acks-1", write(acks=1)),
    _written("acks-0", write(acks=0, probe=True)),
    _written("acks-0-not-added", write(acks=0, version=11, probe=True)),
    _written("plain-batch-with-transactional-id", write(attributes=0)),
    _written("plain-batch-inside-a-transaction", write(), write(1, attributes=0)),
    _written("twice", write(), write()),
    _written("twice-not-added", write(version=11), write(version=11)),
    _written(
        "compressed-body-is-not-looked-at",
        produce(
            "@t",
            Batch((Rec(b"a"),), codec="gzip", attributes=_TRANSACTIONAL, producer_id=_PID, epoch=_EPOCH, sequence=0),
            transactional_id="@x",
        ),
    ),
    exchange(
        "txn-write-two-producers-in-one-request",
        create("@t", 2),
        init(),
        Call(
            "Produce",
            12,
            {
                "transactional_id": "@x",
                "acks": -1,
                "timeout_ms": 10_000,
                "topic_data": [
                    {
                        "name": "@t",
                        "partition_data": [
                            {
                                "index": index,
                                "records": Batch(
                                    (Rec(b"v"),),
                                    attributes=_TRANSACTIONAL,
                                    producer_id=Saved("pid", plus=index),
                                    epoch=_EPOCH,
                                    sequence=0,
                                ),
                            }
                            for index in (0, 1)
                        ],
                    }
                ],
            },
        ),
        list_offsets("@t"),
    ),
)

ENDS: Final = (
    *(
        _written(f"then-{label}-v{version}", add(), write(version=11), end(commit=commit, version=version), stable(2))
        for version in (0, 3, 4, 5)
        for label, commit in (("commit", True), ("abort", False))
    ),
    _written("then-commit-added-by-the-write", write(), end(), stable(2)),
    _written("then-abort-added-by-the-write", write(), end(commit=False), stable(2)),
    _written("next-transaction", write(), end(), write(epoch=_NEXT, until=_DONE_PRODUCE), stable(2)),
    _written(
        "two-aborted-and-one-committed",
        [write(), end(commit=False), stable(2)],
        [write(epoch=_NEXT, until=_DONE_PRODUCE), end(epoch=_NEXT, commit=False), stable(4)],
        [write(epoch=_NEXT, until=_DONE_PRODUCE), end(epoch=_NEXT), stable(6)],
        fetch("@t", isolation=COMMITTED_ONLY),
        fetch("@t", 3, isolation=COMMITTED_ONLY),
        fetch("@t"),
    ),
)

LATE: Final = (
    *(
        _written(
            f"late-after-{label}-v{version}",
            add(),
            write(version=version),
            end(commit=commit, version=4),
            stable(2),
            write(1, version=version),
        )
        for version in (9, 11)
        for label, commit in (("commit", True), ("abort", False))
    ),
    *(
        _written(f"late-after-{label}-v12", write(), end(commit=commit), stable(2), write(1), write())
        for label, commit in (("commit", True), ("abort", False))
    ),
    _written(
        "late-to-a-partition-never-reached-v11", add(), end(commit=False, version=4), stable(1), write(version=11)
    ),
    _written("late-to-a-partition-never-reached-v12", add(), end(commit=False), stable(1), write()),
    _written(
        "late-in-the-next-transaction-v12", write(), end(), stable(2), write(epoch=_NEXT, until=_DONE_PRODUCE), write(1)
    ),
    _written("of-a-fenced-producer-v11", add(), write(version=11), init(pid="p", epoch="e"), write(1, version=11)),
    _written("of-a-fenced-producer-v12", write(), init(pid="p", epoch="e"), write(1)),
    _written("fenced-before-its-first-write-v11", init(pid="p", epoch="e"), write(version=11)),
    _written("fenced-before-its-first-write-v12", init(pid="p", epoch="e"), write()),
)

READERS: Final = (
    exchange(
        "txn-read-open-transaction",
        create("@t"),
        init(),
        produce("@t"),
        write(),
        produce("@t"),
        fetch("@t", isolation=COMMITTED_ONLY),
        fetch("@t", 1, isolation=COMMITTED_ONLY),
        fetch("@t", 2, isolation=COMMITTED_ONLY),
        fetch("@t", 3, isolation=COMMITTED_ONLY),
        fetch("@t", 4, isolation=COMMITTED_ONLY),
        fetch("@t", 1),
        list_offsets("@t", MAX_TIMESTAMP),
        list_offsets("@t", 0, isolation=COMMITTED_ONLY),
        list_offsets("@t", MAX_TIMESTAMP, isolation=COMMITTED_ONLY),
    ),
    *(
        exchange(
            f"txn-read-{label}-transaction",
            create("@t"),
            init(),
            write(),
            end(commit=commit),
            stable(2),
            fetch("@t", isolation=COMMITTED_ONLY),
            fetch("@t", 1, isolation=COMMITTED_ONLY),
            fetch("@t"),
            *(fetch("@t", isolation=COMMITTED_ONLY, version=version) for version in (4, 11)),
        )
        for label, commit in (("committed", True), ("aborted", False))
    ),
    exchange(
        "txn-read-after-delete-records-over-an-open-transaction",
        create("@t"),
        init(),
        write(),
        write(1),
        delete_records("@t", 1),
        list_offsets("@t", isolation=COMMITTED_ONLY),
        fetch("@t", 1, isolation=COMMITTED_ONLY),
        delete_records("@t", -1),
        list_offsets("@t", isolation=COMMITTED_ONLY),
        producers(),
        end(commit=False),
        stable(3),
        fetch("@t", 2, isolation=COMMITTED_ONLY),
        producers(),
    ),
)


def _mark(*, version: int = 1, commit: bool = False, epoch: Any = _EPOCH, **more: Any) -> Call:
    marker: Mapping[str, Any] = {
        "producer_id": _PID,
        "producer_epoch": epoch,
        "transaction_result": commit,
        "topics": [{"name": "@t", "partition_indexes": [0]}],
        "coordinator_epoch": 0,
        **more,
    }
    return Call("WriteTxnMarkers", version, {"markers": [marker]})


HANGING: Final = (
    _written("aborted-by-a-tool", write(), _mark(), stable(2)),
    _written("aborted-by-a-tool-then-goes-on", write(), _mark(), stable(2), write(1)),
    _written("aborted-by-a-tool-then-goes-on-v11", add(), write(version=11), _mark(), stable(2), write(1, version=11)),
    _written("aborted-by-a-tool-then-committed", write(), _mark(), end(), stable(3)),
    _written("marker-of-its-own-epoch-v2", write(), _mark(version=2, transaction_version=2)),
    _written(
        "marker-of-the-next-epoch-v2", write(), _mark(version=2, transaction_version=2, epoch=Saved("epoch", plus=1))
    ),
    _written("marker-of-an-older-epoch", init(), write(), _mark(epoch=Saved("epoch", plus=-1))),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (*FIRST_WRITES, *ENDS, *LATE, *READERS, *HANGING)
