"""Fetch sessions (KIP-227): made, continued, changed, closed; wrong ids and epochs; names against ids (KIP-516)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tests.oracle.exchange import Call, Exchange, Saved, Steps, exchange, topic_id
from tests.oracle.vocabulary import create, delete, delete_records, fetch_session, filled, produce

_ID: Final = Saved("session")
_CLOSE: Final = -1


def _topics(
    offset: int = 0, *, partitions: Sequence[int] = (0,), version: int = 12, topic: str = "@t", **more: Any
) -> list[dict[str, Any]]:
    key = {"topic": topic} if version < 13 else {"topic_id": topic_id(topic)}
    asked = [
        {"partition": index, "fetch_offset": offset, "partition_max_bytes": 100_000, **more} for index in partitions
    ]
    return [{**key, "partitions": asked}]


def _open(offset: int = 0, *, version: int = 12, partitions: Sequence[int] = (0,), **call: Any) -> Call:
    topics = _topics(offset, version=version, partitions=partitions)
    return fetch_session(topics, version=version, session_epoch=0, save={"session": "session_id"}, **call)


def _next(epoch: int, topics: Sequence[Any] = (), *, session: Any = _ID, **call: Any) -> Call:
    return fetch_session(topics, session_id=session, session_epoch=epoch, **call)


def _session(label: str, *steps: Steps, partitions: int = 1) -> Exchange:
    """A topic with two records in partition 0."""
    return exchange(f"session-{label}", create("@t", partitions), filled("@t", "a", "b"), steps)


_LIFE: Final = (
    *(
        _session(f"v{version}", _open(version=version), _next(1, version=version), _next(2, version=version))
        for version in (7, 11, 12, 13, 18)
    ),
    _session("nothing-new-is-empty", _open(2), _next(1), _next(2)),
    _session("data-is-repeated-until-the-offset-moves", _open(), _next(1), _next(2, _topics(2)), _next(3)),
    _session("new-data", _open(2), produce("@t"), _next(1), _next(2, _topics(3)), _next(3)),
    _session("high-watermark-moves-without-data", _open(2), produce("@t"), _next(1, _topics(3)), _next(2)),
    _session("log-start-moves", _open(2), delete_records("@t", 1), _next(1), _next(2)),
    _session("partition-added", _open(2), _next(1, _topics(partitions=[1])), _next(2), partitions=2),
    _session("partition-forgotten", _open(partitions=[0]), _next(1, forget=["@t"]), produce("@t"), _next(2)),
    _session("partition-forgotten-and-added", _open(2), _next(1, _topics(0), forget=["@t"]), _next(2)),
    _session("forget-what-is-not-there", _open(2), _next(1, forget=["@no"]), _next(2)),
    _session(
        "forget-the-last-partition-then-wait", _open(2), _next(1, forget=["@t"], max_wait_ms=1_500, timed_ms=1_500)
    ),
    _session(
        "two-partitions-one-with-data", _open(2, partitions=[0, 1]), produce("@t", partition=1), _next(1), partitions=2
    ),
    _session("waits-when-nothing-is-new", _open(2), _next(1, max_wait_ms=150, timed_ms=150)),
    _session("unknown-partition-in-it", _open(2), _next(1, _topics(partitions=[7])), _next(2)),
    _session("error-then-recovery", _open(9), _next(1), _next(2, _topics(2)), _next(3)),
    _session("unknown-topic-in-it", _open(2), _next(1, _topics(topic="@no")), _next(2)),
    _session("topic-deleted", _open(2), delete("@t"), _next(1), _next(2)),
    _session("topic-deleted-v13", _open(2, version=13), delete("@t"), _next(1, version=13), _next(2, version=13)),
    _session("topic-recreated-v13", _open(2, version=13), delete("@t"), create("@t"), _next(1, version=13)),
    _session("topic-recreated", _open(2), delete("@t"), create("@t"), _next(1), _next(2, _topics())),
    _session("max-bytes-one", _open(max_bytes=1), _next(1, max_bytes=1)),
)

_CLOSING: Final = (
    _session("closed", _open(2), _next(_CLOSE), _next(1)),
    _session("closed-with-partitions", _open(2), _next(_CLOSE, _topics(0)), _next(1)),
    _session("closed-twice", _open(2), _next(_CLOSE), _next(_CLOSE)),
    _session(
        "replaced-by-a-new-one",
        _open(2),
        _next(0, _topics(0), save={"second": "session_id"}),
        _next(1),
        _next(1, session=Saved("second")),
    ),
    _session("none-wanted", fetch_session(_topics(0), session_id=0, session_epoch=_CLOSE)),
    _session("of-another-connection", _open(2), produce("@t", on="b"), _next(1, on="b")),
    exchange("session-of-nothing", fetch_session([], session_epoch=0)),
    exchange(
        "session-of-an-unknown-topic",
        fetch_session(_topics(topic="@no"), session_epoch=0, save={"session": "session_id"}),
        _next(1),
    ),
)

_WRONG: Final = (
    _session("epoch-repeated", _open(2), _next(1), _next(1), _next(2)),
    _session("epoch-too-high", _open(2), _next(2), _next(1)),
    _session("epoch-far-too-high", _open(2), _next(2**31 - 1)),
    _session("epoch-minus-two", _open(2), _next(-2), _next(1)),
    _session("epoch-zero-continues-nothing", _open(2), _next(0), _next(1)),
    _session("id-unknown", _next(1, session=123_456_789)),
    _session("id-unknown-epoch-zero", _next(0, _topics(), session=123_456_789)),
    _session("id-unknown-epoch-close", _next(_CLOSE, _topics(), session=123_456_789)),
    _session("id-zero-epoch-one", _next(1, _topics(), session=0)),
    _session("id-negative", _next(1, session=-5)),
    _session("id-off-by-one", _open(2), _next(1, session=Saved("session", plus=1))),
    _session("id-unknown-waits-not", _next(1, session=123_456_789, max_wait_ms=2_000, timed_ms=2_000)),
    _session("made-by-name-continued-by-id", _open(2), _next(1, version=13)),
    _session("made-by-id-continued-by-name", _open(2, version=13), _next(1)),
    _session("made-by-name-continued-by-id-with-topics", _open(2), _next(1, _topics(version=13), version=13)),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (*_LIFE, *_CLOSING, *_WRONG)
