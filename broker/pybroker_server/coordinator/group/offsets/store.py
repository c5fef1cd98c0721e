"""The committed offsets of one shard, and those that wait for the end of a transaction.

Rules of this file: pure values and look-ups; changed by replay alone. Keys are group id and (topic, partition). A
transactional commit replaces another one only if it was written later, so each keeps the order in which it came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

NO_OFFSET = -1
NO_TOPIC_ID = UUID(int=0)

TopicPartition = tuple[str, int]


class CommittedOffset(NamedTuple):
    """`leader_epoch` is -1 when the client did not say. Timestamps are wall clock in ms."""

    offset: int
    leader_epoch: int
    metadata: str
    commit_timestamp_ms: int
    expire_timestamp_ms: int = -1
    """-1: by the broker's retention. Older clients may ask for their own."""
    topic_id: UUID = NO_TOPIC_ID
    order: int = 0


class OffsetStore:
    """See the head of this file."""

    def __init__(self) -> None:
        self._committed: dict[str, dict[TopicPartition, CommittedOffset]] = {}
        self._pending: dict[int, dict[str, dict[TopicPartition, CommittedOffset]]] = {}
        """By producer id: what counts when its transaction commits."""
        self._order = 0

    def of(self, group_id: str) -> Mapping[TopicPartition, CommittedOffset]:
        """What the group has committed; empty when nothing."""
        return self._committed.get(group_id, {})

    @property
    def group_ids(self) -> list[str]:
        """Groups with committed or pending offsets."""
        return list({**self._committed, **{group: None for by_group in self._pending.values() for group in by_group}})

    def has_any(self, group_id: str) -> bool:
        """Committed, or pending in a transaction."""
        return group_id in self._committed or any(group_id in by_group for by_group in self._pending.values())

    def is_pending(self, group_id: str, where: TopicPartition) -> bool:
        """An open transaction wants to change it."""
        return any(where in by_group.get(group_id, ()) for by_group in self._pending.values())

    def pending(self, group_id: str) -> Iterable[TopicPartition]:
        """The partitions that open transactions want to change."""
        return {where for by_group in self._pending.values() for where in by_group.get(group_id, ())}

    # Changes: replay only

    def put(self, group_id: str, where: TopicPartition, committed: CommittedOffset, producer_id: int) -> None:
        self._order += 1
        entry = committed._replace(order=self._order)
        if producer_id < 0:
            self._committed.setdefault(group_id, {})[where] = entry
        else:
            self._pending.setdefault(producer_id, {}).setdefault(group_id, {})[where] = entry

    def remove(self, group_id: str, where: TopicPartition) -> None:
        """A tombstone: what transactions still want to write to it goes as well."""
        _remove(self._committed, group_id, where)
        for producer_id, by_group in list(self._pending.items()):
            _remove(by_group, group_id, where)
            if not by_group:
                del self._pending[producer_id]

    def end_transaction(self, producer_id: int, *, is_commit: bool) -> None:
        by_group = self._pending.pop(producer_id, {})
        if not is_commit:
            return
        for group_id, offsets in by_group.items():
            committed = self._committed.setdefault(group_id, {})
            for where, entry in offsets.items():
                known = committed.get(where)
                if known is None or known.order < entry.order:
                    committed[where] = entry


def _remove(offsets: dict[str, dict[TopicPartition, CommittedOffset]], group_id: str, where: TopicPartition) -> None:
    of_group = offsets.get(group_id)
    if of_group is not None and of_group.pop(where, None) is not None and not of_group:
        del offsets[group_id]
