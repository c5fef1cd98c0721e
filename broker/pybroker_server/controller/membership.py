"""This broker's place in the cluster: its registration under a lease, and what it may do by its own clock.

Rules of this file: one task renews the lease. A lease lives at least its time from when a renewal was *sent*, so this
broker stops acting as a leader (`on_fenced`) a margin before that, by its own monotonic clock, whether or not it hears
from the store: no other can have been elected before (R13). It goes on (`on_unfenced`) when the store has shown that
the registration never ended, or when it has registered anew, under a new epoch.

A store that only one process can have needs no lease: nobody else could take over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from pybroker_protocol.errors import KafkaError
from pybroker_server.controller.controller import Controller
from pybroker_server.metadata.image import NO_LEADER, BrokerImage, MetadataImage, PartitionImage
from pybroker_server.metadata.keys import broker_key
from pybroker_server.metadata.publisher import MetadataPublisher
from pybroker_server.metadata.store import LeaseNotFoundError, MetadataStore, StoreError
from pybroker_server.runtime.ports import TimerHandle
from pybroker_server.runtime.runtime import Runtime
from pybroker_server.telemetry.events import get_logger

MARGIN_SHARE: Final = 10
"""One part in so many of the lease is left unused, for clocks that do not run alike."""
RETRIES_PER_HEARTBEAT: Final = 4
_log = get_logger("pybroker.membership")


class NodeIdTakenError(Exception):
    """Another broker runs under this node id; the message is for the user."""


class Membership:
    """`claim`, `join`, then `leave` and `depart`. `epoch` and `lease_id` are those of the newest registration."""

    def __init__(
        self,
        store: MetadataStore,
        publisher: MetadataPublisher,
        controller: Controller,
        runtime: Runtime,
        *,
        session_ms: int,
        heartbeat_ms: int,
    ) -> None:
        """`session_ms`: the length of the lease; 0 for a store that nobody shares."""
        self.epoch = -1
        self.lease_id = 0
        self.is_fenced = True
        self.on_fenced: Callable[[], None] = _nothing
        self.on_unfenced: Callable[[], None] = _nothing
        self.on_extended: Callable[[int], None] = lambda usable_until_ms: None
        """Called with the time from which on this broker counts as fenced, unless the lease is renewed before."""
        self.usable_until_ms: int | None = None
        """The same, as it is now; None without a lease."""
        self._store = store
        self._publisher = publisher
        self._controller = controller
        self._runtime = runtime
        self._session_ms = session_ms
        self._heartbeat_ms = heartbeat_ms
        self._broker: BrokerImage | None = None
        self._mod_revision = 0
        self._deadline: TimerHandle | None = None
        self._wake = asyncio.Event()
        self._is_leaving = False

    # -- joining

    async def join(self, broker: BrokerImage) -> None:
        """Registers, under a new incarnation, and keeps registered from then on; `claim` came before.

        Raises KafkaError and StoreError when the store does not answer.
        """
        self._broker = replace(broker, incarnation_id=self._runtime.entropy.uuid())
        await self._register()
        self._publisher.subscribe(self._on_image)
        if self._session_ms:
            self._runtime.tasks.spawn("membership", self._keep())

    async def claim(self, broker: BrokerImage) -> None:
        """Makes sure that nobody else is registered under the node id; do it before logs are recovered.

        A registration over the same directories is an earlier process's, and that is gone: this one holds their locks.
        What it led is then led by others while the logs are recovered. Any other must run out by itself. Raises
        NodeIdTakenError when it does not.
        """
        give_up_ms = self._runtime.clock.monotonic_ms() + self._session_ms + self._heartbeat_ms
        while True:
            found = self._publisher.image.brokers.get(broker.node_id)
            if not self._session_ms or found is None or not found.mod_revision:
                return
            if _same_place(found, broker):
                await self._controller.fence_broker(found.node_id, found.epoch)
                return
            if self._runtime.clock.monotonic_ms() >= give_up_ms:
                where = ", ".join(f"{e.host}:{e.port}" for e in found.endpoints)
                raise NodeIdTakenError(f"another broker runs as node {broker.node_id}, at {where}")
            await self._pause(self._heartbeat_ms // RETRIES_PER_HEARTBEAT)

    async def _register(self) -> None:
        assert self._broker is not None
        began_ms = self._runtime.clock.monotonic_ms()
        if self._session_ms:
            self.lease_id = await self._store.grant_lease(self._session_ms)
        self.epoch = await self._controller.register_broker(self._broker, lease_id=self.lease_id)
        self._mod_revision = self._publisher.image.brokers[self._broker.node_id].mod_revision
        self._extend(began_ms + self._session_ms)
        self._set_fenced(is_fenced=False)

    # -- staying

    async def _keep(self) -> None:
        while True:
            retry_ms = self._heartbeat_ms // RETRIES_PER_HEARTBEAT
            pause_ms = self._heartbeat_ms
            try:
                if self._is_lost(self._publisher.image):
                    await self._register_anew()
                else:
                    await self._renew()
            except LeaseNotFoundError:
                self._set_fenced(is_fenced=True)
                await self._register_when_possible()
            except (StoreError, KafkaError) as error:
                _log.warning("lease_not_renewed", error=str(error), epoch=self.epoch)
                pause_ms = retry_ms
            await self._pause(pause_ms)

    async def _renew(self) -> None:
        began_ms = self._runtime.clock.monotonic_ms()
        left_ms = await self._store.keep_alive(self.lease_id)
        if self.is_fenced:
            if self._is_leaving:
                return
            assert self._broker is not None
            found, _ = await self._store.get(broker_key(self._broker.node_id))
            if found is None or found.mod_revision != self._mod_revision:
                return  # the image will show that the registration ended
        self._extend(began_ms + left_ms)
        self._set_fenced(is_fenced=False)

    async def _register_when_possible(self) -> None:
        """The lease is gone for certain; the task tries again when this fails."""
        with suppress(StoreError, KafkaError):
            await self._register_anew()

    async def _register_anew(self) -> None:
        if self._is_leaving:
            return
        self._set_fenced(is_fenced=True)
        with suppress(StoreError):
            await self._store.revoke_lease(self.lease_id)
        await self._register()
        _log.warning("registered_anew", epoch=self.epoch)

    def _is_lost(self, image: MetadataImage) -> bool:
        """Whether the image shows that the registration ended. Raises NodeIdTakenError for another's in its place."""
        assert self._broker is not None
        found = image.brokers.get(self._broker.node_id)
        if found is None or not found.mod_revision:
            return True
        if found.incarnation_id != self._broker.incarnation_id:
            raise NodeIdTakenError(f"another broker has registered as node {self._broker.node_id}")
        return found.epoch != self.epoch

    def _on_image(self, old: MetadataImage, new: MetadataImage) -> None:
        if old.brokers is new.brokers or self._broker is None or self._is_leaving:
            return
        found = new.brokers.get(self._broker.node_id)
        if found is None or not found.mod_revision or found.epoch != self.epoch:
            if not self._session_ms:
                return
            self._set_fenced(is_fenced=True)
            self._wake.set()
        else:
            self._mod_revision = found.mod_revision

    def _extend(self, ends_ms: int) -> None:
        if not self._session_ms:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self.usable_until_ms = ends_ms - self._session_ms // MARGIN_SHARE
        usable_ms = self.usable_until_ms - self._runtime.clock.monotonic_ms()
        self._deadline = self._runtime.timers.call_after_ms(max(usable_ms, 0), self.on_lease_over)
        self.on_extended(self.usable_until_ms)

    def on_lease_over(self) -> None:
        """By this broker's own clock; whoever sees it first says so."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        _log.warning("lease_ran_out", epoch=self.epoch)
        self._set_fenced(is_fenced=True)

    def _set_fenced(self, *, is_fenced: bool) -> None:
        if is_fenced == self.is_fenced:
            return
        self.is_fenced = is_fenced
        if is_fenced:
            self.on_fenced()
        else:
            self.on_unfenced()

    # -- leaving

    async def leave(self, *, patience_ms: int) -> None:
        """Controlled shutdown: hands everything over that another can take, and waits for that."""
        broker = self._broker
        if broker is None or not self._session_ms or self._is_leaving:
            return
        node_id = broker.node_id
        self._is_leaving = True
        try:
            await self._controller.announce_shutdown(node_id, self.epoch, lease_id=self.lease_id)
        except (StoreError, KafkaError) as error:
            _log.warning("shutdown_not_announced", error=str(error))
            return
        give_up_ms = self._runtime.clock.monotonic_ms() + patience_ms
        while (left := handed_over_later(self._publisher.image, node_id)) and (
            self._runtime.clock.monotonic_ms() < give_up_ms
        ):
            self._wake.clear()
            await self._pause(_LOOK_AGAIN_MS)
        if left:
            _log.warning("not_handed_over", partitions=left)

    async def depart(self) -> None:
        """The end: from now on nobody is told this broker's address."""
        broker = self._broker
        if broker is None:
            return
        self._is_leaving = True
        if self._deadline is not None:
            self._deadline.cancel()
        try:
            await self._controller.fence_broker(broker.node_id, self.epoch)
            if self.lease_id:
                await self._store.revoke_lease(self.lease_id)
        except (StoreError, KafkaError) as error:
            _log.warning("not_deregistered", error=str(error))

    async def _pause(self, delay_ms: int) -> None:
        """Until then, or until the registration is seen to have ended."""
        handle = self._runtime.timers.call_after_ms(delay_ms, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            handle.cancel()
            self._wake.clear()


_LOOK_AGAIN_MS: Final = 10


def handed_over_later(image: MetadataImage, node_id: int) -> int:
    """How many partitions still need this broker although they will not for long: others can lead or are in sync."""
    active = image.active_nodes - {node_id}
    if not active:
        return 0
    return sum(
        _still_counts(partition, node_id, active)
        for topic in image.topics_by_id.values()
        for partition in topic.partitions
    )


def _still_counts(partition: PartitionImage, node_id: int, active: frozenset[int]) -> bool:
    if node_id not in partition.isr or partition.leader == NO_LEADER:
        return False
    others = {*partition.isr, *partition.eligible_leader_replicas}
    return not active.isdisjoint(others)


def _same_place(found: BrokerImage, broker: BrokerImage) -> bool:
    return bool(found.directory_ids) and found.directory_ids == broker.directory_ids


def _nothing() -> None:
    pass
