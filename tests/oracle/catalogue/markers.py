"""WriteTxnMarkers: from a client, for producers that are not known, fenced, and of both transaction versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tests.oracle.batches import Batch, Rec
from tests.oracle.exchange import Call, Exchange, Steps, exchange
from tests.oracle.vocabulary import create, fetch, list_offsets, produce

_PID: Final = 3 * 10**12


def _marker(
    *topics: tuple[str, Sequence[int]], pid: int = _PID, epoch: int = 0, commit: bool = True, **more: Any
) -> dict[str, Any]:
    """`topics` default to partition 0 of the exchange's own."""
    asked = [{"name": name, "partition_indexes": indexes} for name, indexes in topics or (("@t", [0]),)]
    return {"producer_id": pid, "producer_epoch": epoch, "transaction_result": commit, "topics": asked, **more}


def _mark(*markers: dict[str, Any], version: int = 1, **call: Any) -> Call:
    return Call("WriteTxnMarkers", version, {"markers": markers}, **call)


def _plain(sequence: int, epoch: int = 0) -> Call:
    batch = Batch((Rec(b"v"),), producer_id=_PID, epoch=epoch, sequence=sequence, timestamp=1_000)
    return produce("@t", batch)


def _producers(topic: str = "@t") -> Call:
    return Call("DescribeProducers", 0, {"topics": [{"name": topic, "partition_indexes": [0]}]})


def _marked(label: str, *steps: Steps) -> Exchange:
    """Markers in one partition, then what is remembered and where the log ends."""
    return exchange(f"markers-{label}", create("@t"), steps, _producers(), list_offsets("@t"))


EXCHANGES: Final[tuple[Exchange, ...]] = (
    _marked("commit-of-an-unknown-producer", _mark(_marker())),
    _marked("abort-of-an-unknown-producer", _mark(_marker(commit=False))),
    _marked("v2", _mark(_marker(transaction_version=2), version=2)),
    _marked("v2-of-transaction-version-0", _mark(_marker(transaction_version=0), version=2)),
    _marked("v2-of-transaction-version-1", _mark(_marker(transaction_version=1), version=2)),
    _marked("v2-of-transaction-version-9", _mark(_marker(transaction_version=9), version=2)),
    _marked("none", _mark()),
    _marked("without-partitions", _mark(_marker(("@t", [])))),
    _marked("without-topics", _mark({**_marker(), "topics": []})),
    _marked("unknown-topic", _mark(_marker(("@no", [0]), ("@t", [0])))),
    _marked("unknown-partition", _mark(_marker(("@t", [0, 7])))),
    _marked("negative-partition", _mark(_marker(("@t", [-1])))),
    _marked("invalid-topic", _mark(_marker(("a/b", [0])))),
    _marked("of-two-producers", _mark(_marker(), _marker(pid=_PID + 1, commit=False))),
    _marked("two-of-one-producer", _mark(_marker(), _marker(epoch=1, commit=False))),
    _marked("two-of-one-producer-second-refused", _mark(_marker(epoch=1), _marker(epoch=0))),
    _marked("repeated", _mark(_marker()), _mark(_marker())),
    _marked("repeated-v2", *[_mark(_marker(transaction_version=2), version=2)] * 2),
    _marked("older-epoch", _mark(_marker(epoch=3)), _mark(_marker(epoch=2))),
    _marked(
        "older-epoch-v2",
        _mark(_marker(epoch=3, transaction_version=2), version=2),
        _mark(_marker(epoch=2, transaction_version=2), version=2),
    ),
    _marked("older-coordinator", _mark(_marker(coordinator_epoch=5)), _mark(_marker(coordinator_epoch=4))),
    _marked("newer-coordinator", _mark(_marker(coordinator_epoch=5)), _mark(_marker(coordinator_epoch=6))),
    _marked("coordinator-epoch-minus-one", _mark(_marker(coordinator_epoch=-1))),
    _marked("producer-id-minus-one", _mark(_marker(pid=-1, epoch=-1))),
    _marked("epoch-minus-one", _mark(_marker(epoch=-1))),
    _marked("beside-batches", _plain(0), _mark(_marker()), _plain(1)),
    _marked("with-a-new-epoch", _plain(0), _mark(_marker(epoch=1)), _plain(1), _plain(0, epoch=1)),
    _marked("with-an-old-epoch", _plain(0, epoch=1), _mark(_marker(epoch=0))),
    _marked("with-the-same-epoch-v2", _plain(0), _mark(_marker(transaction_version=2), version=2)),
    exchange("markers-are-control-batches", create("@t"), _mark(_marker()), _mark(_marker(commit=False)), fetch("@t")),
    exchange(
        "markers-are-below-the-stable-offset",
        create("@t"),
        _mark(_marker(commit=False)),
        list_offsets("@t", isolation=1),
        fetch("@t", isolation=1),
    ),
    exchange(
        "markers-in-the-offsets-topic",
        _mark(_marker(("__consumer_offsets", [0]), pid=_PID + 2)),
        _mark(_marker(("__consumer_offsets", [0]), pid=_PID + 2, commit=False)),
    ),
    exchange("markers-in-the-offsets-topic-unknown-partition", _mark(_marker(("__consumer_offsets", [99])))),
    exchange(
        "markers-in-a-compacted-topic",
        create("@t", cleanup_policy="compact"),
        _mark(_marker()),
        _producers(),
    ),
)
