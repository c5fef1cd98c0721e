"""What classic and consumer groups have in common: all that offsets, listing and deleting need to know of a group.

Rules of this file: the interface and plain values. Checks raise KafkaError with the code that Kafka gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from pybroker_server.coordinator.records import CoordinatorRecord


class GroupKind(StrEnum):
    """The value of ListGroups' `group_type`."""

    CLASSIC = "classic"
    CONSUMER = "consumer"


class Group(Protocol):
    """A group in one shard. Its id is never empty."""

    @property
    def group_id(self) -> str: ...

    @property
    def kind(self) -> GroupKind: ...

    @property
    def protocol_type(self) -> str:
        """`consumer` for groups of consumers; empty for one that only ever had offsets."""

    @property
    def state_name(self) -> str:
        """As Kafka prints it: Empty, PreparingRebalance, CompletingRebalance, Stable, Assigning, Reconciling, Dead."""

    @property
    def members(self) -> Mapping[str, object]:
        """By member id."""

    @property
    def is_empty(self) -> bool:
        """It has no members."""

    def is_subscribed_to(self, topic: str) -> bool:
        """Whether a member may be working on the topic: its offsets stay then. True when that cannot be told."""

    def check_commit(
        self,
        member_id: str,
        instance_id: str | None,
        epoch: int,
        version: int,
        *,
        in_txn: bool,
        partitions: Sequence[tuple[UUID, int]] = (),
    ) -> None:
        """May this member commit offsets of `partitions`? `epoch` is a generation id or a member epoch.

        `version` is that of OffsetCommit, or of TxnOffsetCommit with `in_txn`. Raises KafkaError.
        """

    def check_fetch(self, member_id: str | None, member_epoch: int) -> None:
        """May offsets be told to this member (OffsetFetch 9+)? Raises KafkaError."""

    def check_offset_delete(self) -> None:
        """May offsets be deleted, those of topics it is subscribed to apart? Raises KafkaError."""

    def check_delete(self) -> None:
        """May the group be deleted? Raises KafkaError NON_EMPTY_GROUP or GROUP_ID_NOT_FOUND."""

    def offsets_expire_from_ms(self, topic: str, commit_timestamp_ms: int) -> int | None:
        """From when on `offsets.retention.minutes` counts for an offset of `topic`; None: it does not expire now.

        Wall clock. A group in use keeps what it is subscribed to, an empty one counts from when it became empty
        (KIP-211); a group that only has offsets counts from their commits.
        """

    def tombstones(self) -> Sequence[CoordinatorRecord]:
        """The records that delete the group itself, offsets apart."""
