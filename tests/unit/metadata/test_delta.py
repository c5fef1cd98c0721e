"""Events to images: one batch at a time must give what reading everything at once gives."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

import pytest

from pybroker_server.metadata import keys
from pybroker_server.metadata.delta import apply, build_image
from pybroker_server.metadata.image import BrokerImage, Endpoint, MetadataImage, PartitionImage
from pybroker_server.metadata.store import KeyValue, StoreDamagedError, WatchBatch, WatchEvent


def an_id(number: int) -> UUID:
    return UUID(int=number)


def topic_put(revision: int, number: int, name: str, count: int) -> WatchEvent:
    value = keys.encode_topic(keys.TopicValue(an_id(number), name, count))
    return WatchEvent(keys.topic_key(name), value, revision)


def partition_put(revision: int, number: int, index: int, leader: int = 1, epoch: int = 0) -> WatchEvent:
    partition = PartitionImage(index, (1, 2), (1, 2), leader, epoch, epoch)
    return WatchEvent(keys.partition_key(an_id(number), index), keys.encode_partition(partition), revision)


def config_put(revision: int, number: int, **values: str) -> WatchEvent:
    return WatchEvent(keys.topic_config_key(an_id(number)), keys.encode_config(values), revision)


def gone(revision: int, key: bytes) -> WatchEvent:
    return WatchEvent(key, b"", revision, deleted=True)


def after(image: MetadataImage, *events: WatchEvent) -> MetadataImage:
    return apply(image, WatchBatch(events[-1].mod_revision, events))


def with_topic(count: int = 2) -> MetadataImage:
    events = [partition_put(5, 1, index) for index in range(count)]
    return after(MetadataImage(), *events, topic_put(5, 1, "a.b", count), config_put(5, 1, x="1"))


def test_a_topic_appears_with_partitions_and_configs_under_name_and_id() -> None:
    image = with_topic()
    topic = image.topics_by_name["a.b"]
    assert image.revision == 5
    assert image.topics_by_id[an_id(1)] is topic
    assert [(p.index, p.leader, p.mod_revision) for p in topic.partitions] == [(0, 1, 5), (1, 1, 5)]
    assert (topic.mod_revision, topic.configs_mod_revision, dict(topic.configs)) == (5, 5, {"x": "1"})
    assert dict(image.topic_names_by_collision_name) == {"a_b": "a.b"}
    assert image.partition("a.b", 1) is topic.partitions[1]
    assert image.partition("a.b", 2) is None
    assert image.partition("no", 0) is None


def test_a_partition_change_leaves_everything_else_as_it_is() -> None:
    before = with_topic()
    image = after(before, partition_put(6, 1, 1, leader=2, epoch=3))
    old, new = before.topics_by_name["a.b"], image.topics_by_name["a.b"]
    assert new.partitions[0] is old.partitions[0]
    assert (new.partitions[1].leader, new.partitions[1].leader_epoch, new.partitions[1].mod_revision) == (2, 3, 6)
    assert new.configs is old.configs
    assert new.mod_revision == 5
    assert before.topics_by_name["a.b"].partitions[1].leader == 1


def test_configs_change_and_vanish() -> None:
    image = after(with_topic(), config_put(6, 1, x="2", y="3"))
    assert dict(image.topics_by_name["a.b"].configs) == {"x": "2", "y": "3"}
    image = after(image, gone(7, keys.topic_config_key(an_id(1))))
    topic = image.topics_by_name["a.b"]
    assert (dict(topic.configs), topic.configs_mod_revision) == ({}, 0)


def test_a_deleted_topic_vanishes_from_every_index() -> None:
    partitions = [gone(6, keys.partition_key(an_id(1), index)) for index in range(2)]
    image = after(with_topic(), gone(6, keys.topic_key("a.b")), *partitions, gone(6, keys.topic_config_key(an_id(1))))
    assert image == replace(MetadataImage(), revision=6)


def test_a_name_deleted_and_made_anew_within_one_batch_is_the_new_topic() -> None:
    image = after(
        with_topic(),
        gone(6, keys.topic_key("a.b")),
        gone(6, keys.partition_key(an_id(1), 0)),
        gone(6, keys.partition_key(an_id(1), 1)),
        partition_put(7, 2, 0),
        topic_put(7, 2, "a_b", 1),
    )
    assert list(image.topics_by_name) == ["a_b"]
    assert list(image.topics_by_id) == [an_id(2)]
    assert dict(image.topic_names_by_collision_name) == {"a_b": "a_b"}


def test_partitions_wait_until_their_topic_counts_them() -> None:
    image = after(with_topic(), partition_put(6, 1, 2), partition_put(6, 9, 0))
    assert len(image.topics_by_name["a.b"].partitions) == 2
    assert {topic_id: set(waiting) for topic_id, waiting in image.staged_partitions.items()} == {
        an_id(1): {2},
        an_id(9): {0},
    }
    image = after(image, topic_put(7, 1, "a.b", 3), gone(7, keys.partition_key(an_id(9), 0)))
    assert len(image.topics_by_name["a.b"].partitions) == 3
    assert not image.staged_partitions


def test_a_topic_without_all_its_partitions_is_damage() -> None:
    with pytest.raises(StoreDamagedError, match="partition 1 is missing"):
        after(MetadataImage(), partition_put(5, 1, 0), topic_put(5, 1, "t", 2))
    with pytest.raises(StoreDamagedError, match="replaced"):
        after(with_topic(), partition_put(6, 2, 0), topic_put(6, 2, "a.b", 1))


def test_brokers_cluster_and_broker_configs() -> None:
    broker = BrokerImage(4, 0, (Endpoint("PLAINTEXT", "h", 1),))
    image = after(
        MetadataImage(),
        WatchEvent(keys.CLUSTER_KEY, keys.encode_cluster("c"), 3),
        WatchEvent(keys.broker_key(4), keys.encode_broker(broker), 3),
        WatchEvent(keys.broker_config_key(-1), keys.encode_config({"k": "v"}), 3),
        WatchEvent(keys.broker_config_key(4), keys.encode_config({"k": "w"}), 3),
        WatchEvent(b"something/else", b"\x00", 3),
    )
    assert image.cluster_id == "c"
    assert image.brokers[4].epoch == 3
    assert {node: dict(values) for node, values in image.broker_configs.items()} == {-1: {"k": "v"}, 4: {"k": "w"}}
    assert dict(image.broker_configs_mod_revision) == {-1: 3, 4: 3}
    image = after(image, gone(4, keys.broker_key(4)), gone(4, keys.broker_config_key(4)))
    assert (dict(image.brokers), list(image.broker_configs)) == ({}, [-1])


class RandomHistory:
    """Changes that a cluster could make, topic by topic, with the store's contents kept beside."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.revision = 0
        self.contents: dict[bytes, KeyValue] = {}
        self.topics: dict[str, tuple[int, int]] = {}
        self.ids = 0

    def step(self) -> list[WatchEvent]:
        self.revision += 1
        events = self.rng.choice([self.create, self.delete, self.grow, self.change, self.configure, self.stage])()
        for event in events:
            if event.deleted:
                self.contents.pop(event.key, None)
            else:
                self.contents[event.key] = KeyValue(event.key, event.value, 0, event.mod_revision)
        return events

    def create(self) -> list[WatchEvent]:
        name = f"t{self.rng.randint(0, 5)}"
        if name in self.topics:
            return []
        self.ids += 1
        count = self.rng.randint(1, 4)
        self.topics[name] = (self.ids, count)
        made = [partition_put(self.revision, self.ids, index) for index in range(count)]
        return [*made, topic_put(self.revision, self.ids, name, count)]

    def delete(self) -> list[WatchEvent]:
        name, number, count = self.pick()
        if not name:
            return []
        del self.topics[name]
        left = self.rng.randint(0, count)  # where commits are limited, the rest goes later
        partitions = [gone(self.revision, keys.partition_key(an_id(number), index)) for index in range(left)]
        key = keys.topic_config_key(an_id(number))
        configs = [gone(self.revision, key)] if key in self.contents else []
        return [gone(self.revision, keys.topic_key(name)), *partitions, *configs]

    def grow(self) -> list[WatchEvent]:
        name, number, count = self.pick()
        if not name:
            return []
        self.topics[name] = (number, count + 1)
        return [partition_put(self.revision, number, count), topic_put(self.revision, number, name, count + 1)]

    def stage(self) -> list[WatchEvent]:
        name, number, count = self.pick()
        return [partition_put(self.revision, number, count + 1)] if name else []

    def change(self) -> list[WatchEvent]:
        name, number, count = self.pick()
        return [partition_put(self.revision, number, self.rng.randrange(count), 2, self.revision)] if name else []

    def configure(self) -> list[WatchEvent]:
        name, number, _ = self.pick()
        return [config_put(self.revision, number, k=str(self.revision))] if name else []

    def pick(self) -> tuple[str, int, int]:
        if not self.topics:
            return "", 0, 0
        name = self.rng.choice(sorted(self.topics))
        return (name, *self.topics[name])


@pytest.mark.parametrize("seed", range(20))
def test_batch_by_batch_gives_what_reading_everything_gives(seed: int) -> None:
    history = RandomHistory(seed)
    image, pending = MetadataImage(), list[WatchEvent]()
    for _ in range(150):
        pending += history.step()
        if history.rng.random() < 0.6:
            image = apply(image, WatchBatch(history.revision, tuple(pending)))
            pending = []
            assert image == build_image(shuffled(history.rng, history.contents.values()), history.revision)


def shuffled(rng: random.Random, items: Iterable[KeyValue]) -> list[KeyValue]:
    mixed = list(items)
    rng.shuffle(mixed)
    return mixed


def test_group_configs_come_and_go_for_any_group_id() -> None:
    odd = "a/b é"
    put = WatchEvent(keys.group_config_key(odd), keys.encode_config({"x": "1"}), 7)
    image = after(with_topic(), put, WatchEvent(keys.group_config_key("g"), keys.encode_config({"y": "2"}), 7))
    assert {group: dict(configs) for group, configs in image.group_configs.items()} == {
        odd: {"x": "1"},
        "g": {"y": "2"},
    }
    assert image.group_configs_mod_revision[odd] == 7
    image = after(image, gone(8, keys.group_config_key(odd)))
    assert set(image.group_configs) == set(image.group_configs_mod_revision) == {"g"}
