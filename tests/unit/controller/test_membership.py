"""A broker's registration: renewed, lost, taken; and that it stops leading before anybody else can begin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from uuid import UUID

import pytest
from tests.support.cluster import Cluster, a_broker, a_cluster
from tests.support.manual_time import ManualTime

from pybroker_server.controller.membership import Membership, NodeIdTakenError, handed_over_later
from pybroker_server.controller.topics import NewTopic
from pybroker_server.metadata.memory import MemoryStore
from pybroker_server.metadata.store import StoreError

SESSION_MS = 9_000
HEARTBEAT_MS = 2_000
ME = replace(a_broker(1), directory_ids=(UUID(int=1),))


class Store(MemoryStore):
    """Over the cluster's time, and away when the test says so."""

    def __init__(self, time: ManualTime) -> None:
        super().__init__(time, time)
        self.is_away = False
        self.renewals = 0

    async def keep_alive(self, lease_id: int) -> int:
        self.renewals += 1
        if self.is_away:
            raise StoreError("away")
        return await super().keep_alive(lease_id)

    async def grant_lease(self, ttl_ms: int) -> int:
        if self.is_away:
            raise StoreError("away")
        return await super().grant_lease(ttl_ms)


@dataclass
class Member:
    cluster: Cluster
    membership: Membership
    store: Store
    time: ManualTime
    said: list[str] = field(default_factory=list)

    async def pass_ms(self, delay_ms: int, *, step_ms: int = 100) -> None:
        """Lets time pass, a little at a time, with everything that it brings."""
        for _ in range(delay_ms // step_ms):
            self.time.advance_ms(step_ms)
            await settle()

    @property
    def is_registered(self) -> bool:
        return bool(self.cluster.image.brokers[1].mod_revision)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def a_membership(cluster: Cluster) -> Membership:
    return Membership(
        cluster.store,
        cluster.publisher,
        cluster.controller,
        cluster.runtime,
        session_ms=SESSION_MS,
        heartbeat_ms=HEARTBEAT_MS,
    )


@asynccontextmanager
async def a_member() -> AsyncIterator[Member]:
    time = ManualTime()
    store = Store(time)
    async with a_cluster(store=store, time=time) as cluster:
        member = Member(cluster, a_membership(cluster), store, time)
        await member.membership.claim(ME)
        await member.membership.join(ME)
        member.membership.on_fenced = lambda: member.said.append("fenced")
        member.membership.on_unfenced = lambda: member.said.append("unfenced")
        yield member


async def test_it_stays_registered_for_as_long_as_it_renews() -> None:
    async with a_member() as member:
        epoch = member.membership.epoch
        await member.pass_ms(60_000)
        assert member.is_registered
        assert member.membership.epoch == epoch
        assert member.said == []
        assert member.store.renewals >= 25


async def test_it_stops_leading_before_its_lease_can_have_ended() -> None:
    async with a_member() as member:
        member.store.is_away = True
        while not member.said:
            await member.pass_ms(100)
            assert member.is_registered, "the lease ended while this broker still led"
        assert member.said == ["fenced"]
        assert member.membership.is_fenced
        await member.pass_ms(2_000)
        assert not member.is_registered


async def test_a_lease_that_was_renewed_in_time_after_all_is_gone_on_with() -> None:
    async with a_member() as member:
        epoch = member.membership.epoch
        member.store.is_away = True
        while not member.said:
            await member.pass_ms(100)
        member.store.is_away = False
        await member.pass_ms(500)
        assert member.said == ["fenced", "unfenced"]
        assert member.membership.epoch == epoch


async def test_it_registers_anew_under_a_new_epoch_when_the_lease_ended() -> None:
    async with a_member() as member:
        epoch = member.membership.epoch
        member.store.is_away = True
        await member.pass_ms(12_000)
        member.store.is_away = False
        await member.pass_ms(1_000)
        assert member.said == ["fenced", "unfenced"]
        assert member.is_registered
        assert member.membership.epoch == member.cluster.image.brokers[1].epoch > epoch


async def test_it_registers_anew_at_once_when_somebody_ended_its_registration() -> None:
    async with a_member() as member:
        epoch = member.membership.epoch
        await member.cluster.controller.fence_broker(1, epoch)
        await settle()
        assert member.said == ["fenced", "unfenced"]
        assert member.membership.epoch > epoch


async def test_a_registration_of_an_earlier_process_over_the_same_disks_is_replaced_at_once() -> None:
    async with a_member() as member:
        epoch = member.membership.epoch
        async with a_cluster(store=member.store, time=member.time) as other:
            second = a_membership(other)
            await second.claim(ME)
            assert not other.image.brokers[1].mod_revision, "others lead while this one still recovers its logs"
            assert other.image.brokers[1].epoch == epoch


async def test_a_node_id_that_another_broker_uses_is_refused() -> None:
    async with a_member() as member, a_cluster(store=member.store, time=member.time) as other:
        second = a_membership(other)
        claim = asyncio.ensure_future(second.claim(replace(ME, directory_ids=(UUID(int=2),))))
        await member.pass_ms(SESSION_MS + 2 * HEARTBEAT_MS)
        with pytest.raises(NodeIdTakenError, match=r"runs as node 1, at 127\.0\.0\.1:9001"):
            await claim


async def test_a_wiped_broker_waits_for_the_lease_of_its_last_life_and_joins() -> None:
    async with a_member() as member:
        member.store.is_away = True
        async with a_cluster(store=member.store, time=member.time) as other:
            second = a_membership(other)
            claim = asyncio.ensure_future(second.claim(replace(ME, directory_ids=(UUID(int=2),))))
            await member.pass_ms(5_000)
            assert not claim.done()
            await member.pass_ms(5_000)
            await claim


async def test_leaving_waits_until_others_lead_what_they_can() -> None:
    async with a_member() as member:
        await member.cluster.add_brokers(2)
        wanted = [NewTopic("both", assignments=[(0, [1, 2])]), NewTopic("mine", assignments=[(0, [1])])]
        await member.cluster.controller.create_topics(wanted, member.cluster.config)
        leaving = asyncio.ensure_future(member.membership.leave(patience_ms=3_000))
        await member.pass_ms(1_000)
        assert member.cluster.image.brokers[1].shutting_down
        assert handed_over_later(member.cluster.image, 1) == 1
        assert not leaving.done()
        await member.pass_ms(3_000)
        await leaving
        assert member.said == []
        await member.membership.depart()
        assert member.cluster.image.brokers[1].fenced


async def test_the_time_for_which_it_may_lead_is_told_with_every_renewal() -> None:
    async with a_member() as member:
        told: list[int] = []
        member.membership.on_extended = told.append
        assert member.membership.usable_until_ms == member.time.monotonic_ms() + SESSION_MS * 9 // 10
        await member.pass_ms(5_000)
        assert len(told) >= 2
        assert told == sorted(set(told))
        assert told[-1] > member.time.monotonic_ms()
        member.membership.on_lease_over()
        assert member.said == ["fenced"]
        await member.pass_ms(HEARTBEAT_MS)
        assert member.said == ["fenced", "unfenced"]
