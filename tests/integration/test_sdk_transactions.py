"""Transactions of the SDK against a broker process: all of a block counts or nothing, whoever dies or is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.sdk import TIME_LIMIT_S, a_name, new_topic, nothing_left

from pybroker import Admin, Consumer, Message, Position, Producer, TopicPartition
from pybroker.errors import Abortable, Fenced, NotFound, TooLarge


@pytest.fixture(params=[1, 2])
def transaction_version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """What the SDK takes the cluster for: brokers serve clients of both versions (KIP-890)."""
    version: int = request.param
    if version == 1:
        monkeypatch.setattr("pybroker.transactions.FEATURE", "none.of.any.broker")
    return version


@pytest.fixture
async def producer(bootstrap: str, transaction_version: int) -> AsyncIterator[Producer[bytes, bytes]]:
    async with (
        asyncio.timeout(TIME_LIMIT_S),
        nothing_left(),
        Producer(bootstrap, transactional_id=a_name("tx")) as producer,
    ):
        yield producer


async def committed(bootstrap: str, *topics: str) -> list[bytes | None]:
    """The values that count, once nothing is under way any more: as far as the last stable offset goes."""
    found: list[bytes | None] = []
    async with (
        asyncio.timeout(TIME_LIMIT_S),
        Admin(bootstrap) as admin,
        Consumer(*topics, bootstrap=bootstrap, start="earliest", isolation="read_committed") as consumer,
    ):
        ends = {
            (topic, index): end for topic in topics for index, end in (await admin.offsets(topic, "latest")).items()
        }
        await consumer.ready()
        while any((consumer.position(*where) or 0) < end for where, end in ends.items()):
            found += [record.value for record in await consumer.poll(time_limit=0.1)]
    return found


async def test_all_of_a_block_counts_in_every_partition(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    one, two = await new_topic(bootstrap, 3), await new_topic(bootstrap)
    for round_ in range(3):
        async with producer.transaction() as tx:
            for number in range(30):
                await tx.send(one, b"%d" % number, partition=number % 3)
            delivery = await tx.send(two, b"round %d" % round_, headers={"h": "1"})
            await tx.send_many(two, [b"many", Message(b"more", key=b"k")])
            assert (await delivery).topic == two
    assert sorted(await committed(bootstrap, one)) == sorted([b"%d" % number for number in range(30)] * 3)
    assert sorted(await committed(bootstrap, two)) == sorted(
        [b"round 0", b"round 1", b"round 2", *[b"many", b"more"] * 3]
    )


async def test_an_error_undoes_the_block_and_the_next_one_goes_on(
    bootstrap: str, producer: Producer[bytes, bytes]
) -> None:
    topic = await new_topic(bootstrap, 2)
    with pytest.raises(ZeroDivisionError):
        async with producer.transaction() as tx:
            await (await tx.send(topic, b"undone"))
            await tx.send(topic, b"undone, and perhaps never sent")
            raise ZeroDivisionError
    async with producer.transaction() as tx:
        await tx.send(topic, b"given up")
        await tx.abort()
        with pytest.raises(TypeError, match="within `async with"):
            await tx.send(topic, b"too late")
    async with producer.transaction():
        pass
    async with producer.transaction() as tx:
        await tx.send(topic, b"counts")
    assert await committed(bootstrap, topic) == [b"counts"]


async def test_a_cancelled_block_is_undone_and_the_producer_goes_on(
    bootstrap: str, producer: Producer[bytes, bytes]
) -> None:
    topic = await new_topic(bootstrap)
    entered = asyncio.Event()

    async def stuck() -> None:
        async with producer.transaction() as tx:
            await (await tx.send(topic, b"undone"))
            entered.set()
            await asyncio.Event().wait()

    for _ in range(3):
        entered.clear()
        task = asyncio.create_task(stuck())
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    async with producer.transaction() as tx:
        await tx.send(topic, b"counts")
    assert await committed(bootstrap, topic) == [b"counts"]


async def test_a_newer_producer_of_the_same_name_fences_the_older(bootstrap: str, transaction_version: int) -> None:
    topic, name = await new_topic(bootstrap), a_name("tx")
    async with asyncio.timeout(TIME_LIMIT_S), Producer(bootstrap, transactional_id=name) as zombie:
        async with zombie.transaction() as tx:
            await tx.send(topic, b"before")
        with pytest.raises(Fenced):
            async with zombie.transaction() as tx:
                await (await tx.send(topic, b"under way when the other one came"))
                async with Producer(bootstrap, transactional_id=name) as newer:
                    async with newer.transaction() as newer_tx:
                        await newer_tx.send(topic, b"newer")
                    await tx.send(topic, b"zombie")
        with pytest.raises(Fenced):
            async with zombie.transaction() as tx:
                await tx.send(topic, b"zombie")
    assert await committed(bootstrap, topic) == [b"before", b"newer"]


async def test_a_record_that_is_refused_aborts_its_transaction_only(
    bootstrap: str, producer: Producer[bytes, bytes]
) -> None:
    topic = await new_topic(bootstrap, max_message_bytes="1000")
    with pytest.raises(Abortable, match="the transaction was aborted") as caught:
        async with producer.transaction() as tx:
            await tx.send(topic, b"good")
            await tx.send(topic, b"x" * 5_000, partition=0)
    assert isinstance(caught.value.__cause__, TooLarge)
    with pytest.raises((Abortable, TooLarge)):
        async with producer.transaction() as tx:
            await (await tx.send(topic, b"x" * 5_000))
    with pytest.raises(NotFound):
        async with producer.transaction() as tx:
            await tx.send(topic, b"to nowhere", partition=7)
    async with producer.transaction() as tx:
        await tx.send(topic, b"counts")
    assert await committed(bootstrap, topic) == [b"counts"]


async def test_positions_of_a_group_are_part_of_it(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    source, target, group = await new_topic(bootstrap), await new_topic(bootstrap), a_name("group")
    async with Producer(bootstrap) as plain:
        await plain.send_many(source, [b"%d" % number for number in range(20)])
    tp = TopicPartition(source, 0)
    async with Consumer(source, group=group, bootstrap=bootstrap, commit="manual") as consumer:
        with pytest.raises(ZeroDivisionError):
            async with producer.transaction(consumer) as tx:
                records = await consumer.poll(10, time_limit=TIME_LIMIT_S)
                for record in records:
                    await tx.send(target, record.value)
                raise ZeroDivisionError
        assert (await consumer.committed())[tp] is None
        seen = []
        while len(seen) < 20:
            async with producer.transaction(consumer) as tx:
                for record in await consumer.poll(7, time_limit=TIME_LIMIT_S):
                    seen.append(record.value)
                    await tx.send(target, record.value)
        assert seen == [b"%d" % number for number in range(20)], "after the abort from the beginning"
        assert (await consumer.committed())[tp] == Position(20, 0)
        with pytest.raises(Abortable):
            async with producer.transaction() as tx:
                await tx.send(target, b"by a member of another generation")
                stale = consumer.group_metadata._replace(generation=consumer.group_metadata.generation + 7)
                await tx.commit_offsets(stale, {(source, 0): 1})
        async with producer.transaction() as tx:
            await tx.commit_offsets(consumer, {(source, 0): Position(3, 0, "by hand")})
        assert (await consumer.committed())[tp] == Position(3, 0, "by hand")
    assert await committed(bootstrap, target) == [b"%d" % number for number in range(20)]


async def test_what_cannot_be_is_told_before_anything_is_sent(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    topic = await new_topic(bootstrap)
    with pytest.raises(TypeError, match="within `async with"):
        await producer.send(topic, b"outside")
    with pytest.raises(TypeError, match="one at a time"):
        async with producer.transaction(), producer.transaction():
            pass
    async with Consumer(topic, group=a_name("group"), bootstrap=bootstrap) as consumer:
        with pytest.raises(ValueError, match="commit='manual'"):
            async with producer.transaction(consumer):
                pass
    async with Producer(bootstrap) as plain:
        with pytest.raises(TypeError, match="transactional_id"):
            plain.transaction()
    for options in ({"acks": 1}, {"idempotent": False}, {"transaction_timeout": 0}):
        with pytest.raises(ValueError):
            Producer(bootstrap, transactional_id="t", **options)  # type: ignore[arg-type]
    async with producer.transaction() as tx:
        await tx.send(topic, b"counts")
    assert await committed(bootstrap, topic) == [b"counts"]
