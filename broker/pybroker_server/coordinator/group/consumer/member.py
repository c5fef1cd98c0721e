"""One member of a consumer group, and what it owns.

Rules of this file: immutable values; a change is a new member. Epochs: `epoch` is that of the target assignment which
the member has reached, 0 while it joins, -1 gone, -2 a static member that left for a while.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

from pybroker_server.coordinator.group.context import Client

Assignment = Mapping[UUID, frozenset[int]]
"""Partitions by topic id; no topic without partitions."""
Owned = Mapping[UUID, Mapping[int, int]]
"""The same, with the member epoch in which each partition was assigned (KIP-1251)."""

NOTHING: Final[Mapping[UUID, frozenset[int]]] = MappingProxyType({})
OWNS_NOTHING: Final[Mapping[UUID, Mapping[int, int]]] = MappingProxyType({})
JOINING: Final = 0
LEAVING: Final = -1
LEAVING_STATIC: Final = -2
NOBODY: Final = Client("", "")


class MemberState(IntEnum):
    """The numbers are those of the stored record."""

    STABLE = 0
    UNREVOKED_PARTITIONS = 1
    """It has to give up partitions and has not said yet that it did."""
    UNRELEASED_PARTITIONS = 2
    """It waits for partitions that others have to give up."""


@dataclass(frozen=True, slots=True)
class ClassicMetadata:
    """Of a member that speaks the classic protocol: its own session timeout, and (assignor, metadata) of each kind."""

    session_timeout_ms: int
    protocols: tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True)
class ConsumerMember:
    member_id: str
    instance_id: str | None = None
    rack_id: str | None = None
    client: Client = NOBODY
    rebalance_timeout_ms: int = -1
    topics: tuple[str, ...] = ()
    """Subscribed by name; sorted."""
    regex: str = ""
    server_assignor: str | None = None
    epoch: int = JOINING
    previous_epoch: int = JOINING
    state: MemberState = MemberState.STABLE
    assigned: Owned = field(default_factory=lambda: OWNS_NOTHING)
    revoking: Owned = field(default_factory=lambda: OWNS_NOTHING)
    """Assigned before, and to be given up."""
    classic: ClassicMetadata | None = None
    """None: it speaks the protocol of KIP-848."""

    def is_reconciled_to(self, target_epoch: int) -> bool:
        return self.state is MemberState.STABLE and self.epoch == target_epoch


def partitions_of(owned: Owned) -> dict[UUID, frozenset[int]]:
    return {topic_id: frozenset(partitions) for topic_id, partitions in owned.items()}


def assignment_of(pairs: Iterable[tuple[UUID, Iterable[int]]]) -> dict[UUID, frozenset[int]]:
    """Of lists as they are in messages and records."""
    return {topic_id: frozenset(partitions) for topic_id, partitions in pairs if partitions}
