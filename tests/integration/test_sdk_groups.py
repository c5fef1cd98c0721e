"""The SDK's consumers in groups, by both protocols: they share, come and go, and go on where the group left off."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.support.broker_process import running_broker
from tests.support.sdk import TIME_LIMIT_S, a_name, new_topic, nothing_left, take
from tests.support.sdk_members import (
    COOPERATIVE,
    EAGER,
    FAST_GROUPS,
    PARTITIONS,
    PROTOCOLS,
    SdkMember,
    committed,
    fast_bootstrap,
    members_end,
    numbered_topic,
    send_numbers,
    shared_by,
    until,
)

from pybroker import Admin, Client, Consumer, GroupEvent, Lost, Producer, Revoked, Slow, TopicPartition
from pybroker.errors import Fenced, KafkaError, NotAssigned, NotFound
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.messages import ConsumerGroupHeartbeatRequest, LeaveGroupRequest

bootstrap = fast_bootstrap
MakeMember = Callable[..., SdkMember]
each_protocol = pytest.mark.parametrize("options", PROTOCOLS.values(), ids=list(PROTOCOLS))


@pytest.fixture
async def member() -> AsyncIterator[MakeMember]:
    async with nothing_left(), members_end() as make:
        yield make


def seen_by(members: list[SdkMember]) -> list[int]:
    return [number for member in members for number in member.seen]


@each_protocol
async def test_members_share_the_partitions_take_over_from_each_other_and_go_on_where_they_left_off(
    bootstrap: str, member: MakeMember, options: dict[str, Any]
) -> None:
    topic, group = await numbered_topic(bootstrap), a_name("group")
    members = [member(bootstrap, group, topic, **options)]
    await until(lambda: members[0].partitions == set(range(PARTITIONS)), members)
    members += [member(bootstrap, group, topic, **options) for _ in range(2)]
    await until(lambda: shared_by(members), members)
    await send_numbers(bootstrap, topic, range(300, 600))
    await until(lambda: set(seen_by(members)) == set(range(600)), members)
    await members[0].leave()
    rest = members[1:]
    await until(lambda: shared_by(rest), rest)
    for each in rest:
        await each.leave()
    assert await committed(bootstrap, group, topic) == [100] * PARTITIONS
    await send_numbers(bootstrap, topic, range(600, 660))
    last = member(bootstrap, group, topic, **options)
    await until(lambda: len(last.seen) >= 60, [last])
    # Every member committed what it had finished before it gave it up: nothing came twice.
    assert sorted(seen_by([*members, last])) == list(range(660))


@each_protocol
async def test_a_member_that_vanishes_is_replaced_and_what_it_did_not_finish_comes_again(
    bootstrap: str, member: MakeMember, options: dict[str, Any]
) -> None:
    topic, group = await numbered_topic(bootstrap), a_name("group")
    first = member(bootstrap, group, topic, instance_id="one", **options)
    await until(lambda: len(first.seen) == 300, [first])
    hangs = asyncio.Event()
    first.handle = lambda number: hangs.wait()
    await send_numbers(bootstrap, topic, range(300, 306))
    await asyncio.sleep(0)
    second = member(bootstrap, group, topic, **options)
    await first.vanish()  # static, so the group hears nothing of it
    await until(lambda: set(second.seen) >= set(range(300, 306)), [second])
    assert second.partitions == set(range(PARTITIONS))


@each_protocol
async def test_before_partitions_are_given_up_the_record_in_hand_is_finished_and_committed(
    bootstrap: str, member: MakeMember, options: dict[str, Any]
) -> None:
    topic, group = await numbered_topic(bootstrap, 6), a_name("group")
    may_go_on = asyncio.Event()
    in_hand: list[int] = []

    async def hold(number: int) -> None:
        in_hand.append(number)
        await may_go_on.wait()

    slow = member(bootstrap, group, topic, **options)
    slow.handle = hold
    await until(lambda: bool(in_hand), [slow])
    other = member(bootstrap, group, topic, **options)
    await until(lambda: other.joined, [slow, other])
    await asyncio.sleep(0.5)  # the rebalance waits for the handler meanwhile
    assert in_hand[0] not in other.seen
    may_go_on.set()
    await until(lambda: shared_by([slow, other]), [slow, other])
    await until(lambda: len(seen_by([slow, other])) >= 6, [slow, other])
    assert sorted(seen_by([slow, other])) == list(range(6))


@each_protocol
async def test_a_slow_handler_costs_no_membership_and_is_told_of(
    bootstrap: str, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    topic, group = await numbered_topic(bootstrap, 6), a_name("group")
    events: list[GroupEvent] = []
    async with Consumer(
        topic, group=group, bootstrap=bootstrap, max_poll_interval=0.2, on_event=events.append, **options
    ) as consumer:
        await take(consumer, 1)
        who = consumer.group_metadata
        await asyncio.sleep(3)  # longer than the session
        assert consumer.group_metadata == who
        assert [event for event in events if isinstance(event, Lost | Revoked)] == []
        assert len([event for event in events if isinstance(event, Slow)]) == 1
        assert len(await take(consumer, 5)) == 5
    assert "has been busy with one record" in caplog.text


@each_protocol
async def test_a_handler_slower_than_the_rebalance_does_not_stop_the_others(
    bootstrap: str, member: MakeMember, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    topic, group = await numbered_topic(bootstrap, 6), a_name("group")
    in_hand, may_go_on = asyncio.Event(), asyncio.Event()

    async def hold(number: int) -> None:
        in_hand.set()
        await may_go_on.wait()

    slow = member(bootstrap, group, topic, rebalance_timeout=1.0, **options)
    slow.handle = hold
    await until(in_hand.is_set, [slow])
    other = member(bootstrap, group, topic, **options)
    await until(lambda: shared_by([slow, other]), [slow, other])
    may_go_on.set()
    await until(lambda: set(seen_by([slow, other])) == set(range(6)), [slow, other])
    assert slow.consumer.group_metadata.generation > 0


async def forget(consumer: Consumer) -> None:
    """Have the group believe that this member has left."""
    who = consumer.group_metadata
    node = await consumer._in_group().coordinator._find()
    if consumer.group_protocol == "consumer":
        request: Any = ConsumerGroupHeartbeatRequest(group_id=who.group, member_id=who.member_id, member_epoch=-1)
        response = await consumer.client.ask_node(node, ApiKey.CONSUMER_GROUP_HEARTBEAT, request)
    else:
        member = LeaveGroupRequest.MemberIdentity(member_id=who.member_id)
        request = LeaveGroupRequest(group_id=who.group, members=[member])
        response = await consumer.client.ask_node(node, ApiKey.LEAVE_GROUP, request)
    assert response.error_code == 0


@each_protocol
async def test_a_member_that_the_group_has_forgotten_loses_all_and_joins_again(
    bootstrap: str, member: MakeMember, options: dict[str, Any]
) -> None:
    topic, group = await numbered_topic(bootstrap), a_name("group")
    one = member(bootstrap, group, topic, **options)
    await until(lambda: len(one.seen) == 300, [one])
    await forget(one.consumer)
    await until(lambda: any(isinstance(event, Lost) for event in one.events), [one])
    await until(lambda: one.partitions == set(range(PARTITIONS)), [one])
    await send_numbers(bootstrap, topic, range(300, 330))
    await until(lambda: set(one.seen) == set(range(330)), [one])


@each_protocol
async def test_a_static_member_returns_to_what_it_had_and_nobody_else_is_disturbed(
    bootstrap: str, member: MakeMember, options: dict[str, Any]
) -> None:
    topic, group = await numbered_topic(bootstrap), a_name("group")
    stays, goes = (member(bootstrap, group, topic, instance_id=name, **options) for name in ("one", "two"))
    await until(lambda: shared_by([stays, goes]), [stays, goes])
    kept, given, events = set(stays.owned), set(goes.owned), len(stays.events)
    await goes.leave()
    returned = member(bootstrap, group, topic, instance_id="two", **options)
    await until(lambda: returned.owned == given, [stays, returned])
    assert (stays.owned, len(stays.events)) == (kept, events)


@each_protocol
async def test_two_of_one_instance_id_fence_each_other(bootstrap: str, options: dict[str, Any]) -> None:
    topic, group = await numbered_topic(bootstrap), a_name("group")

    def twin() -> Consumer:
        return Consumer(topic, group=group, bootstrap=bootstrap, instance_id="twin", rebalance_timeout=1.0, **options)

    async with asyncio.timeout(TIME_LIMIT_S), twin() as first, twin() as second:
        with pytest.raises(Fenced):
            while True:
                await first.poll(time_limit=0.1)
                await second.poll(time_limit=0.1)


async def test_protocols_are_chosen_and_fallen_back_from(bootstrap: str, tmp_path: Any) -> None:
    topic = await new_topic(bootstrap)
    async with Consumer(topic, group=a_name(), bootstrap=bootstrap) as consumer:
        await consumer.ready()
        assert consumer.group_protocol == "consumer"
    with running_broker(tmp_path / "old", {**FAST_GROUPS, "group.coordinator.rebalance.protocols": "classic"}) as old:
        topic = await new_topic(old.bootstrap)
        async with Consumer(topic, group=a_name(), bootstrap=old.bootstrap) as consumer:
            await consumer.ready()
            assert (consumer.group_protocol, consumer.assignment) == ("classic", [TopicPartition(topic, 0)])
        async with Consumer(topic, group=a_name(), bootstrap=old.bootstrap, group_protocol="consumer") as consumer:
            with pytest.raises(KafkaError, match=r"ConsumerGroupHeartbeat|UNSUPPORTED_VERSION"):
                await take(consumer, 1)


# What is committed, and when.


async def test_commit_after_a_record_whose_handler_failed_comes_again(bootstrap: str) -> None:
    topic, group = await new_topic(bootstrap), a_name("group")
    async with Producer(bootstrap) as producer:
        await producer.send_many(topic, [b"%d" % number for number in range(10)])

    async def fails_at_four() -> list[int]:
        seen = []
        async with Consumer(topic, group=group, bootstrap=bootstrap) as consumer:
            async for record in consumer:
                seen.append(int(record.value))
                if seen[-1] == 4:
                    raise ZeroDivisionError
        return seen

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await fails_at_four()
        async with Consumer(topic, group=group, bootstrap=bootstrap) as consumer:
            found = await consumer.committed([(topic, 0)])
            assert found[TopicPartition(topic, 0)] == (4, 0, "")
    async with Consumer(topic, group=group, bootstrap=bootstrap) as consumer:
        assert [int(record.value) for record in await take(consumer, 6)] == [4, 5, 6, 7, 8, 9]
    async with Consumer(topic, group=group, bootstrap=bootstrap) as consumer:
        assert (await consumer.committed([(topic, 0)]))[TopicPartition(topic, 0)] == (10, 0, "")


async def test_commit_after_works_in_the_background_too(bootstrap: str) -> None:
    topic, group = await numbered_topic(bootstrap, 60), a_name("group")
    async with Consumer(topic, group=group, bootstrap=bootstrap, commit_interval=0.05) as consumer:
        await take(consumer, 60)
        async with asyncio.timeout(TIME_LIMIT_S):
            while sum(await committed(bootstrap, group, topic)) < 59:  # one is in hand
                await consumer.poll(time_limit=0.01)


async def test_commit_now_finishes_what_is_in_hand(bootstrap: str) -> None:
    topic, group = await new_topic(bootstrap), a_name("group")
    async with Producer(bootstrap) as producer:
        await producer.send_many(topic, [b"%d" % number for number in range(5)])
    with pytest.raises(ZeroDivisionError):
        async with Consumer(topic, group=group, bootstrap=bootstrap) as consumer:
            async for record in consumer:
                if int(record.value) == 2:
                    await consumer.commit()
                if int(record.value) == 3:
                    raise ZeroDivisionError
    async with Consumer(topic, group=group, bootstrap=bootstrap) as consumer:
        assert (await consumer.committed([(topic, 0)]))[TopicPartition(topic, 0)] == (3, 0, "")


async def test_commit_before_never_gives_a_record_twice(bootstrap: str) -> None:
    topic, group = await new_topic(bootstrap), a_name("group")
    async with Producer(bootstrap) as producer:
        await producer.send_many(topic, [b"%d" % number for number in range(10)])
    seen = []
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            async with Consumer(topic, group=group, bootstrap=bootstrap, commit="before") as consumer:
                async for record in consumer:
                    seen.append(int(record.value))
                    raise ZeroDivisionError
    async with Consumer(topic, group=group, bootstrap=bootstrap, commit="before") as consumer:
        async for batch in consumer.batches(4):
            seen += [int(record.value) for record in batch]
            break
    assert seen == list(range(len(seen)))
    assert len(seen) > 3


async def test_commit_manual_commits_what_it_is_told_and_nothing_else(bootstrap: str) -> None:
    topic, group = await new_topic(bootstrap), a_name("group")
    tp = TopicPartition(topic, 0)
    async with Producer(bootstrap) as producer:
        await producer.send_many(topic, [b"%d" % number for number in range(10)])
    async with Consumer(topic, group=group, bootstrap=bootstrap, commit="manual") as consumer:
        records = await take(consumer, 5)
        assert await consumer.committed() == {tp: None}
        await consumer.commit(records[1])
        assert (await consumer.committed())[tp] == (2, 0, "")
        await consumer.commit()
        assert (await consumer.committed())[tp] == (5, 0, "")
        await consumer.commit({tp: 1})
        assert (await consumer.committed())[tp] == (1, -1, "")
    async with Consumer(topic, group=group, bootstrap=bootstrap) as consumer:
        assert int((await take(consumer, 1))[0].value) == 1
        with pytest.raises(ValueError, match="the consumer decides"):
            await consumer.commit({tp: 1})


async def test_one_consumer_of_a_group_is_read_by_one_task(bootstrap: str) -> None:
    topic = await numbered_topic(bootstrap)
    async with Consumer(topic, group=a_name(), bootstrap=bootstrap) as consumer:
        await take(consumer, 1)

        async def other() -> None:
            await consumer.poll(time_limit=TIME_LIMIT_S)

        with pytest.raises(TypeError, match="two tasks read one consumer"):
            await asyncio.ensure_future(other())


# Where it begins.


async def test_where_nothing_is_committed_start_says_where_to_begin(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with Producer(bootstrap) as producer:
        await producer.send_many(topic, [b"%d" % number for number in range(10)])
    for start, first in ((None, 0), ("earliest", 0), (4, 4), (-3, 7)):
        async with Consumer(topic, group=a_name(), bootstrap=bootstrap, start=start) as consumer:  # type: ignore[arg-type]
            await consumer.ready()
            assert consumer.position(topic, 0) == first
    group = a_name()
    async with Consumer(topic, group=group, bootstrap=bootstrap, start="latest") as consumer:
        await consumer.ready()
        assert consumer.positions() == {TopicPartition(topic, 0): (10, -1, "")}
    async with Consumer(topic, group=group, bootstrap=bootstrap, start="committed") as consumer:
        await consumer.ready()
        assert consumer.position(topic, 0) == 10
    async with Consumer(topic, group=a_name(), bootstrap=bootstrap, start="committed") as consumer:
        with pytest.raises(NotFound, match="has committed no offset"):
            await take(consumer, 1)


@each_protocol
async def test_topics_and_partitions_that_come_later_are_read_from_their_beginning(
    bootstrap: str, member: MakeMember, options: dict[str, Any]
) -> None:
    topic = a_name("later")
    async with Client(bootstrap, metadata_max_age=0.3) as client, Admin(client=client) as admin:
        one = member(bootstrap, a_name("group"), topic, client=client, start="latest", **options)
        await until(lambda: one.joined, [one])
        await admin.create_topic(topic, partitions=2)
        await until(lambda: one.partitions == {0, 1}, [one])
        await one.consumer.ready()
        await admin.grow_topic(topic, PARTITIONS)
        await send_numbers(bootstrap, topic, range(60))
        await until(lambda: one.partitions == set(range(PARTITIONS)), [one])
        await until(lambda: sorted(one.seen) == list(range(60)), [one])
        await one.leave()


@each_protocol
async def test_patterns_find_topics_now_and_later(bootstrap: str, member: MakeMember, options: dict[str, Any]) -> None:
    name = a_name("orders")
    async with Admin(bootstrap) as admin:
        await admin.create_topic(f"{name}.one", partitions=PARTITIONS)
        await admin.create_topic(f"{name}.two.not", partitions=PARTITIONS)
        async with Client(bootstrap, metadata_max_age=0.3) as client:
            one = member(bootstrap, a_name("group"), re.compile(re.escape(name) + r"\.\w+"), client=client, **options)
            await until(lambda: {tp.topic for tp in one.owned} == {f"{name}.one"}, [one])
            await admin.create_topic(f"{name}.three", partitions=PARTITIONS)
            await until(lambda: {tp.topic for tp in one.owned} == {f"{name}.one", f"{name}.three"}, [one])
            await send_numbers(bootstrap, f"{name}.three", range(60))
            await until(lambda: sorted(one.seen) == list(range(60)), [one])
            await one.leave()


async def test_pause_resume_seek_and_lag_in_a_group(bootstrap: str) -> None:
    topic, group = await new_topic(bootstrap), a_name("group")
    async with Producer(bootstrap) as producer:
        await producer.send_many(topic, [b"%d" % number for number in range(10)])
    async with Consumer(topic, group=group, bootstrap=bootstrap) as consumer:
        await take(consumer, 2)
        assert consumer.lag() == {TopicPartition(topic, 0): 8}
        consumer.seek(7)
        assert int((await take(consumer, 1))[0].value) == 7
        consumer.pause()
        assert await consumer.poll(time_limit=0.05) == []
        consumer.resume()
        assert int((await take(consumer, 1))[0].value) == 8
    async with Consumer(topic, group=group, bootstrap=bootstrap) as consumer:
        assert int((await take(consumer, 1))[0].value) == 9


async def test_a_handler_of_assigned_may_seek(bootstrap: str) -> None:
    topic = await numbered_topic(bootstrap, 60)
    consumer = Consumer(topic, group=a_name(), bootstrap=bootstrap, on_event=lambda event: _seek_to_8(consumer, event))
    async with consumer:
        assert {record.offset for record in await take(consumer, 12)} == {8, 9}


def _seek_to_8(consumer: Consumer, event: GroupEvent) -> None:
    if not isinstance(event, Revoked):
        consumer.seek(8)


async def test_a_handler_of_revoked_may_commit_also_while_the_consumer_is_closed(bootstrap: str) -> None:
    topic, group = await new_topic(bootstrap), a_name("group")
    tp = TopicPartition(topic, 0)
    async with Producer(bootstrap) as producer:
        await producer.send_many(topic, [b"%d" % number for number in range(10)])

    async def on_event(event: GroupEvent) -> None:
        if isinstance(event, Revoked):
            assert consumer.group_metadata.generation > 0
            await consumer.commit({tp: 7})

    consumer = Consumer(topic, group=group, bootstrap=bootstrap, commit="manual", on_event=on_event)
    async with consumer:
        await take(consumer, 2)
    async with Consumer(topic, group=group, bootstrap=bootstrap) as another:
        assert (await another.committed([tp]))[tp] == (7, -1, "")


async def test_a_handler_of_revoked_that_fails_keeps_nothing_from_being_committed(bootstrap: str) -> None:
    topic, group = await new_topic(bootstrap), a_name("group")
    async with Producer(bootstrap) as producer:
        await producer.send_many(topic, [b"%d" % number for number in range(10)])

    def on_event(event: GroupEvent) -> None:
        if isinstance(event, Revoked):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with nothing_left(), Consumer(topic, group=group, bootstrap=bootstrap, on_event=on_event) as consumer:
            await take(consumer, 2)
    async with asyncio.timeout(TIME_LIMIT_S), Consumer(topic, group=group, bootstrap=bootstrap) as another:
        await another.ready()
        assert another.position(topic, 0) == 2
        assert another.assignment == [TopicPartition(topic, 0)]


async def test_events_can_be_iterated(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with asyncio.timeout(TIME_LIMIT_S), Consumer(topic, group=a_name(), bootstrap=bootstrap) as consumer:
        events = consumer.events()
        assert [type(await anext(events)).__name__] == ["Assigned"]
        await events.aclose()  # type: ignore[attr-defined]


async def test_what_another_member_owns_cannot_be_committed_any_more(bootstrap: str) -> None:
    topic, group = await numbered_topic(bootstrap), a_name("group")
    async with Consumer(topic, group=group, bootstrap=bootstrap, commit="manual", **COOPERATIVE) as consumer:
        records = await take(consumer, 10)
        await forget(consumer)
        with pytest.raises(NotAssigned):
            await consumer.commit(records[-1])


# The coordinator goes and comes.


@pytest.mark.parametrize("options", [PROTOCOLS["consumer"], EAGER], ids=["consumer", "eager"])
async def test_a_restart_of_the_coordinator_loses_nothing(tmp_path: Any, options: dict[str, Any]) -> None:
    with running_broker(tmp_path / "data", FAST_GROUPS) as broker:
        topic, group = await numbered_topic(broker.bootstrap), a_name("group")
        async with nothing_left(), members_end() as member:
            members = [member(broker.bootstrap, group, topic, **options) for _ in range(2)]
            await until(lambda: shared_by(members), members)
            await asyncio.to_thread(broker.kill)
            await asyncio.to_thread(broker.start)
            await send_numbers(broker.bootstrap, topic, range(300, 600))
            await until(lambda: set(seen_by(members)) == set(range(600)), members)
            await until(lambda: shared_by(members), members)
            for each in members:
                await each.leave()
            assert await committed(broker.bootstrap, group, topic) == [100] * PARTITIONS
