"""What readers see of an answer to a fetch: records from the position on, none of markers and aborted transactions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.batches import batch_bytes, record_bytes

from pybroker import Json, Raw, Text
from pybroker.errors import CorruptData, DecodeFailed
from pybroker.fetched import Decoder, Fetched
from pybroker.metadata import TopicPartition
from pybroker.record import Record
from pybroker_protocol.records.batch import patch_log_append_time, patch_offset_and_epoch
from pybroker_protocol.records.builder import RecordBatchBuilder
from pybroker_protocol.records.compression import Codec
from pybroker_protocol.records.control import ControlType, build_end_transaction_marker

TP = TopicPartition("t", 2)


def batch(base: int, *values: bytes | None, codec: Codec = Codec.NONE, producer: int = -1) -> bytearray:
    builder = RecordBatchBuilder(codec=codec, is_transactional=producer >= 0)
    for index, value in enumerate(values):
        builder.append(1_600_000_000_000 + base + index, b"k", value, [("h", b"1"), ("h", b"2")])
    data = builder.build(producer_id=producer, producer_epoch=0, base_sequence=0)
    patch_offset_and_epoch(data, 0, base, 9)
    return data


def marker(base: int, kind: ControlType, producer: int) -> bytearray:
    data = build_end_transaction_marker(
        kind, timestamp=1_600_000_000_000, producer_id=producer, producer_epoch=0, coordinator_epoch=0
    )
    patch_offset_and_epoch(data, 0, base, 9)
    return data


def fetched(*batches: bytes | bytearray, position: int = 0, **given: Any) -> Fetched:
    aborted = given.pop("aborted", [])
    options: dict[str, Any] = {"read_committed": False, "checks_crc": True, **given}
    key_codec, value_codec = options.pop("key_codec", Raw()), options.pop("value_codec", Raw())
    decoder = Decoder(key_codec, value_codec, **options)
    return Fetched(TP, position, memoryview(b"".join(batches)), aborted, decoder)


def everything(found: Fetched, count: int = 100) -> list[Record]:
    records: list[Record] = []
    while chunk := found.read(count):
        assert len(chunk) <= count
        records += chunk
    return records


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("count", [1, 2, 100])
def test_records_come_in_order_in_chunks(codec: Codec, count: int) -> None:
    found = fetched(batch(0, b"a", b"b", b"c", codec=codec), batch(3, b"d", codec=codec))
    assert found.next_offset == 4
    assert [(each.offset, each.value) for each in everything(found, count)] == [
        (0, b"a"),
        (1, b"b"),
        (2, b"c"),
        (3, b"d"),
    ]


def test_a_fetch_begins_inside_of_a_batch() -> None:
    found = fetched(batch(0, b"a"), batch(1, b"b", b"c", b"d"), position=3)
    assert [each.offset for each in everything(found, 2)] == [3]
    assert found.position == 4


def test_the_last_batch_may_be_cut_off() -> None:
    found = fetched(batch(0, b"a"), batch(1, b"b")[:-3])
    assert [each.offset for each in everything(found)] == [0]
    assert found.next_offset == 1


@pytest.mark.parametrize("data", [b"", b"\x00" * 5, bytes(batch(0, b"a"))[:-1]])
def test_an_answer_without_a_whole_batch_is_damage(data: bytes) -> None:
    with pytest.raises(CorruptData, match="t-2 from offset 7"):
        fetched(data, position=7)


def test_a_wrong_checksum_is_told_with_its_offset_unless_nobody_checks() -> None:
    damaged = batch(4, b"abc", b"d")
    damaged[-3] ^= 1
    found = fetched(batch(0, b"a", b"b", b"c", b"d"), damaged)
    assert len(found.read(10)) == 4
    with pytest.raises(CorruptData, match="at offset 4: the checksum of the batch at offset 4 is wrong"):
        found.read(10)
    assert len(everything(fetched(damaged, checks_crc=False))) == 2


def test_records_that_do_not_decode_are_damage_though_the_checksum_holds() -> None:
    with pytest.raises(CorruptData):
        fetched(batch_bytes(record_bytes(0)[:-2], 1)).read(1)


def test_markers_are_left_out_and_move_the_position() -> None:
    found = fetched(batch(0, b"a", producer=5), marker(1, ControlType.COMMIT, 5))
    assert [each.value for each in everything(found)] == [b"a"]
    assert found.position == 2


def test_read_committed_leaves_out_what_was_aborted() -> None:
    batches = [
        batch(0, b"a0", producer=5),
        batch(1, b"b1", producer=6),
        batch(2, b"plain"),
        marker(3, ControlType.ABORT, 5),
        batch(4, b"a4", producer=5),
        marker(5, ControlType.COMMIT, 6),
        marker(6, ControlType.COMMIT, 5),
    ]
    committed = fetched(*batches, read_committed=True, aborted=[(5, 0)])
    assert [each.value for each in everything(committed)] == [b"b1", b"plain", b"a4"]
    uncommitted = fetched(*batches)
    assert [each.value for each in everything(uncommitted)] == [b"a0", b"b1", b"plain", b"a4"]
    assert committed.position == uncommitted.position == 7


def test_a_record_knows_where_it_is_from() -> None:
    record = everything(fetched(batch(40, b"v")))[0]
    assert (record.topic, record.partition, record.topic_partition, record.offset) == ("t", 2, TP, 40)
    assert record.leader_epoch == 9
    assert record.timestamp == datetime(2020, 9, 13, 12, 26, 40, 40_000, tzinfo=UTC)
    assert record.headers == [("h", b"1"), ("h", b"2")]
    assert (record.header("h"), record.header("none")) == (b"2", None)
    assert repr(record) == "Record(t-2@40, key=b'k', value=b'v')"


def test_the_time_is_the_brokers_where_the_topic_says_so() -> None:
    data = batch(0, b"a", b"b")
    patch_log_append_time(data, 0, 5_000)
    assert {each.timestamp_ms for each in everything(fetched(data))} == {5_000}


def test_values_are_decoded_when_looked_at_and_null_stays_null() -> None:
    good, bad, null = everything(fetched(batch(0, b'{"n":1}', b"{", None), key_codec=Text(), value_codec=Json()))
    assert (good.key, good.value, null.value) == ("k", {"n": 1}, None)
    assert (bad.raw_value, bad.key) == (b"{", "k")
    with pytest.raises(
        DecodeFailed, match="the value of the record at t-2 offset 1 cannot be decoded: JSONDecodeError"
    ):
        _ = bad.value


def test_headers_that_do_not_decode_are_told_with_the_offset() -> None:
    record = everything(fetched(batch(3, b"v")))[0]
    with pytest.raises(CorruptData, match="t-2 at offset 3"):
        _ = record._replace(raw_headers=b"\x02\x09").headers
