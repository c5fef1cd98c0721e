"""One member of a classic group.

Rules of this file: pure. A member that waits for a JoinGroup or SyncGroup answer holds the reply; it is given out once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import JoinGroupResponse, SyncGroupResponse
from pybroker_server.coordinator.effects import Reply
from pybroker_server.coordinator.group.context import Client

Protocols = tuple[tuple[str, bytes], ...]
"""(assignor, the member's metadata for it), the preferred first."""


@dataclass(slots=True, eq=False)
class ClassicMember:
    member_id: str
    instance_id: str | None
    client: Client
    rebalance_timeout_ms: int
    session_timeout_ms: int
    protocol_type: str
    protocols: Protocols
    assignment: bytes = b""
    awaiting_join: Reply[JoinGroupResponse] | None = None
    awaiting_sync: Reply[SyncGroupResponse] | None = None
    is_new: bool = False
    """Joined, and was never answered: it cannot send heartbeats, and may have given up."""

    @property
    def stays_without_heartbeat(self) -> bool:
        """A client cannot send heartbeats while it waits for the others."""
        return not self.is_new and (self.awaiting_join is not None or self.awaiting_sync is not None)

    def metadata(self, protocol: str) -> bytes:
        """What the member said for this assignor; it has named it."""
        return next(data for name, data in self.protocols if name == protocol)

    def vote(self, candidates: Collection[str]) -> str:
        """The assignor that it likes best of those that everybody has. Raises KafkaError when it has none of them."""
        for name, _ in self.protocols:
            if name in candidates:
                return name
        raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)


def protocols_of(protocols: Sequence[object]) -> Protocols:
    """Of a request; a name given twice counts as it was given last."""
    return tuple({protocol.name: bytes(protocol.metadata) for protocol in protocols}.items())  # type: ignore[attr-defined]
