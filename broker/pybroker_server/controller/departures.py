"""What clients are told while a broker dies, so that they come to the new leader without a pause.

Rules of this file: the event loop only; nothing here decides anything. A client whose connection breaks asks another
broker for metadata at once, and does so once: told of the dead leader again, it believes it, and looks next a second
later. So while this broker has lost its own connection to one that still counts as alive, or as a leader, metadata is
answered when that is settled, or after PATIENCE_MS. A broker that ended without taking leave stays listed among the
brokers, though never as a leader, for as long as its lease could have lasted: a client that is told of a new leader
and of the old one's disappearance in one answer may take the partition away from both.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from pybroker_server.metadata.image import MetadataImage
from pybroker_server.metadata.publisher import MetadataPublisher
from pybroker_server.peers.peers import Peers
from pybroker_server.peers.problem import Problem
from pybroker_server.runtime.ports import TimerHandle
from pybroker_server.runtime.runtime import Runtime

PATIENCE_MS: Final = 500
"""How long after a lost connection an answer may wait; an election takes a tenth of that."""


class Departures:
    """`watch` the peers; then ask before metadata is answered."""

    def __init__(self, publisher: MetadataPublisher, runtime: Runtime, *, listed_ms: int) -> None:
        """`listed_ms`: how long a broker is listed that ended without taking leave."""
        self._publisher = publisher
        self._clock = runtime.clock
        self._timers = runtime.timers
        self._listed_ms = listed_ms
        self._missed: dict[int, tuple[int, int]] = {}
        """By node id: the broker epoch whose connection was lost, and until when (monotonic) answers wait for it."""
        self._listed_until_ms: dict[int, int] = {}
        self._waiting: deque[Callable[[], None]] = deque()
        self._timer: TimerHandle | None = None
        self._peers: Peers | None = None
        publisher.subscribe(self._on_image)

    def watch(self, peers: Peers) -> None:
        self._peers = peers
        peers.on_lost(self._on_lost)
        peers.on_reached(self._on_reached)

    def still_listed(self) -> list[int]:
        """The node ids of brokers that are gone and have to be listed all the same, ascending."""
        if not self._listed_until_ms:
            return []
        now_ms = self._clock.monotonic_ms()
        self._listed_until_ms = {node: until for node, until in self._listed_until_ms.items() if until > now_ms}
        return sorted(self._listed_until_ms)

    def wait(self, done: Callable[[], None]) -> bool:
        """Whether something is about to be settled; then `done` is called once when it is."""
        if not self._is_unsettled():
            return False
        self._waiting.append(done)
        self._arm()
        return True

    # -- what happens

    def _on_lost(self, node_id: int, epoch: int, problem: Problem) -> None:
        if problem not in (Problem.CLOSED, Problem.REFUSED):
            return
        broker = self._publisher.image.brokers.get(node_id)
        if broker is None or not broker.is_active or broker.epoch != epoch:
            return
        known = self._missed.get(node_id)
        if known is None or known[0] != epoch:
            self._missed[node_id] = (epoch, self._clock.monotonic_ms() + PATIENCE_MS)

    def _on_reached(self, node_id: int, epoch: int) -> None:
        self._missed.pop(node_id, None)
        self._release()

    def _on_image(self, old: MetadataImage, new: MetadataImage) -> None:
        if old.brokers is not new.brokers:
            for node_id, broker in old.brokers.items():
                after = new.brokers.get(node_id)
                if broker.is_active and after is not None and not after.mod_revision:
                    self._listed_until_ms[node_id] = self._clock.monotonic_ms() + self._listed_ms
            for node_id in [n for n in self._listed_until_ms if n not in new.brokers or not new.brokers[n].fenced]:
                del self._listed_until_ms[node_id]
        self._release()

    # -- waiting

    def _is_unsettled(self) -> bool:
        if not self._missed:
            return False
        now_ms, image = self._clock.monotonic_ms(), self._publisher.image
        doubtful = {
            node_id
            for node_id, (_, until_ms) in self._missed.items()
            if until_ms > now_ms and not self._is_reached(node_id)
        }
        if any(node in image.brokers and image.brokers[node].is_active for node in doubtful):
            return True
        return bool(doubtful) and any(
            partition.leader in doubtful for topic in image.topics_by_id.values() for partition in topic.partitions
        )

    def _is_reached(self, node_id: int) -> bool:
        return self._peers is not None and self._peers.is_reached(node_id)

    def _release(self) -> None:
        if not self._waiting or self._is_unsettled():
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, deque()
        try:
            while waiting:
                waiting.popleft()()
        finally:
            # One that fails is a bug and climbs to the loop; the others must not wait for ever because of it.
            if waiting:
                self._waiting.extendleft(reversed(waiting))
                self._timers.call_soon(self._release)

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._timers.call_after_ms(PATIENCE_MS, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._release()
        if self._waiting:
            self._arm()
