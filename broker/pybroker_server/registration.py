"""How this broker presents itself: what it registers in the metadata store, and what it tells each client.

Rules of this file: pure but for questions to the host that are asked once at start.
"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from pybroker_server.config.listeners import Listener
from pybroker_server.config.views import BrokerConfig
from pybroker_server.metadata.image import BrokerImage, Endpoint
from pybroker_server.network.advertise import AddressResolver, is_wildcard, parse_default_gateway
from pybroker_server.runtime import host
from pybroker_server.runtime.ports import Disk


def registration(
    config: BrokerConfig, node_id: int, bound: Sequence[Listener], directory_ids: Sequence[UUID] = ()
) -> BrokerImage:
    """What other brokers and their clients are told; `bound` has the ports that were opened."""
    explicit = _explicit(config)
    endpoints = tuple(explicit.get(listener.name) or _reachable(listener) for listener in bound)
    return BrokerImage(
        node_id,
        0,
        endpoints,
        rack=config.broker_rack,
        directory_ids=tuple(directory_ids),
        host_id=host.host_name(),
    )


def address_resolver(config: BrokerConfig, node_id: int, disk: Disk) -> AddressResolver:
    """Which address a client is told for which broker."""
    gateway = parse_default_gateway(host.container_routes(disk))
    return AddressResolver(node_id, _explicit(config), gateway)


def _explicit(config: BrokerConfig) -> dict[str, Endpoint]:
    return {
        listener.name: Endpoint(listener.name, listener.host, listener.port, listener.protocol)
        for listener in config.advertised_listeners
    }


def _reachable(listener: Listener) -> Endpoint:
    """A listener on every address is registered by the machine's name: only that means something elsewhere."""
    name = host.host_name() if is_wildcard(listener.host) else listener.host
    return Endpoint(listener.name, name, listener.port, listener.protocol)
