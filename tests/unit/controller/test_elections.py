"""Elections: who may lead, what is remembered of those that died, and that no acknowledged record is ever lost."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybroker_server.config.views import broker_config
from pybroker_server.controller.elections import (
    Election,
    TopicRules,
    advanced,
    needs_settling,
    settled,
    topic_rules,
    with_isr,
)
from pybroker_server.metadata.image import NO_LEADER, PartitionImage, TopicImage

RULES = TopicRules(min_isr=1, allows_unclean=False, is_durable=True)
TWO = replace(RULES, min_isr=2)
UNCLEAN = replace(RULES, allows_unclean=True)


def partition(
    isr: tuple[int, ...] = (1, 2, 3), leader: int = 1, *, elr: tuple[int, ...] = (), last: tuple[int, ...] = ()
) -> PartitionImage:
    return PartitionImage(
        0,
        (1, 2, 3),
        isr,
        leader,
        4,
        9,
        eligible_leader_replicas=elr,
        last_known_eligible_leader_replicas=last,
    )


def facts(of: PartitionImage) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
    return of.leader, of.isr, of.eligible_leader_replicas


def test_nothing_changes_while_all_are_there() -> None:
    before = partition()
    assert settled(before, {1, 2, 3}, RULES) is before
    assert not needs_settling(before, {1, 2, 3})


def test_a_follower_that_died_leaves_the_isr_and_the_leader_epoch_stays() -> None:
    after = settled(partition(), {1, 2}, RULES)
    assert facts(after) == (1, (1, 2), ())
    assert (after.leader_epoch, after.partition_epoch) == (4, 10)


def test_the_next_replica_in_sync_leads_in_a_new_epoch() -> None:
    after = settled(partition(), {2, 3}, RULES)
    assert facts(after) == (2, (2, 3), ())
    assert (after.leader_epoch, after.partition_epoch) == (5, 10)


def test_a_replica_out_of_sync_does_not_lead_however_lonely() -> None:
    after = settled(partition(isr=(1, 2)), {3}, RULES)
    assert after.leader == NO_LEADER
    assert after.leader_epoch == 5


def test_the_last_one_standing_is_remembered_and_leads_again() -> None:
    dead = settled(partition(isr=(2,), leader=2), {1, 3}, RULES)
    assert facts(dead) == (NO_LEADER, (), (2,))
    back = settled(dead, {1, 2, 3}, RULES)
    assert facts(back) == (2, (2,), ())


def test_below_the_minimum_those_that_left_stay_eligible_until_it_is_reached_again() -> None:
    one = settled(partition(isr=(1, 2), leader=1), {1}, TWO)
    assert facts(one) == (1, (1,), (2,))
    none = settled(one, set(), TWO)
    assert facts(none) == (NO_LEADER, (), (1, 2))
    second = settled(none, {2}, TWO)
    assert facts(second) == (2, (2,), (1,))
    assert facts(with_isr(second, (2, 3), TWO)) == (2, (2, 3), ())


def test_who_lost_its_log_is_eligible_nowhere() -> None:
    after = settled(partition(isr=(1,), leader=1), {1, 2, 3}, RULES, lost={1})
    assert facts(after) == (NO_LEADER, (), ())


def test_a_last_known_leader_leads_when_it_is_the_only_one() -> None:
    after = settled(partition((), NO_LEADER, last=(3,)), {1, 2, 3}, RULES)
    assert facts(after) == (3, (3,), ())
    assert after.last_known_eligible_leader_replicas == ()
    assert settled(partition((), NO_LEADER, last=(2, 3)), {1, 2, 3}, RULES).leader == NO_LEADER


def test_unclean_elections_need_the_topics_or_the_operators_word() -> None:
    before = partition(isr=(1,), leader=1)
    assert settled(before, {3}, RULES).leader == NO_LEADER
    assert facts(settled(before, {3}, UNCLEAN)) == (3, (3,), ())
    assert facts(settled(before, {3}, RULES, election=Election.UNCLEAN)) == (3, (3,), ())
    assert settled(before, {1, 3}, UNCLEAN) is before, "not while a clean leader is there"


def test_the_preferred_replica_takes_over_only_when_it_is_in_sync() -> None:
    before = partition(isr=(1, 2), leader=2)
    assert settled(before, {1, 2}, RULES) is before
    assert settled(before, {1, 2}, RULES, election=Election.PREFERRED).leader == 1
    outside = partition(isr=(2,), leader=2)
    assert settled(outside, {1, 2}, RULES, election=Election.PREFERRED) is outside


def test_a_leader_that_leaves_is_followed_or_goes_on_alone() -> None:
    followed = settled(partition(), {2, 3}, RULES, leaving={1})
    assert facts(followed) == (2, (2, 3), ())
    alone = partition(isr=(1,), leader=1)
    assert settled(alone, {2, 3}, RULES, leaving={1}) is alone


def test_rules_come_from_the_topic_then_from_the_broker() -> None:
    config = broker_config({"min.insync.replicas": "2", "durability": "page-cache"})
    topic = TopicImage(UUID(int=1), "t", ())
    assert topic_rules(topic, config) == TopicRules(2, allows_unclean=False, is_durable=False)
    own = {"min.insync.replicas": "3", "unclean.leader.election.enable": "true", "durability": "fsync"}
    assert topic_rules(replace(topic, configs=own), config) == TopicRules(3, allows_unclean=True, is_durable=True)


class Model:
    """A partition whose replicas hold so many committed records; what is committed must never be out of reach."""

    def __init__(self, min_isr: int) -> None:
        self.rules = replace(RULES, min_isr=min_isr)
        self.partition = partition()
        self.alive = {1, 2, 3}
        self.committed = 0
        self.held = {1: 0, 2: 0, 3: 0}

    def commit(self) -> None:
        """Only with all of a large enough ISR, as the high watermark does."""
        now = self.partition
        if now.leader in self.alive and set(now.isr) <= self.alive and len(now.isr) >= self.rules.min_isr:
            self.committed += 1
            for node in now.isr:
                self.held[node] = self.committed

    def settle(self) -> None:
        self.partition = settled(self.partition, frozenset(self.alive), self.rules)

    def catch_up(self, node: int) -> None:
        now = self.partition
        if now.leader in self.alive and node in self.alive and node not in now.isr:
            self.held[node] = self.held[now.leader]
            self.partition = advanced(now, with_isr(now, (*now.isr, node), self.rules))

    def check(self) -> None:
        now = self.partition
        for node in (*now.isr, *now.eligible_leader_replicas):
            assert self.held[node] == self.committed, f"{node} counts and lacks records: {now}"
        assert now.leader == NO_LEADER or now.leader in now.isr
        assert now.isr or now.eligible_leader_replicas, "nobody is left who holds everything"
        assert not set(now.isr) & set(now.eligible_leader_replicas)


STEPS = st.tuples(st.sampled_from(["commit", "die", "return", "settle", "catch_up"]), st.sampled_from([1, 2, 3]))


@pytest.mark.parametrize("min_isr", [1, 2, 3])
@given(steps=st.lists(STEPS, max_size=40))
@settings(max_examples=150, deadline=None)
def test_whoever_may_lead_holds_all_that_was_committed(min_isr: int, steps: list[tuple[str, int]]) -> None:
    model = Model(min_isr)
    for what, node in steps:
        before = model.partition
        if what == "commit":
            model.commit()
        elif what == "die":
            model.alive.discard(node)
        elif what == "return":
            model.alive.add(node)
        elif what == "settle":
            model.settle()
        else:
            model.catch_up(node)
        model.check()
        assert model.partition.leader_epoch - before.leader_epoch == (model.partition.leader != before.leader)
    model.alive = {1, 2, 3}
    model.settle()
    assert model.partition.leader != NO_LEADER, "all are there, so one must lead"
