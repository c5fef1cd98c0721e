"""What admin handlers need, over a cluster in memory: requests go through encoder and decoder at a given
version."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, cast

from tests.support.cluster import Cluster, a_cluster

from pybroker_protocol.codec import decode, encode
from pybroker_server.controller.departures import Departures
from pybroker_server.controller.producer_ids import ProducerIdAllocator
from pybroker_server.handlers.registry import Handler, load_all
from pybroker_server.handlers.request import ConnectionInfo, Pending, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.metadata.image import PartitionImage


@dataclass
class AdminBroker:
    """Broker 1 of a cluster, as a client on its PLAINTEXT listener meets it."""

    cluster: Cluster
    services: Services
    table: dict[int, Handler]

    async def ask(self, version: int, request: Any) -> Any:
        """The response as a client reads it."""
        key = type(request).schema.key
        context = RequestContext(
            api_key=key,
            api_version=version,
            correlation_id=1,
            client_id="test",
            connection=ConnectionInfo(1, "PLAINTEXT", "127.0.0.1", 9001, "127.0.0.1", 50000),
            received_us=0,
            now_ms=0,
            wall_ms=0,
        )
        handler = self.table[key]
        assert handler.min_version <= version <= handler.max_version
        reply = handler.function(self.services, context, self._over_the_wire(request, version))
        if inspect.isawaitable(reply):
            reply = await reply
        if isinstance(reply, Pending):
            given: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            reply.attach(given.set_result)
            reply = await given
        return self._over_the_wire(reply, version)

    def _over_the_wire(self, message: Any, version: int) -> Any:
        wire = b"".join(bytes(part) for part in encode(message, version))
        decoded, end = decode(type(message), version, memoryview(wire))
        assert end == len(wire)
        return decoded


class LeasedReplicas:
    """What metadata asks the replica manager of broker 1; the lease is in the test's hand."""

    def __init__(self) -> None:
        self.lease_is_over = False

    def check_lease(self, now_ms: int) -> None:
        """The lease ends when the test says so."""

    def may_have_lost(self, partition: PartitionImage) -> bool:
        return self.lease_is_over and partition.leader == 1 and len(partition.replicas) > 1


@asynccontextmanager
async def an_admin_broker(
    settings: Mapping[str, str] | None = None, *, brokers: tuple[int, ...] = (1,)
) -> AsyncIterator[AdminBroker]:
    async with a_cluster({"node.id": "1", **(settings or {})}) as cluster:
        cluster_id = await cluster.controller.ensure_cluster(known_id=None, wanted_id="test-cluster")
        await cluster.add_brokers(*brokers)
        services = Services(
            config=cluster.config,
            node_id=1,
            cluster_id=cluster_id,
            metadata=cluster.publisher,
            controller=cluster.controller,
            replicas=cast(Any, LeasedReplicas()),
            logs=cast(Any, None),
            groups=cast(Any, None),
            markers=cast(Any, None),
            transactions=cast(Any, None),
            transaction_gate=cast(Any, None),
            producer_ids=ProducerIdAllocator(cluster.controller.allocate_producer_ids, cluster.runtime.tasks.spawn),
            peers=cast(Any, None),
            departures=Departures(cluster.publisher, cluster.runtime, listed_ms=9_000),
            fetch_sessions=cast(Any, None),
            runtime=cluster.runtime,
            endpoint_of=lambda broker, connection: broker.endpoint(connection.listener),
            api_table={},
        )
        yield AdminBroker(cluster, services, load_all())
