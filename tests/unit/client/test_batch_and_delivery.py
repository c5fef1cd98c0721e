"""A batch ends once and tells everybody; a delivery is the fate of one record in it."""

from __future__ import annotations

import asyncio
import gc
from datetime import UTC, datetime

import pytest

from pybroker.batch import Batch, Stamp
from pybroker.delivery import BatchResult, Delivery, SendManyFailed, Share
from pybroker.errors import Rejected
from pybroker.metadata import TopicPartition
from pybroker_protocol.records.batch import parse_batch_header, verify_crc
from pybroker_protocol.records.compression import Codec
from pybroker_protocol.records.record import iter_records

TP = TopicPartition("t", 1)


def a_batch(*values: bytes, codec: Codec = Codec.NONE) -> Batch:
    batch = Batch(TP, (1,), 0.0, codec, None)
    for index, value in enumerate(values):
        batch.append(1_000 + index, b"k", value, [("h", None)])
    batch.seal()
    return batch


@pytest.mark.parametrize("codec", list(Codec))
def test_the_bytes_hold_what_was_added(codec: Codec) -> None:
    data = a_batch(b"a", b"b" * 1_000, codec=codec).wire(Stamp(7, 2, 30))
    header = parse_batch_header(data)
    assert verify_crc(data)
    assert (header.codec, header.producer_id, header.producer_epoch, header.base_sequence) == (codec, 7, 2, 30)
    found = [(r.timestamp_ms, r.raw_key, r.raw_value, r.headers) for r in iter_records(data, max_bytes=1 << 20)]
    assert found == [(1_000, b"k", b"a", [("h", None)]), (1_001, b"k", b"b" * 1_000, [("h", None)])]


def test_a_new_stamp_leaves_the_checksum_right() -> None:
    batch = a_batch(b"a", b"b")
    batch.wire(Stamp(7, 2, 30))
    data = batch.wire(Stamp(7, 3, 0))
    assert verify_crc(data)
    assert parse_batch_header(data).producer_epoch == 3


def test_a_batch_that_may_be_in_the_log_is_never_stamped_anew() -> None:
    batch = a_batch(b"a")
    batch.wire(Stamp(7, 2, 30))
    batch.maybe_appended = True
    with pytest.raises(AssertionError):
        batch.wire(Stamp(7, 3, 0))


def test_everybody_is_told_once() -> None:
    batch, told = a_batch(b"a"), []
    batch.when_done(lambda each: told.append(("early", each.base_offset)))
    batch.succeed(9, -1)
    batch.when_done(lambda each: told.append(("late", each.base_offset)))
    assert told == [("early", 9), ("late", 9)]
    with pytest.raises(AssertionError, match="ended twice"):
        batch.fail(Rejected("no"))


async def test_a_delivery_is_the_offset_and_time_of_its_record() -> None:
    batch = a_batch(b"a", b"b")
    delivery = Delivery(batch, 1, 1_001)
    assert (delivery.topic, delivery.partition, delivery.is_done) == ("t", 1, False)
    assert repr(delivery) == "<Delivery to t-1, under way>"
    with pytest.raises(asyncio.InvalidStateError):
        delivery.result()
    batch.succeed(40, -1)
    assert await delivery == ("t", 1, 41, 1_001)
    assert delivery.result().timestamp == datetime(1970, 1, 1, 0, 0, 1, 1_000, tzinfo=UTC)


async def test_the_time_is_the_brokers_where_it_gave_one_and_the_offset_unknown_where_not() -> None:
    taken, unconfirmed = a_batch(b"a"), a_batch(b"a")
    taken.succeed(0, 5_000)
    unconfirmed.succeed(-1, -1)
    assert (await Delivery(taken, 0, 1)).timestamp_ms == 5_000
    assert (await Delivery(unconfirmed, 0, 1)).offset == -1


async def test_a_delivery_follows_its_record_into_the_half_of_a_batch() -> None:
    batch = a_batch(b"a", b"b", b"c")
    deliveries = [Delivery(batch, index, 1) for index in range(3)]
    batch.wire(None)
    first, second = batch.split()
    assert [delivery.is_done for delivery in deliveries] == [False] * 3
    second.succeed(10, -1)
    first.fail(Rejected("no"))
    assert (await deliveries[2]).offset == 10
    for delivery in deliveries[:2]:
        with pytest.raises(Rejected):
            await delivery
    assert batch.leaves() == [first, second]


async def test_a_cancelled_wait_does_nothing_to_the_record() -> None:
    batch = a_batch(b"a")
    delivery = Delivery(batch, 0, 1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await delivery
    assert not batch.is_done
    batch.succeed(3, -1)
    assert (await delivery).offset == 3


@pytest.fixture(autouse=True)
def no_batch_of_another_test() -> None:
    gc.collect()


def test_a_failure_that_nobody_asked_for_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    batch = a_batch(b"a", b"b", b"c")
    asked, also_asked = Delivery(batch, 0, 1), Delivery(batch, 1, 1)
    batch.fail(Rejected("the broker said no"))
    for delivery in (asked, asked, also_asked):
        with pytest.raises(Rejected):
            delivery.result()
    del batch, asked, also_asked, delivery
    gc.collect()
    assert [record.getMessage() for record in caplog.records] == [
        "1 records for t-1 were not delivered, and nobody asked: the broker said no"
    ]


def test_an_error_does_not_grow_with_those_who_hear_it() -> None:
    batch = a_batch(b"a", b"b")
    batch.fail(Rejected("no"))
    depths = set()
    for index in range(2):
        with pytest.raises(Rejected) as caught:
            Delivery(batch, index, 1).result()
        depths.add(len(caught.traceback))
    assert len(depths) == 1


def test_a_result_counts_only_what_its_sender_sent() -> None:
    whole, shared, split = a_batch(b"a", b"b"), a_batch(b"1", b"2", b"3", b"4", b"5"), a_batch(b"x", b"y", b"z")
    split.wire(None)
    first, second = split.split()
    whole.succeed(10, -1)
    shared.succeed(20, 9_000)
    first.fail(Rejected("no"))
    second.succeed(30, -1)
    result = BatchResult.of([Share(whole, 0, 2, 5), Share(shared, 1, 3, 6), Share(split, 1, 2, 7)])
    assert [(each.offset, each.timestamp_ms) for each in result] == [
        (10, 5),
        (11, 5),
        (21, 9_000),
        (22, 9_000),
        (23, 9_000),
        (30, 7),
    ]
    assert (len(result), result[-1].offset, [each.offset for each in result[1:3]]) == (6, 30, [11, 21])
    assert result.offsets == {1: [range(10, 12), range(21, 24), range(30, 31)]}
    assert [(each.topic, each.partition, each.count) for each in result.failed] == [("t", 1, 1)]
    error = SendManyFailed(result)
    assert str(error) == "1 of 7 records were not delivered; the first error: no"
    with pytest.raises(IndexError):
        result[6]


def test_records_that_follow_each_other_are_one_share() -> None:
    batch, other = a_batch(b"a", b"b", b"c"), a_batch(b"d")
    share = Delivery(batch, 0, 5).share()
    assert Delivery(batch, 1, 5).join(share)
    assert not Delivery(batch, 2, 6).join(share), "another time"
    assert not Delivery(other, 2, 5).join(share)
    assert (share.first, share.count) == (0, 2)


def test_a_failure_that_was_asked_for_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    batch = a_batch(b"a")
    delivery = Delivery(batch, 0, 1)
    batch.fail(Rejected("no"))
    with pytest.raises(Rejected):
        delivery.result()
    del batch, delivery
    gc.collect()
    assert caplog.records == []
