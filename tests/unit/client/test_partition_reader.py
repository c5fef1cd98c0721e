"""Where a consumer is in a partition, through seeks and fetches."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pybroker import Raw
from pybroker.fetched import Decoder, Fetched
from pybroker.metadata import TopicPartition
from pybroker.partition_reader import PartitionReader, Start, timestamp_of
from pybroker_protocol.records.batch import patch_offset_and_epoch
from pybroker_protocol.records.builder import RecordBatchBuilder

TP = TopicPartition("t", 0)
DECODER = Decoder(Raw(), Raw(), read_committed=False, checks_crc=True)


def fetched(base_offset: int, count: int) -> Fetched:
    builder = RecordBatchBuilder()
    for index in range(count):
        builder.append(1_000, None, b"%d" % index, None)
    data = builder.build()
    patch_offset_and_epoch(data, 0, base_offset, 6)
    return Fetched(TP, base_offset, memoryview(data), [], DECODER)


@pytest.mark.parametrize("start", ["earliest", "latest", -3, datetime(2020, 1, 1, tzinfo=UTC)])
def test_a_start_is_no_position_until_a_broker_said_what_it_means(start: Start) -> None:
    reader = PartitionReader(TP, start)
    assert (reader.position, reader.lag, reader.may_fetch(0.0, 100)) == (None, None, False)
    reader.found(12)
    assert (reader.position, reader.may_fetch(0.0, 100)) == (12, True)


def test_an_offset_is_a_position_at_once() -> None:
    assert PartitionReader(TP, 5).position == 5


def test_the_position_is_that_of_the_next_record_to_be_read() -> None:
    reader = PartitionReader(TP, 20)
    reader.take(fetched(20, 4))
    reader.high_watermark = 30
    assert (reader.position, reader.fetch_offset, reader.last_epoch, reader.lag) == (20, 24, 6, 10)
    reader.pending = reader.buffered[0].read(3)
    assert reader.position == 20
    reader.pending_at = 3
    assert (reader.position, reader.lag) == (23, 7)


def test_what_is_fetched_ahead_is_bounded() -> None:
    reader = PartitionReader(TP, 0)
    reader.take(fetched(0, 4))
    assert not reader.may_fetch(0.0, reader.buffered_bytes)
    reader.drop_front()
    assert reader.buffered_bytes == 0
    assert reader.may_fetch(0.0, 1)
    reader.is_paused = True
    assert not reader.may_fetch(0.0, 1)


def test_a_seek_forgets_what_was_fetched() -> None:
    reader = PartitionReader(TP, 0)
    reader.take(fetched(0, 4))
    generation = reader.generation
    reader.seek(2)
    assert (reader.position, reader.fetch_offset, list(reader.buffered), reader.buffered_bytes) == (2, 2, [], 0)
    assert (reader.generation, reader.last_epoch) == (generation + 1, -1)
    reader.seek("earliest")
    assert reader.position is None


def test_starts_in_the_terms_of_the_protocol() -> None:
    assert timestamp_of("earliest") == -2
    assert timestamp_of("latest") == -1
    assert timestamp_of(-5) == -1
    assert timestamp_of(datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC)) == 1_600_000_000_000


@pytest.mark.parametrize("start", ["begining", "", None, 1.5, datetime(2020, 1, 1)])
def test_what_is_no_start_is_refused(start: Any) -> None:
    with pytest.raises(ValueError, match="start="):
        timestamp_of(start)
