"""Several brokers as users run them: a process each, with its own port and data, over one metadata store."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ClusterMetadata, PartitionMetadata
from tests.support.broker_process import BrokerProcess

WAIT_S = 60
ASK_S = 10
T = TypeVar("T")


class BrokerCluster:
    """Brokers by node id, from 1 on."""

    def __init__(self, directory: Path, store_url: str, settings: Mapping[str, str] | None = None) -> None:
        self.store_url = store_url
        self._directory = directory
        self._settings = {"metadata.store.url": store_url, **(settings or {})}
        self.brokers: dict[int, BrokerProcess] = {}

    def add(self, node_id: int, settings: Mapping[str, str] | None = None, **how: Any) -> BrokerProcess:
        """One that is not started yet; `how` it is run is told to `BrokerProcess`."""
        given = {**self._settings, "node.id": str(node_id), **(settings or {})}
        broker = self.brokers[node_id] = BrokerProcess(self._directory / f"broker-{node_id}", settings=given, **how)
        return broker

    def start(self, count: int) -> None:
        for node_id in range(1, count + 1):
            self.add(node_id).launch()
        for broker in self.brokers.values():
            broker.wait_until_ready()

    @property
    def bootstrap(self) -> str:
        return ",".join(broker.bootstrap for broker in self.brokers.values())

    def admin(self, node_id: int | None = None) -> AdminClient:
        """An admin client of the whole cluster, or one that begins at one broker."""
        at = self.bootstrap if node_id is None else self.brokers[node_id].bootstrap
        return AdminClient({"bootstrap.servers": at, "log_level": 0})

    def metadata(self, topic: str | None = None, *, node_id: int | None = None) -> ClusterMetadata:
        return self.admin(node_id).list_topics(topic, timeout=ASK_S)

    def partitions(self, topic: str, *, node_id: int | None = None) -> list[PartitionMetadata]:
        """By index, as one broker (or any) tells them."""
        found = self.metadata(topic, node_id=node_id).topics[topic].partitions
        return [found[index] for index in sorted(found)]

    def wait_for_nodes(self, *node_ids: int) -> None:
        """Until every one of them tells of exactly these brokers."""
        for teller in node_ids:
            wait_until(lambda teller=teller: sorted(self.metadata(node_id=teller).brokers) == sorted(node_ids))

    def close(self) -> None:
        for broker in self.brokers.values():
            broker.close()


def wait_until(check: Callable[[], T]) -> T:
    """Asks again and again until the answer is true; it must be within WAIT_S."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            if answer := check():
                return answer
        except KafkaException as error:
            # The broker that was asked is the one that has just been killed.
            if time.monotonic() > deadline:
                raise AssertionError("waited in vain") from error
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@contextlib.contextmanager
def broker_cluster(directory: Path, count: int, settings: Mapping[str, str] | None = None) -> Iterator[BrokerCluster]:
    """`count` brokers on this host that share a SQLite store, started."""
    cluster = BrokerCluster(directory, f"sqlite:///{directory}/store.db?shared=true", settings)
    try:
        cluster.start(count)
        yield cluster
    finally:
        cluster.close()
