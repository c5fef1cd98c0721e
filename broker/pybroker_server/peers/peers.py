"""The other brokers of the cluster, as this one reaches them: by node id, at the endpoint that the metadata says.

Rules of this file: the event loop only. A broker is reached on the listener that brokers use among themselves, under
the registration that the image shows: when that changes, its connections are closed and what waits on them fails.
Requests of one lane are answered in order, one after the other, so those that may wait long have lanes of their own.
The control lane of every live broker is kept open whether it is used or not: a process that dies is noticed at once,
from the end of its connections, long before its lease runs out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, Final

from pybroker_protocol.schema.classes import Message
from pybroker_server.metadata.image import BrokerImage, Endpoint, MetadataImage
from pybroker_server.peers.connection import Call, Done
from pybroker_server.peers.link import Link
from pybroker_server.peers.problem import PeerError, Problem
from pybroker_server.runtime.runtime import Runtime
from pybroker_server.telemetry.events import LineLimiter, get_logger

PeerLost = Callable[[int, int, Problem], None]
"""(node id, its broker epoch, what happened): a connection to that broker was lost or could not be made. REFUSED says
that its process is dead, for as long as its address is its own; CLOSED is followed at once by another attempt, which
tells more."""
PeerReached = Callable[[int, int], None]
"""(node id, its broker epoch): a connection to that broker works."""

_log = get_logger("pybroker.peers")


class Lane(Enum):
    """Which connection a request takes. A lane's requests wait for one another."""

    CONTROL = "control"
    """What is answered at once."""
    FETCH = "fetch"
    """Of followers: held by the leader until there is something to read."""
    TRANSACTIONS = "transactions"
    """Markers and verification: markers wait until they are replicated."""


class _Peer:
    """One registration of one broker."""

    __slots__ = ("endpoint", "epoch", "links")

    def __init__(self, epoch: int, endpoint: Endpoint) -> None:
        self.epoch = epoch
        self.endpoint = endpoint
        self.links: dict[Lane, Link] = {}


class Peers:
    """Subscribe `on_image` to the metadata publisher. Without a listener for brokers there are no peers."""

    def __init__(
        self,
        node_id: int,
        listener: str | None,
        runtime: Runtime,
        *,
        request_timeout_ms: int,
        connect_timeout_ms: int,
    ) -> None:
        self.node_id = node_id
        self._listener = listener
        self._runtime = runtime
        self._request_timeout_ms = request_timeout_ms
        self._connect_timeout_ms = connect_timeout_ms
        self._client_id: Final = f"broker-{node_id}"
        self._peers: dict[int, _Peer] = {}
        self._on_lost: list[PeerLost] = []
        self._on_reached: list[PeerReached] = []
        self._lines = LineLimiter()
        self._is_closed = False

    # -- requests

    def send(
        self,
        node_id: int,
        request: Message,
        done: Done,
        *,
        lane: Lane = Lane.CONTROL,
        timeout_ms: int | None = None,
        version: int | None = None,
    ) -> None:
        """Sends a request and calls `done(response, None)` or `done(None, error)` once: perhaps before this returns.

        `timeout_ms`: `request.timeout.ms` unless given. `version`: the highest that both speak unless given.
        """
        peer = self._peers.get(node_id)
        if peer is None or self._is_closed:
            problem = Problem.STOPPED if self._is_closed else Problem.UNKNOWN
            done(None, PeerError(problem, f"no way to broker {node_id} is known"))
            return
        wait_ms = self._request_timeout_ms if timeout_ms is None else timeout_ms
        deadline_ms = self._runtime.clock.monotonic_ms() + wait_ms
        self._link(node_id, peer, lane).submit(Call(request, version, deadline_ms, done))

    async def request(
        self,
        node_id: int,
        request: Message,
        *,
        lane: Lane = Lane.CONTROL,
        timeout_ms: int | None = None,
        version: int | None = None,
    ) -> Any:
        """The response. Raises PeerError: the request may or may not have been carried out."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(response: Any, error: PeerError | None) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(response)

        self.send(node_id, request, done, lane=lane, timeout_ms=timeout_ms, version=version)
        return await answer

    # -- failure detection

    def on_lost(self, listener: PeerLost) -> None:
        """Has it told of every connection, of any lane, that is lost or cannot be made."""
        self._on_lost.append(listener)

    def on_reached(self, listener: PeerReached) -> None:
        self._on_reached.append(listener)

    def is_reached(self, node_id: int) -> bool:
        """Whether the control lane to that broker works now."""
        peer = self._peers.get(node_id)
        link = peer.links.get(Lane.CONTROL) if peer is not None else None
        return link is not None and link.is_ready

    # -- metadata

    def on_image(self, old: MetadataImage, new: MetadataImage) -> None:
        """Takes over who is there and where."""
        if old.brokers is new.brokers or self._listener is None or self._is_closed:
            return
        for node_id, peer in list(self._peers.items()):
            if self._wanted(new.brokers.get(node_id)) != (peer.epoch, peer.endpoint):
                del self._peers[node_id]
                self._let_go(peer, PeerError(Problem.LEFT, f"broker {node_id} is not registered as it was"))
        for node_id, broker in new.brokers.items():
            wanted = self._wanted(broker)
            if wanted is not None and node_id not in self._peers:
                peer = self._peers[node_id] = _Peer(*wanted)
                self._link(node_id, peer, Lane.CONTROL)

    def close(self) -> None:
        """Ends every connection; what waits fails with STOPPED."""
        self._is_closed = True
        peers, self._peers = self._peers, {}
        for peer in peers.values():
            self._let_go(peer, PeerError(Problem.STOPPED, "this broker is stopping"))

    def _wanted(self, broker: BrokerImage | None) -> tuple[int, Endpoint] | None:
        if broker is None or broker.fenced or broker.node_id == self.node_id or self._listener is None:
            return None
        endpoint = broker.endpoint(self._listener)
        return (broker.epoch, endpoint) if endpoint is not None else None

    def _link(self, node_id: int, peer: _Peer, lane: Lane) -> Link:
        link = peer.links.get(lane)
        if link is None:
            link = peer.links[lane] = Link(
                peer.endpoint,
                self._runtime,
                client_id=self._client_id,
                connect_timeout_ms=self._connect_timeout_ms,
                is_kept_open=lane is Lane.CONTROL,
                on_ready=partial(self._reached, node_id, peer.epoch, lane),
                on_lost=partial(self._lost, node_id, peer.epoch, lane),
            )
        return link

    def _let_go(self, peer: _Peer, error: PeerError) -> None:
        for link in peer.links.values():
            link.close(error)

    def _reached(self, node_id: int, epoch: int, lane: Lane) -> None:
        if lane is Lane.CONTROL:
            for listener in self._on_reached:
                listener(node_id, epoch)

    def _lost(self, node_id: int, epoch: int, lane: Lane, error: PeerError) -> None:
        held_back = self._lines.admit((str(node_id), error.problem.value), self._runtime.clock.monotonic_ms())
        if held_back is not None:
            _log.info("peer_lost", node=node_id, lane=lane.value, reason=str(error), more_like_it=held_back)
        for listener in self._on_lost:
            listener(node_id, epoch, error.problem)
