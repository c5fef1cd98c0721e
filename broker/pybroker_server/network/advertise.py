"""Which address a client is told for a broker, decided per connection.

Rules of this file: pure; one resolver, used by every answer that names a broker. An address that is right
for one client is wrong for another (inside and outside of a container, say), and a client that is told a
wrong one connects, asks, and fails on its second connection. So: an explicit `advertised.listeners` wins;
otherwise this broker tells each client the address on which that client has just reached it, which is known
to work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from pybroker_server.handlers.request import ConnectionInfo
from pybroker_server.metadata.image import BrokerImage, Endpoint

_MAPPED_IPV4 = "::ffff:"


@dataclass(frozen=True, slots=True)
class AddressResolver:
    """Answers `handlers.services.EndpointResolver`."""

    node_id: int
    explicit: Mapping[str, Endpoint] = field(default_factory=dict)
    """By listener: what `advertised.listeners` says. It wins over everything, for every peer."""
    gateway: str | None = None
    """The default gateway of a container: a peer that appears with this address came through a published port
    of the host, and reaches us there as 127.0.0.1."""

    def __call__(self, broker: BrokerImage, connection: ConnectionInfo) -> Endpoint | None:
        """The endpoint of `broker` on the connection's listener, as the connection's peer should use it."""
        published = broker.endpoint(connection.listener)
        if broker.node_id != self.node_id:
            return published
        explicit = self.explicit.get(connection.listener)
        if explicit is not None:
            return explicit
        if published is None:
            return None
        host = self._host_for(connection)
        return Endpoint(connection.listener, host, connection.local_port, published.security_protocol)

    def _host_for(self, connection: ConnectionInfo) -> str:
        # Never the name "localhost": some clients try only the first address it has, which may be ::1 while
        # the listener has 127.0.0.1. The address of the socket is what the peer has just used.
        if self.gateway is not None and plain_host(connection.peer_host) == self.gateway:
            return "127.0.0.1"
        return plain_host(connection.local_host)


def plain_host(host: str) -> str:
    """An IPv4 address that came in through an IPv6 socket (`::ffff:10.0.0.5`), as IPv4; others unchanged."""
    if host.lower().startswith(_MAPPED_IPV4) and "." in host:
        return host[len(_MAPPED_IPV4) :]
    return host


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach `host`; a name other than `localhost` is not looked up."""
    if host == "localhost":
        return True
    try:
        return ip_address(plain_host(host)).is_loopback
    except ValueError:
        return False


def is_wildcard(host: str) -> bool:
    """Whether a listener on `host` takes connections on every address: Kafka's empty host, 0.0.0.0 or ::."""
    return host in ("", "0.0.0.0", "::")


def parse_default_gateway(route_table: str) -> str | None:
    """The default gateway in the text of Linux's `/proc/net/route` (addresses in little-endian hex), if
    any."""
    for line in route_table.splitlines()[1:]:
        columns = line.split()
        if len(columns) >= 8 and columns[1] == "00000000" and columns[7] == "00000000":
            octets = bytes.fromhex(columns[2])
            if any(octets):
                return ".".join(str(octet) for octet in reversed(octets))
    return None
