"""Connections to the brokers of a cluster: one per broker and lane, opened when needed, reopened when lost.

Rules: a lane keeps apart what would block each other, since a broker answers a connection in order: fetches that wait
for data have lanes of their own, everything else shares `MAIN`. Attempts for one slot never run side by side; after a
failure the next one waits (exponential, with jitter), and whoever asks meanwhile waits with it. Bootstrap addresses
are used while no broker is known or reachable.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pybroker.connection import Address, BrokerConnection
from pybroker.errors import ConnectionFailed, Fatal, KafkaError
from pybroker.metadata import Broker
from pybroker.retry import Backoff
from pybroker.tasks import TaskOwner

__all__ = ["MAIN", "Pool", "parse_bootstrap"]

MAIN = "main"
DEFAULT_PORT = 9092
_PATIENCE = 1.0
"""Seconds until another broker is asked beside one that says nothing."""


def parse_bootstrap(bootstrap: str | Sequence[str]) -> tuple[Address, ...]:
    """`host:port,host:port`, or a list of them; the port may be left out (9092), IPv6 goes in brackets."""
    texts = bootstrap.split(",") if isinstance(bootstrap, str) else list(bootstrap)
    addresses = tuple(_parse_address(text.strip()) for text in texts if text.strip())
    if not addresses:
        raise ValueError("the bootstrap list is empty; give at least one host:port")
    return addresses


def _parse_address(text: str) -> Address:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        port = rest.removeprefix(":") if bracket and rest.startswith(":") else ("" if bracket and not rest else "x")
    else:
        host, _, port = text.partition(":")
    port = port or str(DEFAULT_PORT)
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not host:port")
    return Address(host, int(port))


@dataclass(slots=True)
class _Slot:
    """One (broker, lane) and how it fares. `attempt` is the running attempt's result, None when none runs."""

    address: Address
    connection: BrokerConnection | None = None
    attempt: asyncio.Future[BrokerConnection] | None = None
    failures: int = 0
    retry_at: float = 0.0
    users: list[Callable[[], None]] = field(default_factory=list)


class Pool:
    """Hands out open connections. Node ids below zero are bootstrap addresses."""

    def __init__(
        self,
        bootstrap: Sequence[Address],
        tasks: TaskOwner,
        *,
        client_id: str | None,
        connect_timeout: float,
        frame_bytes_max: int,
        backoff: Backoff | None = None,
    ) -> None:
        self.bootstrap = tuple(bootstrap)
        self._tasks = tasks
        self._client_id = client_id
        self._connect_timeout = connect_timeout
        self._frame_bytes_max = frame_bytes_max
        self._backoff = backoff or Backoff()
        self._slots: dict[tuple[int, str], _Slot] = {}
        self._brokers: dict[int, Broker] = {}
        self._was_connected = False

    @property
    def bootstrap_text(self) -> str:
        return ",".join(str(address) for address in self.bootstrap)

    @property
    def open_connections(self) -> list[BrokerConnection]:
        connections = [slot.connection for slot in self._slots.values()]
        return [connection for connection in connections if connection is not None and connection.is_open]

    def update_brokers(self, brokers: Mapping[int, Broker]) -> None:
        """Take over what metadata says: connections to brokers that moved or went are dropped.

        A bootstrap connection whose address turns out to be a broker's becomes that broker's.
        """
        self._brokers = dict(brokers)
        for (node, lane), slot in list(self._slots.items()):
            broker = self._brokers.get(node)
            if node >= 0 and (broker is None or slot.address != (broker.host, broker.port)):
                del self._slots[node, lane]
                if slot.connection is not None:
                    slot.connection.abort()
            elif node < 0 and slot.connection is not None and slot.connection.is_open:
                self._adopt(node, lane, slot)

    def ready(self, node: int, lane: str = MAIN) -> BrokerConnection | None:
        """The open connection, if there is one right now."""
        slot = self._slots.get((node, lane))
        if slot is None or slot.connection is None or not slot.connection.is_open:
            return None
        return slot.connection

    async def connect(self, node: int, lane: str = MAIN) -> BrokerConnection:
        """The open connection, after at most one attempt to make it. Raises `ConnectionFailed`."""
        connection = self.ready(node, lane)
        if connection is not None:
            return connection
        return await asyncio.shield(self._attempt(node, lane))

    def connect_soon(self, node: int, on_done: Callable[[KafkaError | None], None], lane: str = MAIN) -> None:
        """Start an attempt without waiting; `on_done(error or None)` is called when it has ended."""

        def told(attempt: asyncio.Future[BrokerConnection]) -> None:
            error = ConnectionFailed("closed") if attempt.cancelled() else attempt.exception()
            assert error is None or isinstance(error, KafkaError), error
            on_done(error)

        try:
            self._attempt(node, lane).add_done_callback(told)
        except KafkaError as error:  # there is no such broker, or the client was closed
            asyncio.get_running_loop().call_soon(on_done, error)

    async def any(self) -> BrokerConnection:
        """A connection to whichever broker answers; bootstrap addresses come last. Raises `ConnectionFailed`."""
        known = list(self._brokers)
        random.shuffle(known)
        candidates = known + [-1 - index for index in range(len(self.bootstrap))]
        ready = [connection for node in candidates if (connection := self.ready(node)) is not None]
        if ready:
            # One that hangs does not answer what it was asked already.
            return min(ready, key=lambda connection: connection.in_flight)
        # One that failed a moment ago comes after those that did not.
        candidates.sort(key=lambda node: slot.failures if (slot := self._slots.get((node, MAIN))) else 0)
        return await self._first_of(candidates)

    async def _first_of(self, nodes: Sequence[int]) -> BrokerConnection:
        """The first that answers. The next one is tried when one failed, or has been silent for a while.

        A host that is gone says nothing, and neither does a process that hangs.
        """
        reasons: list[str] = []
        untried, running = deque(nodes), set[asyncio.Future[BrokerConnection]]()
        while untried or running:
            if untried:
                try:
                    running.add(self._attempt(untried.popleft(), MAIN))
                except ConnectionFailed as gone:  # from the view, meanwhile
                    reasons.append(gone.message)
                    continue
            patience = _PATIENCE if untried else None
            ended, running = await asyncio.wait(running, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for attempt in ended:
                error = ConnectionFailed("closed") if attempt.cancelled() else attempt.exception()
                if error is None:
                    return attempt.result()
                if not isinstance(error, ConnectionFailed):
                    raise error
                reasons.append(error.message)
        tried = "; ".join(dict.fromkeys(reasons))
        raise ConnectionFailed(f"no broker of {self.bootstrap_text} can be reached: {tried}")

    def close_lane(self, lane: str) -> None:
        """Drop the connections of a lane for good."""
        for key in [key for key in self._slots if key[1] == lane]:
            slot = self._slots.pop(key)
            if slot.connection is not None:
                slot.connection.abort()

    def abort(self) -> None:
        """Drop every connection."""
        for slot in self._slots.values():
            if slot.connection is not None:
                slot.connection.abort()

    async def close(self) -> None:
        """Drop every connection and wait until the sockets are gone."""
        self.abort()
        slots, self._slots = list(self._slots.values()), {}
        for slot in slots:
            if slot.connection is not None:
                await slot.connection.close()

    def _adopt(self, node: int, lane: str, slot: _Slot) -> None:
        for broker in self._brokers.values():
            if slot.address == (broker.host, broker.port) and self.ready(broker.node_id, lane) is None:
                other = self._slots.get((broker.node_id, lane))
                if other is None or other.attempt is None:
                    del self._slots[node, lane]
                    self._slots[broker.node_id, lane] = slot
                return

    def _attempt(self, node: int, lane: str) -> asyncio.Future[BrokerConnection]:
        """The running attempt for this slot, started if there is none. Raises `Closed`."""
        self._tasks.check()
        address = self._address_of(node)
        slot = self._slots.get((node, lane))
        if slot is None:
            slot = self._slots[node, lane] = _Slot(address)
        if slot.attempt is None:
            slot.attempt = asyncio.get_running_loop().create_future()
            self._tasks.spawn(f"connect {address}", self._run_attempt(node, slot, slot.attempt))
        return slot.attempt

    def _address_of(self, node: int) -> Address:
        if node < 0:
            return self.bootstrap[-1 - node]
        broker = self._brokers.get(node)
        if broker is None:
            raise ConnectionFailed(f"no broker has the node id {node}")
        return Address(broker.host, broker.port)

    async def _run_attempt(self, node: int, slot: _Slot, result: asyncio.Future[BrokerConnection]) -> None:
        loop = asyncio.get_running_loop()
        try:
            wait = slot.retry_at - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            connection = await BrokerConnection.open(
                slot.address,
                client_id=self._client_id,
                time_limit=self._connect_timeout,
                frame_bytes_max=self._frame_bytes_max,
            )
        except KafkaError as error:
            slot.failures += 1
            slot.retry_at = loop.time() + self._backoff.delay(slot.failures, random.random())
            slot.attempt = None
            result.set_exception(self._explained(node, slot.address, error))
            result.exception()  # the wait may have been given up
        except BaseException:
            slot.attempt = None
            result.cancel()
            raise
        else:
            slot.failures = 0
            slot.attempt = None
            slot.connection = connection
            self._was_connected = True
            if slot not in self._slots.values():  # the broker moved, or the lane was closed, meanwhile
                connection.abort()
            result.set_result(connection)

    def _explained(self, node: int, address: Address, error: KafkaError) -> KafkaError:
        """The error with what the user needs to know: which list, which address, and why the two may differ."""
        if isinstance(error, Fatal):
            return error
        if node < 0:
            return ConnectionFailed(f"cannot connect to bootstrap server {error.message}")
        message = (
            f"cannot connect to node {node} at the address it advertises, {error.message} "
            f"(bootstrap servers: {self.bootstrap_text})"
        )
        if self._was_connected and address not in self.bootstrap:
            message += (
                ". A bootstrap server did answer, so the broker is up but advertises an address that cannot be reached "
                "from here: see advertised.listeners in its configuration"
            )
        return ConnectionFailed(message)
