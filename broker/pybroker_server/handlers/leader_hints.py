"""Where to reach the leader that a client should ask instead: for Produce 10+ and Fetch 16+ (KIP-951).

With it a client goes to the new leader without asking for metadata first. No API of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from pybroker_server.handlers.request import ConnectionInfo
from pybroker_server.handlers.services import Services
from pybroker_server.metadata.image import Endpoint


def leader_addresses(
    services: Services, connection: ConnectionInfo, node_ids: Iterable[int]
) -> list[tuple[int, Endpoint, str | None]]:
    """(node id, endpoint as this connection's peer should use it, rack); unknown brokers are left out."""
    found: list[tuple[int, Endpoint, str | None]] = []
    for node_id in sorted(node_ids):
        broker = services.metadata.image.brokers.get(node_id)
        if broker is None:
            continue
        endpoint = services.endpoint_of(broker, connection)
        if endpoint is not None:
            found.append((node_id, endpoint, broker.rack))
    return found
