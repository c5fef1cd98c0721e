"""How partitions look to one client: who leads, who is in sync, who is offline. No API of its own.

A broker counts for a client when it is registered, not fenced, and serves the listener that the client came
by. A partition is never left out of an answer, whatever its state: clients take a shorter list for a changed
topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pybroker_protocol.errors import ErrorCode
from pybroker_server.handlers.request import ConnectionInfo
from pybroker_server.handlers.services import Services
from pybroker_server.metadata.image import NO_LEADER, BrokerImage, Endpoint, PartitionImage


@dataclass(frozen=True, slots=True)
class ReachableBroker:
    broker: BrokerImage
    endpoint: Endpoint


def reachable_brokers(
    services: Services, connection: ConnectionInfo, *, include_fenced: bool = False
) -> dict[int, ReachableBroker]:
    """By node id, ascending."""
    found = {}
    for node_id, broker in sorted(services.metadata.image.brokers.items()):
        if broker.fenced and not include_fenced:
            continue
        endpoint = services.endpoint_of(broker, connection)
        if endpoint is not None:
            found[node_id] = ReachableBroker(broker, endpoint)
    return found


def listed_brokers(
    services: Services, connection: ConnectionInfo, reachable: dict[int, ReachableBroker]
) -> dict[int, ReachableBroker]:
    """`reachable`, and the brokers that died a moment ago: by node id, ascending. See `controller/departures.py`."""
    gone = services.departures.still_listed()
    if not gone:
        return reachable
    everybody = reachable_brokers(services, connection, include_fenced=True)
    return {node: found for node, found in everybody.items() if node in reachable or node in gone}


def controller_for(services: Services, reachable: Iterable[int]) -> int:
    """The broker that a client should send admin requests to: any does, and this one is connected already.

    -1 makes Java's Admin wait, so it is the answer only when no broker can be reached.
    """
    nodes = sorted(reachable)
    if services.node_id in nodes:
        return services.node_id
    return nodes[0] if nodes else -1


def leader_and_error(
    partition: PartitionImage,
    reachable: dict[int, ReachableBroker],
    brokers: Mapping[int, BrokerImage],
    *,
    knows_listener_errors: bool = True,
) -> tuple[int, ErrorCode]:
    """The leader as the client may use it, and the partition's error. `brokers`: all that are registered."""
    if partition.leader in reachable:
        return partition.leader, ErrorCode.NONE
    leader = brokers.get(partition.leader)
    if leader is not None and not leader.fenced and knows_listener_errors:
        return NO_LEADER, ErrorCode.LISTENER_NOT_FOUND
    return NO_LEADER, ErrorCode.LEADER_NOT_AVAILABLE


def offline_replicas(partition: PartitionImage, reachable: dict[int, ReachableBroker]) -> list[int]:
    return [node_id for node_id in partition.replicas if node_id not in reachable]
