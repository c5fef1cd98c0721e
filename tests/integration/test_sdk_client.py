"""The SDK's client among brokers of which one hangs: it accepts connections and says nothing."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from tests.support.broker_cluster import broker_cluster
from tests.support.sdk import TIME_LIMIT_S, nothing_left

from pybroker import Client
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.messages import DescribeClusterRequest


async def test_a_bootstrap_server_that_hangs_does_not_keep_a_client_from_the_others(bootstrap: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        hanging = f"127.0.0.1:{silent.getsockname()[1]}"
        async with nothing_left(), Client(f"{hanging},{hanging},{bootstrap}") as client:
            assert client.cluster.brokers


async def test_a_broker_that_hangs_is_not_asked_for_metadata_while_another_answers(tmp_path: Path) -> None:
    with broker_cluster(tmp_path, 2, {"broker.session.timeout.ms": "600000"}) as cluster:
        await asyncio.to_thread(cluster.wait_for_nodes, 1, 2)
        async with nothing_left(), Client(cluster.bootstrap) as client:
            for node in (1, 2):
                await client.ask_node(node, ApiKey.DESCRIBE_CLUSTER, DescribeClusterRequest())
            cluster.brokers[1].suspend()
            question = asyncio.ensure_future(client.ask_node(1, ApiKey.DESCRIBE_CLUSTER, DescribeClusterRequest()))
            try:
                await asyncio.sleep(0)
                async with asyncio.timeout(TIME_LIMIT_S):
                    for _ in range(20):
                        await client.refresh()
                assert not question.done()
            finally:
                cluster.brokers[1].resume()
            await question
