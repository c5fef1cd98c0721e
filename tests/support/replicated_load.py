"""Three brokers under an acknowledged load, and what must be true of them when the faults are over."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from confluent_kafka.admin import NewTopic
from tests.support.acked_load import AckedLoad, check, read_back
from tests.support.broker_cluster import BrokerCluster, wait_until
from tests.support.etcd import Etcd

from pybroker import Admin

TOPIC = "acked"
PARTITIONS = 3
SETTINGS = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "300"}
PROGRESS_S = 60
"""Within this the producer must get on after a fault; usually it is well below a second."""
TOPIC_CONFIG = {"min.insync.replicas": "2", "segment.bytes": "1048576", "index.interval.bytes": "1024"}


class ReplicatedLoad:
    """`cluster` and the `load` on it. `gaps_s`: how long nothing was acknowledged after each fault."""

    def __init__(self, cluster: BrokerCluster, load: AckedLoad, chance: random.Random) -> None:
        self.cluster = cluster
        self.load = load
        self.chance = chance
        self.gaps_s: list[float] = []

    def run_for_a_while(self) -> None:
        """Until the producer got on, then a random moment more: never a fault of idleness."""
        self.wait_for_progress()
        time.sleep(self.chance.uniform(0, 0.2))

    def wait_for_progress(self, records: int = 300) -> None:
        """Until so many more are acknowledged, of every partition some."""
        before = {p: len(self.load.acked[p]) for p in range(PARTITIONS)}
        began = time.monotonic()
        while any(len(self.load.acked[p]) < before[p] + records // PARTITIONS for p in range(PARTITIONS)):
            assert time.monotonic() < began + PROGRESS_S, f"the producer stands still: {self._state()}"
            time.sleep(0.005)
        self.gaps_s.append(time.monotonic() - began)

    def _state(self) -> str:
        logs = "\n".join(broker.log()[-3_000:] for broker in self.cluster.brokers.values())
        return f"{[(p.id, p.leader, p.isrs) for p in self.cluster.partitions(TOPIC)]}\n{logs}"

    def leader(self) -> int:
        """Of the first partition, as the cluster says now."""
        return int(wait_until(lambda: max(self.cluster.partitions(TOPIC)[0].leader, 0)))

    def controller(self) -> int:
        """The broker in the controller's seat; -1 while it is vacant."""

        async def ask() -> int:
            async with Admin(self.cluster.bootstrap) as admin:
                return await admin.controller()

        return asyncio.run(ask())

    def wait_for_all_in_sync(self) -> None:
        nodes = sorted(self.cluster.brokers)
        wait_until(lambda: all(sorted(p.isrs) == nodes for p in self.cluster.partitions(TOPIC)))

    def check(self) -> None:
        """Ends the load. Nothing acknowledged is lost, doubled or moved, and all replicas hold the same bytes."""
        self.wait_for_all_in_sync()
        self.load.stop()
        check(self.load, read_back(self.cluster.bootstrap, TOPIC, PARTITIONS))
        self.wait_for_all_in_sync()
        wait_until(lambda: all(len(set(logs)) == 1 for logs in self._logs()))
        for broker in self.cluster.brokers.values():
            broker.stop()
        for logs in self._logs():
            assert len(set(logs)) == 1, "the replicas' logs differ"

    def _logs(self) -> Iterator[list[bytes]]:
        """For each partition its log's bytes on every broker."""
        for partition in range(PARTITIONS):
            yield [
                b"".join(path.read_bytes() for path in sorted((b.data_dir / f"{TOPIC}-{partition}").glob("*.log")))
                for b in self.cluster.brokers.values()
            ]


def spread_of(seconds: Sequence[float]) -> str:
    """Count, median, 99th percentile (the nearest rank) and largest."""
    found = sorted(seconds)
    p99 = found[math.ceil(len(found) * 0.99) - 1]
    return f"{len(found)} times: median {statistics.median(found):.2f} s, p99 {p99:.2f} s, max {found[-1]:.2f} s"


@contextlib.contextmanager
def store_url(kind: str, directory: Path) -> Iterator[str]:
    """The URL of a metadata store that brokers can share; etcd is started for it."""
    if kind == "sqlite":
        yield f"sqlite:///{directory}/store.db?shared=true"
        return
    etcd = Etcd(directory / "etcd")
    etcd.start()
    try:
        yield f"etcd://{etcd.address}/pybroker"
    finally:
        etcd.kill()


@contextlib.contextmanager
def replicated_load(
    directory: Path,
    *,
    kind: str = "sqlite",
    url: str | None = None,
    seed: int = 1,
    settings: Mapping[str, str] | None = None,
) -> Iterator[ReplicatedLoad]:
    """Three brokers, a topic on all of them, and an idempotent acks=all producer that is under way."""
    with store_url(kind, directory) if url is None else contextlib.nullcontext(url) as store:
        cluster = BrokerCluster(directory, store, {**SETTINGS, **(settings or {})})
        load = AckedLoad("", TOPIC, PARTITIONS)
        try:
            cluster.start(3)
            cluster.wait_for_nodes(1, 2, 3)
            new = NewTopic(TOPIC, PARTITIONS, 3, config=TOPIC_CONFIG)
            admin = cluster.admin()
            admin.create_topics([new])[TOPIC].result(30)
            load.bootstrap = cluster.bootstrap
            load.start()
            yield ReplicatedLoad(cluster, load, random.Random(seed))
        finally:
            for broker in cluster.brokers.values():
                if not broker.is_alive:
                    continue
                broker.resume()
            load.abandon()
            cluster.close()
