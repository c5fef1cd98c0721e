"""A broker whose metadata is kept in an etcd: as with any other store, over restarts of either."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.broker_process import BrokerProcess, free_port
from tests.support.etcd import Etcd
from tests.support.sdk import TIME_LIMIT_S, new_topic, read_all

from pybroker import Producer


@pytest.fixture
def broker(etcd: Etcd, tmp_path: Path) -> Iterator[BrokerProcess]:
    made = BrokerProcess(tmp_path / "data", settings={"metadata.store.url": f"etcd://{etcd.address}/cluster-a"})
    made.start()
    yield made
    made.close()


async def send(broker: BrokerProcess, topic: str, *values: bytes) -> None:
    async with asyncio.timeout(TIME_LIMIT_S), Producer(broker.bootstrap) as producer:
        for value in values:
            await producer.send(topic, value)


async def values_of(broker: BrokerProcess, topic: str) -> list[bytes]:
    found = await read_all(broker.bootstrap, topic)
    return [record.value for partition in sorted(found) for record in found[partition]]


async def test_topics_and_records_outlive_restarts_of_the_broker(etcd: Etcd, broker: BrokerProcess) -> None:
    topic = await new_topic(broker.bootstrap)
    await send(broker, topic, b"1", b"2")
    assert await values_of(broker, topic) == [b"1", b"2"]
    assert f"/cluster-a/data/topic/{topic}".encode() in etcd.all_keys()
    broker.restart()
    await send(broker, topic, b"3")
    assert await values_of(broker, topic) == [b"1", b"2", b"3"]
    broker.kill()
    broker.start()
    assert await values_of(broker, topic) == [b"1", b"2", b"3"]
    broker.stop()


async def test_records_flow_while_etcd_is_away_and_changes_follow_when_it_is_back(
    etcd: Etcd, broker: BrokerProcess
) -> None:
    topic = await new_topic(broker.bootstrap)
    await send(broker, topic, b"before")
    etcd.kill()
    await send(broker, topic, b"while")
    assert await values_of(broker, topic) == [b"before", b"while"]
    assert broker.is_alive
    etcd.start()
    second = await new_topic(broker.bootstrap)
    await send(broker, second, b"after")
    assert await values_of(broker, second) == [b"after"]
    broker.stop()


async def test_a_broker_without_its_etcd_does_not_start_and_says_why(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    broker = BrokerProcess(tmp_path / "data", settings={"metadata.store.url": f"etcd://{address}"})
    broker.launch()
    assert broker.wait() != 0
    assert f"etcd does not answer (http://{address}: Connection refused)" in " ".join(broker.log().split())
    assert "Traceback" not in broker.log()


async def test_a_password_in_the_url_is_refused_and_not_shown(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path / "data", settings={"metadata.store.url": "etcd://user:geheim@localhost"})
    broker.launch()
    assert broker.wait() != 0
    assert "a password may not stand in the URL" in " ".join(broker.log().split())
    assert "geheim" not in broker.log()
