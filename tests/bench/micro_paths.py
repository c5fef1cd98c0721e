"""Micro-benchmarks of the paths of records: through a client's batches, through the log, and through the load
generator's own hands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from struct import Struct

from tests.support.partition_logs import NOW_MS, new_log

from pybroker_bench.histogram import Histogram
from pybroker_bench.payload import Fillings, Stamper
from pybroker_bench.verify import Checker
from pybroker_protocol.records.batch import iter_batches, parse_batch_header, patch_offset_and_epoch, verify_crc
from pybroker_protocol.records.builder import RecordBatchBuilder
from pybroker_protocol.records.compression import Codec
from pybroker_protocol.records.record import Record, RecordReader
from pybroker_server.log.log_config import LogConfig

TAG = 1
VALUES = [b"x" * 100] * 100
SIZE = Struct(">i")


def built(values: list[bytes], codec: Codec = Codec.NONE) -> bytearray:
    builder = RecordBatchBuilder(codec=codec)
    builder.extend_values(NOW_MS, values)
    return builder.build()


def _built_one_by_one() -> bytearray:
    builder = RecordBatchBuilder()
    append = builder.append
    for value in VALUES:
        append(NOW_MS, b"key-0001", value, None)
    return builder.build()


def _reading(batch: bytearray) -> Callable[[], object]:
    def work() -> object:
        header = parse_batch_header(batch)
        reader = RecordReader(memoryview(batch), header, Record, header, max_bytes=1 << 20)
        return reader.read(1000)

    return work


def _appending(folder: Path, name: str, size: int) -> Callable[[], object]:
    (folder / name).mkdir()
    log = new_log(folder / name, LogConfig())
    batch = built([b"x" * size])

    def work() -> object:
        # As from a socket: every append has bytes of its own, which the log writes its offsets into.
        info = log.append_as_leader(memoryview(bytearray(batch)), 0, NOW_MS)
        log.producer_state.on_high_watermark(log.log_end_offset)
        return info

    return work


def _checking() -> Callable[[], object]:
    records = Stamper(TAG << 16, Fillings([(100, 1.0)], 0.5, 1)).records(0, 0, 0, [5] * 100)

    def work() -> object:
        return Checker(TAG).check(0, 0, range(100), records)

    return work


def rows(folder: Path) -> dict[str, Callable[[], object]]:
    """By what they do; `folder`: where the logs are."""
    batch = built(VALUES)
    one = built([b"x" * 100])
    frame = SIZE.pack(len(one)) + bytes(one)
    stamper = Stamper(TAG << 16, Fillings([(100, 1.0)], 0.5, 1))
    histogram = Histogram()
    return {
        "read a frame's size": lambda: SIZE.unpack_from(frame),
        "parse a batch header": lambda: parse_batch_header(one),
        "check the CRC of a 10-KB batch": lambda: verify_crc(batch),
        "find the batches in 10 KB": lambda: list(iter_batches(batch)),
        "write offset and epoch into a batch": lambda: patch_offset_and_epoch(batch, 0, 7, 1),
        "SDK: build a batch of 100 values": lambda: built(VALUES),
        "SDK: build a batch of 100 records with keys": _built_one_by_one,
        "SDK: build a batch of 100 values, lz4": lambda: built(VALUES, Codec.LZ4),
        "SDK: build a batch of 1 value": lambda: built(VALUES[:1]),
        "SDK: decode a batch of 100 records": _reading(batch),
        "SDK: decode a batch of 1 record": _reading(one),
        "append a batch of 1 KB to the log": _appending(folder, "small", 1_000),
        "append a batch of 64 KB to the log": _appending(folder, "large", 64_000),
        "bench: make 100 records": lambda: stamper.records(0, 0, 0, range(100)),
        "bench: check 100 records": _checking(),
        "bench: count a latency": lambda: histogram.record(1_234_567),
    }
