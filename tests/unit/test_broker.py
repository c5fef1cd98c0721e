"""One broker in this process: what a start refuses and why, and what a stop leaves behind."""

import asyncio
import json
import socket
from pathlib import Path

import pytest
from tests.support.embedded_broker import broker_in
from tests.support.network import RawClient

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.messages import MetadataRequest
from pybroker_server.broker import StartError
from pybroker_server.log.checkpoints import CLEAN_SHUTDOWN, META_PROPERTIES, MetaProperties
from pybroker_server.metadata.seen_revision import FILE_NAME


async def life(path: Path, *, clean: bool = True, **settings: str) -> MetaProperties:
    """A broker that is started and stopped; whose data it is then."""
    async with broker_in(path, **settings) as broker:
        await broker.start()
        if clean:
            await broker.stop(clean=True)
    return MetaProperties.from_bytes((path / META_PROPERTIES).read_bytes())


async def refused(path: Path, **settings: str) -> StartError:
    async with broker_in(path, **settings) as broker:
        with pytest.raises(StartError) as caught:
            await broker.start()
    return caught.value


async def test_it_serves_on_the_port_that_it_says(tmp_path: Path) -> None:
    async with broker_in(tmp_path) as broker:
        await broker.start()
        [bound] = broker.bound
        assert bound.port > 0
        client = RawClient(*await asyncio.open_connection(bound.host, bound.port))
        answer = await client.request(ApiKey.METADATA, 12, MetadataRequest(topics=[]))
        assert [(node.node_id, node.port) for node in answer.brokers] == [(broker.node_id, bound.port)]
        await client.close()
        await broker.stop(clean=True)
        with pytest.raises(OSError):
            await asyncio.open_connection(bound.host, bound.port)


async def test_brokers_over_one_store_reach_each_other_and_clients_are_not_told_how(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/metadata.db?shared=true"
    async with broker_in(tmp_path / "a", metadata_store_url=store, node_id="1") as first:
        await first.start()
        assert [bound.name for bound in first.bound] == ["PLAINTEXT", "REPLICATION"]
        async with broker_in(tmp_path / "b", metadata_store_url=store, node_id="2") as second:
            await second.start()
            assert second.peers is not None
            answer = await second.peers.request(1, MetadataRequest(topics=[]))
            ports = {bound.name: bound.port for bound in first.bound}
            assert {node.node_id: node.port for node in answer.brokers}[1] == ports["REPLICATION"]
        client = RawClient(*await asyncio.open_connection("127.0.0.1", ports["PLAINTEXT"]))
        answer = await client.request(ApiKey.METADATA, 12, MetadataRequest(topics=[]))
        assert {node.node_id: node.port for node in answer.brokers}[1] == ports["PLAINTEXT"]
        await client.close()


async def test_a_clean_end_is_marked_and_any_other_is_not(tmp_path: Path) -> None:
    first = await life(tmp_path)
    mark = tmp_path / CLEAN_SHUTDOWN
    epoch = json.loads(mark.read_bytes())["brokerEpoch"]
    assert int((tmp_path / FILE_NAME).read_text()) > 0
    assert await life(tmp_path, clean=False) == first, "cluster, node and directory stay what they are"
    assert not mark.exists()
    await life(tmp_path)
    assert json.loads(mark.read_bytes())["brokerEpoch"] > epoch


async def test_the_node_id_is_kept_and_another_is_refused_with_a_way_out(tmp_path: Path) -> None:
    assert (await life(tmp_path, node_id="5")).node_id == 5
    assert (await life(tmp_path)).node_id == 5
    error = await refused(tmp_path, node_id="6")
    assert "belongs to node 5" in str(error)
    assert error.hint is not None
    assert "--node-id 5" in error.hint


async def test_a_port_in_use_is_said_before_anything_is_touched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        error = await refused(tmp_path / "data", listeners=f"PLAINTEXT://127.0.0.1:{taken.getsockname()[1]}")
    assert "cannot listen on" in str(error)
    assert error.hint is not None
    assert not (tmp_path / "data").exists()


async def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    async with broker_in(tmp_path) as broker:
        await broker.start()
        error = await refused(tmp_path)
        assert "in use by another broker" in str(error)


async def test_a_metadata_store_that_went_back_is_refused(tmp_path: Path) -> None:
    """With it, topics made since would be deleted from this broker's disk."""
    await life(tmp_path)
    (tmp_path / FILE_NAME).write_text("1000000\n")
    error = await refused(tmp_path)
    assert error.hint is not None
    assert "older copy" in error.hint


async def test_a_store_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    error = await refused(tmp_path, metadata_store_url="carrier-pigeon://coop")
    assert "carrier-pigeon" in str(error)


async def test_an_identity_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / META_PROPERTIES).write_bytes(b"version=9\n")
    assert META_PROPERTIES in str(await refused(tmp_path))


async def test_a_partition_that_lies_in_two_directories_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "t-0").mkdir(parents=True)
    error = await refused(tmp_path / "a", log_dirs=f"{tmp_path / 'a'},{tmp_path / 'b'}")
    assert "t-0 lies in" in str(error)


async def test_stopping_what_never_started_is_no_error(tmp_path: Path) -> None:
    async with broker_in(tmp_path) as broker:
        await broker.stop(clean=True)
    assert not (tmp_path / CLEAN_SHUTDOWN).exists()
