"""This broker's part in running the cluster, joined together: what it may do, who it is, and whom it watches.

Rules of this file: start and stop of the parts, in order. A broker claims its node id before it recovers its logs,
joins when it knows what they hold, acts when its partitions are open; it leaves while it still serves, and departs when
it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pybroker_server.config.inter_broker import is_shared_store
from pybroker_server.config.views import BrokerConfig
from pybroker_server.controller.brokers import Return
from pybroker_server.controller.controller import Controller
from pybroker_server.controller.membership import Membership
from pybroker_server.controller.reactor import Reactor
from pybroker_server.controller.watchdog import Watchdog
from pybroker_server.metadata.image import BrokerImage
from pybroker_server.metadata.publisher import MetadataPublisher
from pybroker_server.metadata.store import MetadataStore
from pybroker_server.peers.peers import Peers
from pybroker_server.replica.manager import ReplicaManager
from pybroker_server.runtime.runtime import Runtime

HANDOVER_MS: Final = 10_000
"""How long a stopping broker waits for others to take over what it leads."""
BATCH: Final = 1_000
"""Partitions that the controller changes in one commit, where the store would take more."""


class ControlPlane:
    """`controller` carries out what clients ask; the rest of it acts by itself."""

    def __init__(
        self,
        node_id: int,
        store: MetadataStore,
        publisher: MetadataPublisher,
        runtime: Runtime,
        config: Callable[[], BrokerConfig],
    ) -> None:
        self.controller = Controller(store, publisher, runtime)
        self._config = config
        self._publisher = publisher
        given = config()
        self._membership = Membership(
            store,
            publisher,
            self.controller,
            runtime,
            session_ms=given.broker_session_timeout_ms if is_shared_store(given.metadata_store_url) else 0,
            heartbeat_ms=given.broker_heartbeat_interval_ms,
        )
        self._reactor = Reactor(
            node_id,
            publisher,
            self.controller,
            self._membership,
            runtime,
            config,
            batch_size=min(store.max_operations_per_commit - 1, BATCH),
        )
        self._watchdog = Watchdog(node_id, publisher, self.controller, runtime.tasks)

    async def claim(self, me: BrokerImage) -> None:
        """Raises NodeIdTakenError, KafkaError and StoreError."""
        await self._membership.claim(me)

    async def join(self, me: BrokerImage, back: Return) -> None:
        """Registers. Raises KafkaError and StoreError."""
        await self.controller.settle_return(back, self._config())
        await self._membership.join(me)

    def start(self, peers: Peers, replicas: ReplicaManager) -> None:
        """From now on `replicas` lead while the lease lasts, and not for longer."""
        membership = self._membership

        def extend(usable_until_ms: int) -> None:
            replicas.lease_ends_ms = usable_until_ms

        membership.on_fenced = replicas.on_fenced
        membership.on_unfenced = replicas.on_unfenced
        membership.on_extended = extend
        replicas.on_lease_over = membership.on_lease_over
        if membership.usable_until_ms is not None:
            extend(membership.usable_until_ms)
        if membership.is_fenced:
            replicas.on_fenced()
        self._watchdog.watch(peers)
        self._reactor.start()

    async def leave(self) -> None:
        """Hands over what this broker leads, and waits for it."""
        self._watchdog.stop()
        if self._config().controlled_shutdown_enable:
            await self._membership.leave(patience_ms=HANDOVER_MS)

    async def depart(self, *, clean: bool) -> int:
        """The end of the registration if `clean`, and of everything here; the last broker epoch, or -1."""
        self._watchdog.stop()
        await self._reactor.stop()
        if clean:
            await self._membership.depart()
        await self._publisher.stop()
        return self._membership.epoch
