"""A listening socket: accepts connections within limits, and goes on accepting whatever goes wrong.

Rules of this file: the only place that opens sockets. Connections are accepted by hand, not by the event
loop's server, because the rate limit and running out of file descriptors both need the accept to stop and
start again without closing the socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Mapping
from types import MappingProxyType

from pybroker_server.network.connection import ClientConnection
from pybroker_server.network.hub import ConnectionHub
from pybroker_server.network.limits import ConnectionLimits
from pybroker_server.runtime.tasks import TaskOwner

_ACCEPTS_PER_WAKE_UP = 64
_EXHAUSTED_PAUSE_MS = 500
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
DEFAULT_BACKLOG = 1024


def bind_sockets(host: str, port: int) -> list[socket.socket]:
    """Sockets bound to every address of `host`, all to one port, not yet listening; empty means every
    address.

    Port 0 lets the system choose. Raises OSError when none can be had; an address family that the machine
    does not have is left out as long as another one works.
    """
    if host in ("", "::") and socket.has_dualstack_ipv6():
        return [_bound(socket.AF_INET6, ("::", port), both_families=True)]
    flags = socket.AI_PASSIVE | socket.AI_NUMERICSERV
    found = socket.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=flags)
    sockets: list[socket.socket] = []
    # IPv4 first: with port 0 it decides the port, and its absence is an error where IPv6's is not.
    for family, _, _, _, address in sorted(set(found), key=lambda info: info[0] != socket.AF_INET):
        same_port = sockets[0].getsockname()[1] if sockets else port
        try:
            sockets.append(_bound(family, (address[0], same_port, *address[2:])))
        except OSError as error:
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) and (sockets or len(found) > 1):
                continue
            for opened in sockets:
                opened.close()
            raise
    if not sockets:
        raise OSError(errno.EADDRNOTAVAIL, f"no address of {host} is one of this machine")
    return sockets


def _bound(family: int, address: tuple[object, ...], *, both_families: bool = False) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both_families else 1)
        made.bind(address)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


class Listener:
    """Accepts on one bound socket and makes a `ClientConnection` of each connection."""

    def __init__(
        self,
        name: str,
        bound: socket.socket,
        hub: ConnectionHub,
        limits: ConnectionLimits,
        tasks: TaskOwner,
        *,
        is_inter_broker: bool = False,
        backlog: int = DEFAULT_BACKLOG,
        buffer_sizes: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """`is_inter_broker`: whether replicas may ask here.

        `buffer_sizes`: by socket option (SO_SNDBUF, SO_RCVBUF); without one the system tunes by itself."""
        self.name = name
        self._is_inter_broker = is_inter_broker
        self._socket = bound
        self._hub = hub
        self._limits = limits
        self._tasks = tasks
        self._backlog = backlog
        self._buffer_sizes = buffer_sizes
        self._loop = asyncio.get_running_loop()
        self._open = False

    @property
    def port(self) -> int:
        port: int = self._socket.getsockname()[1]
        return port

    def start(self) -> None:
        """From here on the port answers. Raises OSError when another process listens on it."""
        self._socket.listen(self._backlog)
        self._open = True
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """Accepts no more. Connections that are open stay."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_PER_WAKE_UP):
            wait_ms = self._limits.wait_ms(self._hub.clock.monotonic_ms())
            if wait_ms:
                self._pause(wait_ms)
                return
            try:
                client, address = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    reason = f"cannot accept connections: {error.strerror}; trying again"
                    self._hub.events.connection_refused("exhausted", f"listener {self.name}", reason)
                    self._pause(_EXHAUSTED_PAUSE_MS)
                    return
                continue  # that one connection was gone before we took it
            self._limits.accepted()
            self._take(client, address)

    def _pause(self, delay_ms: int) -> None:
        """Newcomers wait in the system's queue meanwhile."""
        self._loop.remove_reader(self._socket.fileno())
        self._hub.timers.call_after_ms(delay_ms, self._resume)

    def _resume(self) -> None:
        if self._open:
            self._loop.add_reader(self._socket.fileno(), self._accept)

    def _take(self, client: socket.socket, address: tuple[str, int]) -> None:
        ip = address[0]
        refusal = self._limits.refusal_for(ip)
        if refusal is not None:
            self._hub.events.connection_refused("too-many-connections", f"{ip}:{address[1]}", refusal)
            client.close()
            return
        client.setblocking(False)
        with contextlib.suppress(OSError):  # the peer may be gone already; the connection will say so itself
            client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option, size in self._buffer_sizes.items():
                client.setsockopt(socket.SOL_SOCKET, option, size)
        self._limits.opened(ip)
        self._tasks.spawn("accept", self._attach(client, ip))

    async def _attach(self, client: socket.socket, ip: str) -> None:
        is_counted = True

        def on_lost() -> None:
            nonlocal is_counted
            if is_counted:
                is_counted = False
                self._limits.closed(ip)

        def make_protocol() -> ClientConnection:
            return ClientConnection(self._hub, self.name, on_lost, is_inter_broker=self._is_inter_broker)

        try:
            await self._loop.connect_accepted_socket(make_protocol, client)
        except OSError as error:
            client.close()
            on_lost()  # the event loop may or may not have told the connection
            self._hub.events.connection_refused("accept-failed", f"listener {self.name}", str(error))
