"""Members of a consumer group are moved to their assignment without a partition ever having two owners.

The clients here are models: they own what they were last told, and drop what they lose before they say so. Answers get
lost, the coordinator moves, topics grow and members come and go, in every order that hypothesis can think of.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.support.group_desk import GroupDesk
from tests.support.one_broker import topic_id_of

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import ConsumerGroupHeartbeatRequest

Partition = tuple[UUID, int]
_Owned = ConsumerGroupHeartbeatRequest.TopicPartitions


class Client:
    """A member as the protocol wants it; `owned` is what it reads right now."""

    def __init__(self, name: str, topics: list[str]) -> None:
        self.name = name
        self.topics = topics
        self.epoch = 0
        self.owned: set[Partition] = set()

    def beat(self, desk: GroupDesk, *, is_lost: bool = False) -> None:
        owned: dict[UUID, list[int]] = {}
        for topic_id, index in self.owned:
            owned.setdefault(topic_id, []).append(index)
        answer = desk.beat(
            self.name,
            self.epoch,
            rebalance_timeout_ms=60_000,
            subscribed_topic_names=self.topics,
            topic_partitions=[_Owned(topic_id=each, partitions=indexes) for each, indexes in owned.items()],
        )
        if not is_lost:
            self.take(answer)

    def take(self, answer: Any) -> None:
        if isinstance(answer, KafkaError):
            assert answer.code in (ErrorCode.FENCED_MEMBER_EPOCH, ErrorCode.UNKNOWN_MEMBER_ID), answer
            self.epoch, self.owned = 0, set()
            return
        self.epoch = answer.member_epoch
        if answer.assignment is not None:
            topics = answer.assignment.topic_partitions
            self.owned = {(topic.topic_id, index) for topic in topics for index in topic.partitions}


NAMES = st.sampled_from(["a", "b", "c", "d"])
SUBSCRIPTIONS = st.sampled_from([["t"], ["t", "u"], ["u"]])


class Reconciliation(RuleBasedStateMachine):
    @initialize(assignor=st.sampled_from(["uniform", "range"]))
    def begin(self, assignor: str) -> None:
        self.desk = GroupDesk({"group.consumer.assignors": assignor})
        self.counts = {"t": 3, "u": 2}
        self.desk.show_topics(**self.counts)
        self.clients: dict[str, Client] = {}

    @rule(name=NAMES, topics=SUBSCRIPTIONS)
    def join(self, name: str, topics: list[str]) -> None:
        if name not in self.clients:
            self.clients[name] = Client(name, topics)

    @rule(name=NAMES, is_lost=st.booleans())
    def beat(self, name: str, is_lost: bool) -> None:
        if name in self.clients:
            self.clients[name].beat(self.desk, is_lost=is_lost)

    @rule(name=NAMES, topics=SUBSCRIPTIONS)
    def subscribe(self, name: str, topics: list[str]) -> None:
        if name in self.clients:
            self.clients[name].topics = topics

    @rule(name=NAMES)
    def leave(self, name: str) -> None:
        if self.clients.pop(name, None) is not None:
            self.desk.beat(name, -1)  # also of one whose first answer was lost: it cannot know

    @rule(name=NAMES)
    def crash(self, name: str) -> None:
        """And comes back as if nothing had been, before its session ends."""
        if name in self.clients:
            self.clients[name] = Client(name, self.clients[name].topics)

    @rule(topic=st.sampled_from(["t", "u"]))
    def grow(self, topic: str) -> None:
        if self.counts[topic] < 6:
            self.counts[topic] += 1
            self.desk.show_topics(**self.counts)

    @rule(delay_ms=st.sampled_from([1, 500, 1_500]))
    def wait(self, delay_ms: int) -> None:
        self.desk.advance(delay_ms)

    @rule()
    def move_coordinator(self) -> None:
        self.desk.restart()

    @invariant()
    def nobody_shares_a_partition(self) -> None:
        owned = [each for client in getattr(self, "clients", {}).values() for each in client.owned]
        assert len(owned) == len(set(owned))

    def teardown(self) -> None:
        """Left alone, the group settles: every partition that somebody wants has an owner who wants it."""
        if not getattr(self, "clients", None):
            return
        for _ in range(12):
            self.desk.advance(1_100)
            for client in self.clients.values():
                client.beat(self.desk)
        self.nobody_shares_a_partition()
        wanted = {topic for client in self.clients.values() for topic in client.topics}
        everything = {(topic_id_of(topic), index) for topic in wanted for index in range(self.counts[topic])}
        assert set().union(*(client.owned for client in self.clients.values())) == everything
        for client in self.clients.values():
            assert {topic_id for topic_id, _ in client.owned} <= {topic_id_of(topic) for topic in client.topics}
        members = set(self.desk.group.members)
        if members == set(self.clients):
            assert self.desk.group.state_name == "Stable"


TestReconciliation = Reconciliation.TestCase
TestReconciliation.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
