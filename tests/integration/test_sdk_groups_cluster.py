"""A group whose coordinator is killed: another broker takes over, the members find it, and nothing is lost."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.support.broker_cluster import broker_cluster
from tests.support.sdk import TIME_LIMIT_S, a_name, nothing_left
from tests.support.sdk_members import (
    CONSUMER,
    EAGER,
    FAST_GROUPS,
    PARTITIONS,
    committed,
    members_end,
    send_numbers,
    shared_by,
    until,
)

from pybroker import Admin

SETTINGS = {**FAST_GROUPS, "broker.session.timeout.ms": "600000", "min.insync.replicas": "2"}


@pytest.mark.parametrize("options", [CONSUMER, EAGER], ids=["consumer", "eager"])
async def test_another_broker_takes_over_a_group_whose_coordinator_is_killed(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    topic, group = a_name("groups"), a_name("group")
    with broker_cluster(tmp_path, 3, SETTINGS) as cluster:
        await asyncio.to_thread(cluster.wait_for_nodes, 1, 2, 3)
        async with nothing_left(), members_end() as member:
            async with Admin(cluster.bootstrap) as admin:
                await admin.create_topic(topic, partitions=PARTITIONS, replication=3)
            members = [member(cluster.bootstrap, group, topic, **options) for _ in range(2)]
            await until(lambda: shared_by(members), members)
            await send_numbers(cluster.bootstrap, topic, range(300))
            await until(lambda: {n for m in members for n in m.seen} == set(range(300)), members)
            async with asyncio.timeout(TIME_LIMIT_S):
                await members[0].consumer.commit()
                before = await committed(cluster.bootstrap, group, topic)
                coordinator = await members[0].consumer._in_group().coordinator._find()
            await asyncio.to_thread(cluster.brokers[coordinator].kill)
            await send_numbers(cluster.bootstrap, topic, range(300, 600))
            await until(lambda: {n for m in members for n in m.seen} == set(range(600)), members)
            await until(lambda: shared_by(members), members)
            # It is found out with the next heartbeat, which may come after all of that.
            found = members[0].consumer._in_group().coordinator
            await until(lambda: found._node not in (None, coordinator), members)
            for each in members:
                await each.leave()
            after = await committed(cluster.bootstrap, group, topic)
            assert after == [100] * PARTITIONS
            assert all(old <= new for old, new in zip(before, after, strict=True))
