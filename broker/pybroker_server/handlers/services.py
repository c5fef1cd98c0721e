"""What handlers may reach: the parts of the broker, handed to every handler as its first argument.

Rules of this file: one value, no behaviour. `server.py` builds it once; handlers never build parts
themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pybroker_server.handlers.registry import Handler
from pybroker_server.handlers.request import ConnectionInfo
from pybroker_server.metadata.image import BrokerImage, Endpoint
from pybroker_server.telemetry.counts import ErrorCounts

if TYPE_CHECKING:
    from pybroker_server.config.views import BrokerConfig
    from pybroker_server.controller.controller import Controller
    from pybroker_server.controller.departures import Departures
    from pybroker_server.controller.producer_ids import ProducerIdAllocator
    from pybroker_server.coordinator.group.coordinator import GroupCoordinator
    from pybroker_server.coordinator.marking import MarkerWriter
    from pybroker_server.coordinator.transaction.gate import TransactionGate
    from pybroker_server.coordinator.transaction.transactions import Transactions
    from pybroker_server.log.manager import LogManager
    from pybroker_server.metadata.publisher import MetadataPublisher
    from pybroker_server.peers.peers import Peers
    from pybroker_server.replica.fetch_session import FetchSessionCache
    from pybroker_server.replica.manager import ReplicaManager
    from pybroker_server.runtime.runtime import Runtime

EndpointResolver = Callable[[BrokerImage, ConnectionInfo], Endpoint | None]
"""The address of a broker as the peer of this connection should use it; None: that broker does not serve the
connection's listener. Metadata, FindCoordinator, DescribeCluster and leader hints all answer with it."""


@dataclass(slots=True)
class Services:
    config: BrokerConfig
    node_id: int
    cluster_id: str
    metadata: MetadataPublisher
    controller: Controller
    replicas: ReplicaManager
    logs: LogManager
    groups: GroupCoordinator
    markers: MarkerWriter
    transactions: Transactions
    transaction_gate: TransactionGate
    peers: Peers
    departures: Departures
    producer_ids: ProducerIdAllocator
    fetch_sessions: FetchSessionCache
    runtime: Runtime
    endpoint_of: EndpointResolver
    api_table: Mapping[int, Handler]
    errors: ErrorCounts = field(default_factory=ErrorCounts)
    """Errors told per partition are counted here by their handlers, the others by the dispatcher."""
