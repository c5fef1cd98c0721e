"""Produce with a batch that is wrong in one place; reliability matrix 5c. After each one, what the log holds."""

from __future__ import annotations

import gzip
import struct
from typing import Any, Final

from tests.oracle.batches import CONTROL, TRANSACTIONAL, Batch, Joined, Null, OldMessage, Plain, Rec
from tests.oracle.exchange import Exchange, exchange
from tests.oracle.vocabulary import create, fetch, list_offsets, produce

_THREE: Final = (Rec(b"a"), Rec(b"b"), Rec(b"c"))


def _bad(label: str, records: Any, *, version: int = 12, **settings: Any) -> Exchange:
    return exchange(
        f"batch-{label}",
        create("@t", **settings),
        produce("@t", records, version=version),
        list_offsets("@t"),
        produce("@t"),
        fetch("@t"),
    )


_HEADER: Final = (
    _bad("crc-wrong", Batch(bad_crc=True)),
    _bad("crc-wrong-gzip", Batch(codec="gzip", bad_crc=True)),
    _bad("magic-3", Batch(header={"magic": 3})),
    _bad("magic-negative", Batch(header={"magic": -1})),
    _bad("magic-0", OldMessage(0)),
    _bad("magic-1", OldMessage(1)),
    _bad("magic-1-in-version-3", OldMessage(1), version=3),
    _bad("length-13", Batch(header={"batch_length": 13})),
    _bad("length-zero", Batch(header={"batch_length": 0})),
    _bad("length-negative", Batch(header={"batch_length": -1})),
    _bad("length-48", Batch(header={"batch_length": 48})),
    _bad("length-beyond-the-bytes", Batch(header={"batch_length": 10_000})),
    _bad("length-below-the-bytes", Batch(_THREE, header={"batch_length": 60})),
    _bad("base-offset-5", Batch(header={"base_offset": 5})),
    _bad("base-offset-negative", Batch(header={"base_offset": -1})),
    _bad("leader-epoch-7", Batch(header={"leader_epoch": 7})),
    _bad("last-offset-delta-too-large", Batch(header={"last_offset_delta": 5})),
    _bad("last-offset-delta-too-small", Batch(_THREE, header={"last_offset_delta": 0})),
    _bad("last-offset-delta-negative", Batch(header={"last_offset_delta": -1})),
    _bad("count-zero", Batch(header={"record_count": 0})),
    _bad("count-negative", Batch(header={"record_count": -1})),
    _bad("count-too-large", Batch(header={"record_count": 5})),
    _bad("count-and-delta-too-large", Batch(header={"record_count": 5, "last_offset_delta": 4})),
    _bad("count-and-delta-too-small", Batch(_THREE, header={"record_count": 1, "last_offset_delta": 0})),
    _bad("count-and-delta-too-large-gzip", Batch(codec="gzip", header={"record_count": 5, "last_offset_delta": 4})),
    _bad(
        "count-and-delta-too-large-compacted",
        Batch((Rec(b"v", b"k"),), header={"record_count": 5, "last_offset_delta": 4}),
        cleanup_policy="compact",
    ),
    _bad("empty", Batch((), header={"last_offset_delta": -1})),
    _bad("empty-with-delta-zero", Batch((), header={"last_offset_delta": 0})),
    _bad("control", Batch(attributes=CONTROL)),
    _bad(
        "control-and-transactional", Batch(attributes=CONTROL | TRANSACTIONAL, producer_id=10**12, epoch=0, sequence=0)
    ),
    _bad("delete-horizon-bit", Batch(attributes=0x40)),
    _bad("unused-attribute-bit", Batch(attributes=0x80)),
    _bad("codec-5", Batch(attributes=5)),
    _bad("codec-6", Batch(attributes=6)),
    _bad("codec-7", Batch(attributes=7)),
    _bad(
        "transactional-without-transactional-id",
        Batch(attributes=TRANSACTIONAL, producer_id=10**12, epoch=0, sequence=0),
    ),
    _bad("transactional-without-producer-id", Batch(attributes=TRANSACTIONAL)),
)

_FRAMING: Final = (
    _bad("empty-records", Plain(b"")),
    _bad("null-records", Null()),
    _bad("cut-by-one-byte", Batch(cut=1)),
    _bad("cut-inside-the-header", Batch(cut=30)),
    _bad("garbage", Plain(b"garbage, not a batch, but long enough to be looked at as one: 61 bytes and more")),
    _bad("zeroes", Plain(b"\0" * 100)),
    _bad("eleven-bytes", Plain(b"\0" * 11)),
    _bad("two-in-one", Joined((Batch(), Batch()))),
    _bad("two-in-one-version-3", Joined((Batch(), Batch())), version=3),
    _bad("bytes-behind-it", Batch(tail=b"tail")),
    _bad("half-a-batch-behind-it", Joined((Batch(), Batch(cut=10)))),
)

_CORRUPT_GZIP: Final = gzip.compress(b"not records at all", mtime=0)

_BODY: Final = (
    _bad("record-length-too-large", Batch((Rec(length=100),))),
    _bad("record-length-negative", Batch((Rec(length=-1),))),
    _bad("record-length-too-small", Batch((Rec(b"abcdef", length=3),))),
    _bad("record-offset-deltas-with-a-gap", Batch((Rec(b"a"), Rec(b"b", offset_delta=5)))),
    _bad("record-offset-deltas-with-a-gap-gzip", Batch((Rec(b"a"), Rec(b"b", offset_delta=5)), codec="gzip")),
    _bad("header-with-null-key", Batch((Rec(headers=((None, b"v"),)),))),
    _bad("header-with-null-key-gzip", Batch((Rec(headers=((None, b"v"),)),), codec="gzip")),
    _bad("body-is-garbage", Batch(body=b"\xff" * 20)),
    _bad("body-empty", Batch(body=b"")),
    _bad("body-has-bytes-behind", Batch(body=struct.pack(">b", 14) + b"\0\0\0\x01\x02v\0" + b"extra")),
    _bad("gzip-garbage", Batch(codec="gzip", body=b"this is not gzip at all")),
    _bad("gzip-of-garbage", Batch(codec="gzip", body=_CORRUPT_GZIP)),
    _bad("gzip-cut-short", Batch(codec="gzip", body=_CORRUPT_GZIP[:-9])),
    _bad("gzip-empty-body", Batch(codec="gzip", body=b"")),
    _bad("snappy-garbage", Batch(codec="snappy", body=b"\xff\xff\xff\xff\xff\xff not snappy")),
    _bad("lz4-garbage", Batch(codec="lz4", body=b"this is not lz4 at all")),
    _bad("zstd-garbage", Batch(codec="zstd", body=b"this is not zstd at all")),
    _bad("gzip-garbage-recompressed", Batch(codec="gzip", body=b"this is not gzip"), compression_type="lz4"),
    _bad("gzip-garbage-compacted", Batch(codec="gzip", body=b"this is not gzip"), cleanup_policy="compact"),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (*_HEADER, *_FRAMING, *_BODY)
