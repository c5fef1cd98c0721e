"""Metadata parts joined together as a broker joins them, over a store in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.support.manual_time import ManualTime
from tests.support.runtimes import manual_runtime

from pybroker_server.config.views import BrokerConfig, broker_config
from pybroker_server.controller.controller import Controller
from pybroker_server.metadata.image import BrokerImage, Endpoint, MetadataImage
from pybroker_server.metadata.memory import MemoryStore
from pybroker_server.metadata.publisher import MetadataPublisher
from pybroker_server.metadata.store import MetadataStore
from pybroker_server.runtime.runtime import Runtime


@dataclass
class Cluster:
    """One broker's view: its controller and what it published."""

    store: MetadataStore
    publisher: MetadataPublisher
    controller: Controller
    config: BrokerConfig
    runtime: Runtime

    @property
    def image(self) -> MetadataImage:
        return self.publisher.image

    async def add_brokers(self, *node_ids: int, rack: str | None = None, host_id: str = "") -> None:
        for node_id in node_ids:
            broker = a_broker(node_id, rack=rack, host_id=host_id)
            await self.controller.register_broker(broker)


def a_broker(
    node_id: int, *, rack: str | None = None, host_id: str = "", fenced: bool = False, shutting_down: bool = False
) -> BrokerImage:
    return BrokerImage(
        node_id=node_id,
        epoch=0,
        endpoints=(Endpoint("PLAINTEXT", "127.0.0.1", 9000 + node_id),),
        rack=rack,
        host_id=host_id,
        fenced=fenced,
        shutting_down=shutting_down,
    )


@asynccontextmanager
async def a_cluster(
    settings: Mapping[str, str] | None = None, *, store: MetadataStore | None = None, time: ManualTime | None = None
) -> AsyncIterator[Cluster]:
    """A started publisher and a controller; no broker is registered yet."""
    time = time or ManualTime()
    async with manual_runtime(time) as runtime:
        store = store or MemoryStore(time, time)
        publisher = MetadataPublisher(store, runtime.timers)
        await publisher.start(runtime.tasks)
        controller = Controller(store, publisher, runtime)
        yield Cluster(store, publisher, controller, broker_config(settings), runtime)
