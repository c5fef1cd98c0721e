"""Consumer groups of KIP-848 with librdkafka: the broker assigns, members come, go, crash and return."""

from __future__ import annotations

from collections.abc import Iterator

import confluent_kafka
import confluent_kafka.admin
import pytest
from tests.support.broker_process import BrokerProcess, running_broker
from tests.support.group_members import (
    PARTITIONS,
    RECORDS,
    Member,
    all_own_some,
    committed_offsets,
    filled_topic,
    until,
)
from tests.support.sdk import a_name

CONSUMER: dict[str, str | int] = {"group.protocol": "consumer"}
SETTINGS = {
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "100",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.assignment.interval.ms": "100",
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with running_broker(tmp_path_factory.mktemp("groups") / "data", SETTINGS) as started:
        yield started


@pytest.fixture
def topic(broker: BrokerProcess) -> str:
    return filled_topic(broker.bootstrap)


@pytest.mark.parametrize("assignor", ["uniform", "range"])
def test_members_share_the_partitions_and_take_over_from_each_other(
    broker: BrokerProcess, topic: str, assignor: str
) -> None:
    group = a_name("group")
    settings = {**CONSUMER, "group.remote.assignor": assignor}
    members = [Member(broker.bootstrap, topic, group, **settings)]
    until(lambda: len(members[0].owned) == PARTITIONS, members)
    members += [Member(broker.bootstrap, topic, group, **settings) for _ in range(2)]
    until(lambda: all_own_some(members), members)
    until(lambda: {n for m in members for n in m.seen} == set(range(RECORDS)), members)
    members[0].leave()
    rest = members[1:]
    until(lambda: all_own_some(rest), rest)
    for member in rest:
        member.leave()
    again = Member(broker.bootstrap, topic, group, **settings)
    until(lambda: len(again.owned) == PARTITIONS, [again])
    again.leave()
    assert again.seen == []
    assert committed_offsets(broker.bootstrap, topic, group) == [RECORDS // PARTITIONS] * PARTITIONS


def test_a_static_member_returns_to_what_it_had(broker: BrokerProcess, topic: str) -> None:
    group = a_name("group")
    both = [
        Member(broker.bootstrap, topic, group, **CONSUMER, **{"group.instance.id": name}) for name in ("one", "two")
    ]
    until(lambda: all_own_some(both), both)
    stays, goes = both
    kept, given = set(stays.owned), set(goes.owned)
    goes.leave()
    returned = Member(broker.bootstrap, topic, group, **CONSUMER, **{"group.instance.id": "two"})
    until(lambda: returned.owned == given, [stays, returned])
    assert stays.owned == kept
    stays.leave()
    returned.leave()


def test_members_and_offsets_survive_a_kill_of_the_broker(broker: BrokerProcess, topic: str) -> None:
    group = a_name("group")
    member = Member(broker.bootstrap, topic, group, **CONSUMER)
    until(lambda: len(member.seen) == RECORDS, [member])
    broker.kill()
    broker.start()
    both = [member, Member(broker.bootstrap, topic, group, **CONSUMER)]
    until(lambda: all_own_some(both), both)
    assert both[1].seen == []
    assert len(member.seen) == RECORDS
    for each in both:
        each.leave()


def test_a_group_moves_to_the_new_protocol_and_back_while_it_works(broker: BrokerProcess, topic: str) -> None:
    """Classic members first, then both kinds, then new ones only, and the same way back; every record is processed."""
    group = a_name("group")
    classic = {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 100, "partition.assignment.strategy": "range"}
    old = [Member(broker.bootstrap, topic, group, **classic) for _ in range(2)]
    until(lambda: all_own_some(old), old)
    new = Member(broker.bootstrap, topic, group, **CONSUMER)
    mixed = [*old, new]
    until(lambda: all_own_some(mixed), mixed)
    assert kind_of(broker, group) == confluent_kafka.ConsumerGroupType.CONSUMER
    for member in old:
        member.leave()
    until(lambda: all_own_some([new]), [new])
    back = Member(broker.bootstrap, topic, group, **classic)
    mixed = [new, back]
    until(lambda: all_own_some(mixed), mixed)
    new.leave()
    until(lambda: all_own_some([back]), [back])
    assert kind_of(broker, group) == confluent_kafka.ConsumerGroupType.CLASSIC
    everybody = [*old, new, back]
    until(lambda: {n for m in everybody for n in m.seen} == set(range(RECORDS)), [back])
    back.leave()
    assert committed_offsets(broker.bootstrap, topic, group) == [RECORDS // PARTITIONS] * PARTITIONS


def kind_of(broker: BrokerProcess, group: str) -> confluent_kafka.ConsumerGroupType:
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    listed = admin.list_consumer_groups().result(10).valid
    return next(each.type for each in listed if each.group_id == group)


def test_a_pattern_subscribes_to_topics_that_come_later(broker: BrokerProcess, topic: str) -> None:
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    member = Member(broker.bootstrap, f"^{topic}.*", a_name("group"), **CONSUMER)
    until(lambda: len(member.owned) == PARTITIONS, [member])
    later = f"{topic}-later"
    admin.create_topics([confluent_kafka.admin.NewTopic(later, PARTITIONS + 2, 1)])[later].result(30)
    until(lambda: member.owned == set(range(PARTITIONS + 2)), [member])
    member.leave()


def test_tools_see_the_group_as_it_is(broker: BrokerProcess, topic: str) -> None:
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    group = a_name("group")
    member = Member(broker.bootstrap, topic, group, **CONSUMER)
    until(lambda: len(member.seen) == RECORDS, [member])
    described = admin.describe_consumer_groups([group])[group].result(10)
    assert (described.state, described.type) == (
        confluent_kafka.ConsumerGroupState.STABLE,
        confluent_kafka.ConsumerGroupType.CONSUMER,
    )
    assert kind_of(broker, group) == confluent_kafka.ConsumerGroupType.CONSUMER
    member.leave()
    assert admin.delete_consumer_groups([group])[group].result(10) is None
