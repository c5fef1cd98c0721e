"""Notices a broker that was killed long before its lease runs out.

Rules of this file: the event loop only. Every broker keeps a connection to every other. One at whose address nobody
listens any more is dead, as it listened before it registered: its registration is ended at once, under compare with its
epoch, and elections follow as after any other end of one. The controller does that for all, and everybody does it for
the controller. A wrong guess harms nobody: a broker that lives registers anew. One that could never be reached is not
fenced twice: its address is wrong, rather. One that hangs, or that cannot be reached for another reason, is left to its
lease; so is one that is stopping, which has handed over what it could.
"""

from __future__ import annotations

from pybroker_protocol.errors import KafkaError
from pybroker_server.controller.controller import Controller
from pybroker_server.metadata.publisher import MetadataPublisher
from pybroker_server.peers.peers import Peers
from pybroker_server.peers.problem import Problem
from pybroker_server.runtime.tasks import TaskOwner
from pybroker_server.telemetry.events import get_logger

_log = get_logger("pybroker.controller")


class Watchdog:
    """`watch` the peers; the rest follows."""

    def __init__(self, node_id: int, publisher: MetadataPublisher, controller: Controller, tasks: TaskOwner) -> None:
        self._node_id = node_id
        self._publisher = publisher
        self._controller = controller
        self._tasks = tasks
        self._reached: dict[int, int] = {}
        """Broker epoch by node id."""
        self._never_reached: set[int] = set()
        """Fenced without ever having been reached."""
        self._is_stopped = False

    def watch(self, peers: Peers) -> None:
        peers.on_reached(self.on_reached)
        peers.on_lost(self.on_lost)

    def stop(self) -> None:
        """From now on nobody is fenced: a stopping broker's own end is not to be mistaken for that of others."""
        self._is_stopped = True

    def on_reached(self, node_id: int, epoch: int) -> None:
        self._reached[node_id] = epoch
        self._never_reached.discard(node_id)

    def on_lost(self, node_id: int, epoch: int, problem: Problem) -> None:
        if problem is not Problem.REFUSED or self._is_stopped or not self._is_mine_to_fence(node_id, epoch):
            return
        if self._reached.pop(node_id, None) != epoch:
            if node_id in self._never_reached:
                return
            self._never_reached.add(node_id)
        self._tasks.spawn(f"fence-{node_id}", self._fence(node_id, epoch))

    def _is_mine_to_fence(self, node_id: int, epoch: int) -> bool:
        image = self._publisher.image
        broker = image.brokers.get(node_id)
        if broker is None or not broker.mod_revision or broker.epoch != epoch or broker.shutting_down:
            return False
        seat = image.controller_in_office()
        return seat is None or seat.node_id in (self._node_id, node_id)

    async def _fence(self, node_id: int, epoch: int) -> None:
        _log.warning("broker_found_dead", node=node_id, epoch=epoch)
        try:
            await self._controller.fence_broker(node_id, epoch)
        except KafkaError as error:
            self._never_reached.discard(node_id)
            _log.warning("controller_change_failed", error=str(error))
